"""A network of one layer, of any formula, and two implementations of it in NumPy."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from network import Layout, Network, TapRow, WeightRow, registered, trace
from network.program import Expression
from parity.traces.array_inputs import ArrayInputs
from parity.verdict.pair import run_pair
from parity.verdict.result import Comparison
from weight_conversion.weight_set import WeightSet

NAME, TAP = "single", "out"
Layer = Callable[..., np.ndarray]
"""Takes the inputs, then the variables by name, in the run's precision."""


def judged(
    formula: Callable[..., Expression],
    inputs: Mapping[str, np.ndarray],
    variables: Mapping[str, np.ndarray],
    reference: Layer,
    candidate: Layer,
    **options: Any,
) -> Comparison:
    """Judge one implementation of a formula by another.

    Args:
        formula: of the inputs, in their order, and of the variables by name.
        inputs: by name, as float32.
        variables: by name, likewise.
        reference: what is taken as right.
        candidate: what is judged.
        options: of ``run_pair``.
    """
    given = {name: np.asarray(each, np.float32) for name, each in inputs.items()}
    held = {name: np.asarray(each, np.float32) for name, each in variables.items()}
    wide = {name: each.astype(np.float64) for name, each in held.items()}
    with np.errstate(all="ignore"):
        shape = reference(*(each.astype(np.float64) for each in given.values()), **wide).shape
    layouts = {1: Layout.VECTOR, 2: Layout.MATRIX, 4: Layout.CONV}
    network = Network(
        NAME,
        (
            TapRow(NAME, 0, TAP, "", TAP, shape, tuple(f"inputs/{name}" for name in given), "layer",
                   variables={name: f"{NAME}/{name}" for name in held}, formula=trace(formula),
                   block=1),
        ),
        tuple(
            WeightRow(NAME, f"{NAME}/{name}", name, name, each.shape, layouts[each.ndim])
            for name, each in held.items()
        ),
        {name: each.shape for name, each in given.items()},
        meshes=(),
        output=TAP,
    )  # fmt: skip
    with registered(network):
        return run_pair(
            WeightSet(
                NAME, {f"{NAME}/{name}": each for name, each in held.items()}, None, "a test"
            ),
            ArrayInputs(NAME, given),
            reference=_factory(reference),
            candidate=_factory(candidate),
            **options,
        )


def _factory(layer: Layer) -> Any:
    def factory(_stage: str, dtype: str, _device: str) -> Any:
        return _Side(layer, np.dtype(dtype))

    return factory


class _Side:
    def __init__(self, layer: Layer, dtype: np.dtype) -> None:
        self._layer, self._dtype = layer, dtype

    def run(
        self, inputs: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray], listen: Any
    ) -> np.ndarray:
        read = [each.astype(self._dtype) for each in inputs.values()]
        held = {Path(key).name: each.astype(self._dtype) for key, each in weights.items()}
        with np.errstate(all="ignore"):
            value = np.asarray(self._layer(*read, **held), self._dtype)
        if listen is not None:
            listen(TAP, value)
        return value
