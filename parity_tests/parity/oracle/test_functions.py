"""What libraries make of functions, against the bounds: GELU, and a softmax that underflows."""

import importlib.util
from collections.abc import Callable

import numpy as np
import pytest
import torch

from network.program import Expression, Program, call, trace
from parity.oracle.context import Context
from parity.oracle.evaluate import evaluate
from parity.oracle.number import Arithmetic, exactly

U = 2.0**-24
SINGLE = Arithmetic(U + 2.0**-53, 7.6, np.float32)


def gelu(x: Expression) -> Expression:
    return 0.5 * x * (1.0 + call("erf", x * float(np.sqrt(0.5))))


def softmax(x: Expression) -> Expression:
    raised = call("exp", x - call("reduce_max", x, axis=1, keep=True))
    return raised / call("reduce_sum", raised, axis=1, keep=True)


def share(program: Program, given: np.ndarray, seen: np.ndarray) -> float:
    """The greatest error over its limit."""
    number = evaluate(program, {"x": exactly(given)}, SINGLE).number
    away, limit = np.abs(seen - number.value), SINGLE.limit(number)
    return float(np.max(np.where(away == 0, 0.0, away / limit)))


@pytest.mark.parametrize("order", ["channels last", "channels first"])
def test_gelu_of_pytorch(order: str) -> None:
    x = np.random.default_rng(0).uniform(-6, 6, (4, 30, 30, 12)).astype(np.float32)
    given = torch.from_numpy(x)
    if order == "channels first":
        given = given.permute(0, 3, 1, 2)
    seen = torch.nn.functional.gelu(given)
    if order == "channels first":
        seen = seen.permute(0, 2, 3, 1)
    assert share(trace(gelu), x, seen.numpy()) <= 1.0


def test_gelu_by_tanh_is_another_function() -> None:
    x = np.random.default_rng(0).uniform(-6, 6, (30, 30)).astype(np.float32)
    seen = torch.nn.functional.gelu(torch.from_numpy(x), approximate="tanh").numpy()
    assert share(trace(gelu), x, seen) > 10.0


def _of_tensorflow(x: np.ndarray) -> np.ndarray:
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed")
    import tensorflow as tf

    found: np.ndarray = tf.nn.softmax(x).numpy()
    return found


@pytest.mark.parametrize(
    "library", [lambda x: torch.softmax(torch.from_numpy(x), 1).numpy(), _of_tensorflow],
    ids=["torch", "tensorflow"],
)  # fmt: skip
def test_a_softmax_that_underflows(library: Callable[[np.ndarray], np.ndarray]) -> None:
    """PyTorch keeps what is below the smallest normal number, TensorFlow makes it 0."""
    x = np.array([[0.0, -60, -86, -87.2, -88, -90, -95, -100, -103, -120]], np.float32)
    assert share(trace(softmax), x, library(x)) <= 1.0


def test_a_term_that_is_lost_above_the_smallest_normal_number_is_wrong() -> None:
    x = np.array([[0.0, -60.0, -86.0]], np.float32)
    seen = np.array([[1.0, 0.0, np.exp(-86.0)]])
    assert share(trace(softmax), x, seen) > 1e5


@pytest.mark.parametrize("index", [-1, 10**9])
def test_an_index_that_would_fill_the_memory_is_refused(index: int) -> None:
    arrays = {"graph/near/indices": np.array([[0, 0], [index, 1]]), "graph/near/values": np.ones(2)}
    with pytest.raises(ValueError, match="graph/near/indices holds an index of no row or column"):
        Context.of("coarse", arrays, {})
