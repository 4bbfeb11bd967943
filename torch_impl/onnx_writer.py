"""Writing an ONNX graph node by node: names, constants, inputs, and pruning to what is wanted.

Values are referred to by their names, so that building reads like the computation itself.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, ValueInfoProto, helper, numpy_helper

from weight_conversion.containers.checksums import MANIFEST
from weight_conversion.containers.onnx import PRODUCER, VERSION

OPSET = 16
"""The first whose ``ScatterElements`` adds."""
IR_VERSION = 8
Extents = tuple[int | str, ...]
"""A shape; a text names a size that only the caller knows."""


class GraphWriter:
    """An ONNX graph in the making.

    Initializers are the weights and nothing else; constants are nodes. A reader of the file can so
    tell the two apart without a table.

    Args:
        weights: arrays by state-dict key, float32 in state-dict layout.
    """

    def __init__(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        self._weights = weights
        self._nodes: list[NodeProto] = []
        self._inputs: dict[str, ValueInfoProto] = {}
        self._values: dict[str, ValueInfoProto] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._scope: list[str] = []

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Put ``name/`` before the names of all nodes made inside the block."""
        self._scope.append(name)
        try:
            yield
        finally:
            self._scope.pop()

    def input(self, name: str, dtype: type[np.generic], shape: Extents) -> str:
        """Declare an input, once however often it is asked for."""
        if name not in self._inputs:
            self._inputs[name] = _value(name, np.dtype(dtype), shape)
        return name

    def weight(self, key: str) -> str:
        """A weight by its state-dict key.

        Raises:
            KeyError: there is no such weight.
        """
        if key not in self._weights:
            raise KeyError(key)
        return key

    def constant(self, value: float | Iterable[int]) -> str:
        """A float32 scalar, or a list of int64."""
        array = (
            np.array(value, dtype=np.float32)
            if isinstance(value, int | float)
            else np.array(list(value), dtype=np.int64)
        )
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            tensor = numpy_helper.from_array(array, name)
            self._nodes.append(helper.make_node("Constant", [], [name], name, value=tensor))
            self._constants[key] = name
        return self._constants[key]

    def add(self, operator: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add a node of one output; ``name`` is the output's, made up unless given."""
        return self._add(operator, inputs, [name or self._fresh(operator)], attributes)[0]

    def split(self, value: str, axis: int, sizes: Sequence[int]) -> list[str]:
        """Parts of the given sizes along an axis, which stays."""
        stem = self._fresh("Split")
        parts = [f"{stem}_{part}" for part in range(len(sizes))]
        return self._add("Split", [value, self.constant(sizes)], parts, {"axis": axis})

    def unsqueeze(self, value: str, axis: int) -> str:
        """``value`` with an axis of extent 1 put in."""
        return self.add("Unsqueeze", value, self.constant([axis]))

    def squeeze(self, value: str, axis: int) -> str:
        """``value`` without an axis of extent 1."""
        return self.add("Squeeze", value, self.constant([axis]))

    def reshape(self, value: str, shape: Iterable[int], name: str | None = None) -> str:
        """``value`` in another shape."""
        return self.add("Reshape", value, self.constant(shape), name=name)

    def cast(self, value: str, dtype: type[np.generic]) -> str:
        """``value`` in another type."""
        to = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.add("Cast", value, to=to)

    def describe(self, name: str, dtype: type[np.generic], shape: Extents) -> None:
        """State the type and shape of a value that is there by now, so that it can be an output."""
        self._values[name] = _value(name, np.dtype(dtype), shape)

    def model(
        self, outputs: Collection[str], *, pruned: bool, metadata: Mapping[str, str], text: str
    ) -> ModelProto:
        """The graph as a model.

        Args:
            outputs: described values, in order.
            pruned: whether to leave out what no output needs: a runtime computes all it is given.
            metadata: what the model says of itself, by key.
            text: the same for people.
        """
        nodes = _needed(self._nodes, outputs) if pruned else self._nodes
        read = {name for node in nodes for name in node.input}
        graph = helper.make_graph(
            nodes,
            "pixel2mesh",
            [value for name, value in self._inputs.items() if not pruned or name in read],
            [self._values[name] for name in outputs],
            [numpy_helper.from_array(w, k) for k, w in self._weights.items() if k in read],
            value_info=[]
            if pruned
            else [value for name, value in self._values.items() if name not in outputs],
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name=PRODUCER,
            producer_version=VERSION if MANIFEST in metadata else "",
            doc_string=text,
        )
        helper.set_model_props(model, dict(metadata))
        return model

    def _add(
        self, operator: str, inputs: Iterable[str], outputs: list[str], attributes: dict[str, Any]
    ) -> list[str]:
        self._nodes.append(
            helper.make_node(operator, list(inputs), outputs, outputs[0], **attributes)
        )
        return outputs

    def _fresh(self, operator: str) -> str:
        return "/".join([*self._scope, f"{operator}_{len(self._nodes)}"])


def _value(name: str, dtype: np.dtype[Any], shape: Extents) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), shape)


def _needed(nodes: list[NodeProto], outputs: Collection[str]) -> list[NodeProto]:
    """The nodes that ``outputs`` are computed from, in their order."""
    wanted = set(outputs)
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]
