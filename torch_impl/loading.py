"""A stage's weights and inputs on a device: what runs, evaluations and training start from."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inputs.hypotheses import Hypotheses
from inputs.template import SparseMatrix, Template
from torch_impl.coarse import Coarse, CoarseGraph
from torch_impl.graph import Support
from torch_impl.refine import Refine
from weight_conversion.conversion import to_state_dict
from weight_conversion.errors import InputError

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class StageLoader:
    """Puts one stage's inputs on a device in a precision.

    Attributes:
        stage: "coarse" or "refine".
        dtype: of all floats.
        device: where everything lies.
    """

    def __init__(self, stage: str, dtype: str, device: str) -> None:
        """Choose where and how.

        Args:
            stage: "coarse" or "refine".
            dtype: "float32" or "float64".
            device: a torch device, such as "cpu" or "cuda:0".

        Raises:
            InputError: an unknown dtype, or a device that torch does not see.
        """
        if dtype not in DTYPES:
            raise InputError("--dtype", repr(dtype), "float32 or float64")
        self.stage = stage
        self.dtype = DTYPES[dtype]
        self.device = _device(device)

    def feeds(self, inputs: Mapping[str, Any]) -> tuple[Any, ...]:
        """What the stage's network is called with: images, cameras, mesh and graphs."""
        feeds = tuple(self.tensor(inputs[name]) for name in ("images", "cameras", "mesh"))
        if self.stage == "coarse":
            return (*feeds, self.coarse_graph(inputs["template"]))
        return (*feeds, *self.local_graph(inputs["hypotheses"]))

    def tensor(self, array: np.ndarray) -> Tensor:
        """``array`` on the device; floats are rounded to float32 first, then widened."""
        if array.dtype.kind == "f":
            rounded = np.ascontiguousarray(array, dtype=np.float32)
            return torch.tensor(rounded, dtype=self.dtype, device=self.device)
        return torch.tensor(np.ascontiguousarray(array), device=self.device)

    def coarse_graph(self, template: Template) -> CoarseGraph:
        """The template's supports and unpooling pairs on the device."""
        level_1, level_2, level_3 = (
            (self._sparse(first), self._sparse(second)) for first, second in template.supports
        )
        pairs_1, pairs_2 = (self.tensor(pairs).long() for pairs in template.unpooling)
        return CoarseGraph((level_1, level_2, level_3), (pairs_1, pairs_2))

    def local_graph(self, hypotheses: Hypotheses) -> tuple[Tensor, Support]:
        """The offsets (43, 3) and their two supports (43, 43) on the device."""
        first, second = (self._dense(matrix) for matrix in hypotheses.supports)
        return self.tensor(hypotheses.offsets), (first, second)

    def _sparse(self, matrix: SparseMatrix) -> Tensor | None:
        rows, columns = matrix.indices.T
        diagonal = rows.size == matrix.shape[0] and np.array_equal(rows, columns)
        if diagonal and np.unique(rows).size == rows.size and (matrix.values == 1).all():
            return None
        indices = torch.tensor(np.ascontiguousarray(matrix.indices.T), device=self.device)
        values = self.tensor(matrix.values)
        sparse = torch.sparse_coo_tensor(indices, values, matrix.shape, check_invariants=True)
        return sparse.coalesce()

    def _dense(self, matrix: np.ndarray) -> Tensor | None:
        if np.array_equal(matrix, np.eye(len(matrix))):
            return None
        return self.tensor(matrix)


def load_network(
    stage: str,
    weights: Mapping[str, np.ndarray],
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Coarse | Refine:
    """The stage's network holding ``weights``, given by checkpoint key.

    Raises:
        InputError: variables are missing, unknown or of another shape.
    """
    with torch.device("meta"):
        network = Coarse() if stage == "coarse" else Refine()
    state = {
        key: torch.from_numpy(array).to(device=device, dtype=dtype)
        for key, array in to_state_dict(stage, weights).items()
    }
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval()


def as_array(tensor: Tensor) -> np.ndarray:
    """``tensor`` as a contiguous NumPy array on the host."""
    if tensor.dtype == torch.bfloat16:  # which NumPy does not have
        tensor = tensor.float()
    return tensor.detach().contiguous().cpu().numpy()


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError("--device", f"{name!r} ({reason})", "a device torch sees") from error
    return device
