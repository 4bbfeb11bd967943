"""Every primitive, from the table: its value, its bound, its VJP, what is not a number.

A primitive without a case here fails a test, so that a new one brings its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from network.program import Expression, Program, Tape, call, trace
from parity.oracle.evaluate import run
from parity.oracle.number import Arithmetic, Number, exactly
from parity.oracle.primitives import RULES, State
from parity.oracle.vjp import GRADIENT, vjp_of

U = 2.0**-24
SINGLE = Arithmetic(U + 2.0**-53, 10.0, np.float32)
Compute = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """A primitive on operands of some shapes.

    Attributes:
        shapes: of the operands that are drawn, gradients being taken of the first ``taken``.
        compute: the same in torch.
        settings: of the node.
        positive: whether operands are drawn above 0.
        integers: operands that are indices below this number, by place.
        taken: operands to which a gradient goes back.
        single: whether float32 is compared; not where all that is done is exact.
    """

    shapes: tuple[tuple[int, ...], ...]
    compute: Compute
    settings: dict[str, Any]
    positive: bool = False
    integers: dict[int, int] | None = None
    taken: int = 1
    single: bool = True


def case(*shapes: tuple[int, ...], compute: Compute, **more: Any) -> Case:
    own = {n: more.pop(n) for n in ("positive", "integers", "taken", "single") if n in more}
    return Case(shapes, compute, more, **own)


V, M = (7, 5), (5, 4)


def conv(x: Any, k: Any) -> Any:
    padded = torch.nn.functional.pad(x.permute(0, 3, 1, 2), (0, 1, 0, 1))
    return torch.nn.functional.conv2d(padded, k.permute(3, 2, 0, 1), stride=2).permute(0, 2, 3, 1)


CASES: dict[str, Case] = {
    "add": case(V, (5,), compute=lambda a, b: a + b, taken=2),
    "subtract": case(V, (1, 5), compute=lambda a, b: a - b, taken=2),
    "multiply": case(V, (7, 1), compute=lambda a, b: a * b, taken=2),
    "divide": case(V, V, compute=lambda a, b: a / b, positive=True, taken=2),
    "square": case(V, compute=lambda a: a * a),
    "matmul": case(V, M, compute=lambda a, b: a @ b, taken=2),
    "sparse_matmul": case((7, 7), V, compute=lambda s, x: s @ x, taken=0),
    "conv2d": case((2, 8, 8, 3), (3, 3, 3, 4), compute=conv, stride=2, taken=2),
    "reduce_sum": case(V, compute=lambda a: a.sum(1, keepdim=True), axis=1),
    "reduce_mean": case(V, compute=lambda a: a.mean(1, keepdim=True), axis=1),
    "reduce_max": case(V, compute=lambda a: a.amax(1, keepdim=True), axis=1),
    "reduce_median": case(V, compute=lambda a: a.median(1, keepdim=True)[0], axis=1, taken=0),
    "relu": case(V, compute=torch.relu),
    "abs": case(V, compute=torch.abs),
    "clip": case(V, compute=lambda a: a.clamp(-0.5, 0.5), low=-0.5, high=0.5),
    "exp": case(V, compute=torch.exp),
    "log": case(V, compute=torch.log, positive=True),
    "sqrt": case(V, compute=torch.sqrt, positive=True),
    "sin": case(V, compute=torch.sin),
    "cos": case(V, compute=torch.cos),
    "tanh": case(V, compute=torch.tanh),
    "erf": case(V, compute=torch.erf),
    "sign": case(V, compute=torch.sign, taken=0),
    "positive": case(V, compute=lambda a: (a > 0).to(a.dtype), taken=0),
    "inside": case(V, compute=lambda a: ((a >= -1) & (a <= 1)).to(a.dtype), low=-1.0, high=1.0,
                   taken=0),
    "floor": case(V, compute=torch.floor, taken=0),
    "ceil": case(V, compute=torch.ceil, taken=0),
    "round": case(V, compute=torch.round, taken=0),
    "inverse": case((3, 3), compute=torch.linalg.inv, taken=0, single=False),
    "index": case(V, compute=lambda a: a[:, 2], where=(slice(None), 2)),
    "transpose": case(V, compute=lambda a: a.T, axes=(1, 0)),
    "reversed": case(V, compute=lambda a: a.flip(1), axis=1),
    "concatenate": case(V, (7, 2), compute=lambda a, b: torch.cat([a, b], 1), axis=1, taken=2),
    "stack": case(V, V, compute=lambda a, b: torch.stack([a, b], -1), axis=-1, taken=2),
    "gather": case(V, (4,), compute=lambda a, i: a[i.long()], integers={1: 7}),
    "gather_pixels": case((3, 6, 6, 2), (4, 3, 2), view=None, integers={1: 6},
                          compute=lambda a, p: torch.stack([
                              a[v, p[:, v, 0].long(), p[:, v, 1].long()] for v in range(3)], 1)),
    "nearest_square": case((6, 3), (9, 3), taken=2,
                           compute=lambda p, t: (p[:, None] - t).square().sum(2).amin(1)),
    "nearest_gather": case((6, 3), (9, 3), (9, 2), taken=0,
                           compute=lambda p, t, r: r[(p[:, None] - t).square().sum(2).argmin(1)]),
    "replace_nan": case(V, compute=lambda a: torch.where(torch.isnan(a), 3.0, a), number=3.0),
    "detach": case(V, compute=lambda a: a.detach(), taken=0),
    "materialise": case(V, compute=lambda a: a),
    "decide": case(V, compute=lambda a: a, every=1.0, low=-9.0, high=9.0, at_border=True),
    "length": case(V, compute=lambda a: torch.tensor(float(a.shape[1])), axis=1, taken=0),
    "narrow": case(V, compute=lambda a: a.half().to(a.dtype), kind="float16", taken=0,
                   single=False),
}  # fmt: skip
PARTS = {
    "outer_sum", "conv2d_input", "conv2d_kernel", "unbroadcast", "repeat", "share_of_max", "place",
    "part", "take", "scatter", "scatter_pixels", "bilinear", "bilinear_weight", "bilinear_slope",
    "nearest_offset", "nearest_scatter",
}  # fmt: skip
"""Parts of the VJPs of others, with which they are tested; bilinear reading is among the layers."""


def test_every_primitive_has_a_case() -> None:
    assert set(CASES) | PARTS == set(RULES)
    assert not set(CASES) & PARTS


def operands(found: Case, seed: int = 0) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    given = []
    for place, shape in enumerate(found.shapes):
        if found.integers and place in found.integers:
            given.append(draw.integers(0, found.integers[place], shape).astype(np.float64))
            continue
        values = draw.normal(size=shape)
        values = np.abs(values) + 0.1 if found.positive else values
        given.append(values.astype(np.float32).astype(np.float64))
    return given


def program(name: str, found: Case) -> Program:
    tape = Tape()
    names = [f"x{place}" for place in range(len(found.shapes))]
    inputs: list[Expression] = [tape.input(each) for each in names]
    value = call(name, *inputs, **found.settings)
    return Program(tuple(tape.nodes), {"value": value.index}, tuple(names))


def evaluated(name: str, found: Case, given: list[np.ndarray], errors: Any = None) -> Number:
    errors = errors or [0.0] * len(given)
    inputs = {f"x{n}": Number(v, e) for n, (v, e) in enumerate(zip(given, errors, strict=True))}
    return run(program(name, found), inputs, State(SINGLE))["value"]


def tensors(given: list[np.ndarray], dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    return [torch.tensor(each, dtype=dtype) for each in given]


@pytest.mark.parametrize("name", CASES)
def test_the_value_is_torchs(name: str) -> None:
    found = CASES[name]
    given = operands(found)
    expected = found.compute(*tensors(given)).numpy()
    np.testing.assert_allclose(
        evaluated(name, found, given).value, expected, rtol=1e-12, atol=1e-13
    )


ROUNDED = [name for name, found in CASES.items() if found.single]
DRAWS = 200


@pytest.mark.parametrize("name", ROUNDED)
def test_float32_stays_within_the_bound_and_uses_it(name: str) -> None:
    """Over some thousand elements; the greatest error uses at least a hundredth of its bound."""
    found, used = CASES[name], 0.0
    for seed in range(DRAWS):
        given = operands(found, seed)
        number = evaluated(name, found, given)
        narrow = found.compute(*tensors(given, torch.float32)).numpy().astype(np.float64)
        error = np.abs(narrow - number.value)
        limit = np.broadcast_to(SINGLE.limit(number), error.shape)
        assert (error <= limit).all(), seed
        if limit.any():
            used = max(used, float((error[limit > 0] / limit[limit > 0]).max()))
    exact = np.all(SINGLE.limit(evaluated(name, found, operands(found))) == 0)
    assert exact or used > 0.01


@pytest.mark.parametrize("name", [name for name, found in CASES.items() if found.taken])
def test_errors_of_operands_are_propagated(name: str) -> None:
    """Operands anywhere within their errors give a value within the propagated bound."""
    found = CASES[name]
    draw = np.random.default_rng(5)
    for seed in range(20):
        given = operands(found, seed)
        whole = set(found.integers or ())
        errors = [
            np.zeros(v.shape) if n in whole else 1e-4 * np.abs(v) for n, v in enumerate(given)
        ]
        moved = [v + e * draw.uniform(-1, 1, v.shape) for v, e in zip(given, errors, strict=True)]
        number = evaluated(name, found, given, errors)
        away = np.abs(found.compute(*tensors(moved)).numpy() - number.value)
        limit = SINGLE.limit(number) + number.undecided
        assert (away <= limit * (1 + 1e-9) + 1e-15).all()


@pytest.mark.parametrize("name", [name for name, found in CASES.items() if found.taken])
def test_the_vjp_is_autograds(name: str) -> None:
    found = CASES[name]
    given = operands(found, 3)
    leaves = [each.requires_grad_(n < found.taken) for n, each in enumerate(tensors(given))]
    result = found.compute(*leaves)
    gradient = np.random.default_rng(4).normal(size=tuple(result.shape))
    result.backward(torch.tensor(gradient))
    wanted = [f"x{place}" for place in range(found.taken)]
    inputs = {f"x{n}": exactly(v) for n, v in enumerate(given)}
    inputs[GRADIENT] = exactly(gradient)
    back = run(vjp_of(program(name, found), wanted), inputs, State(SINGLE))
    for place, each in enumerate(wanted):
        expected = leaves[place].grad
        assert expected is not None
        np.testing.assert_allclose(
            np.broadcast_to(back[each].value, expected.shape), expected.numpy(), rtol=1e-10,
            atol=1e-12,
        )  # fmt: skip


@pytest.mark.parametrize("special", [0.0, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize(
    "name",
    [
        name
        for name in CASES
        # A point that is nowhere has no neighbour, and then nothing is said of the others either.
        if name not in ("inverse", "gather_pixels", "gather", "conv2d")
        and not name.startswith("nearest")
    ],
)
def test_special_values_are_the_frameworks(name: str, special: float) -> None:
    found = CASES[name]
    if name == "sign" and np.isnan(special):
        pytest.skip("torch says 0 where NumPy and TensorFlow say NaN")
    given = operands(found)
    given[0].flat[3] = special
    with np.errstate(all="ignore"):
        value = evaluated(name, found, given).value
    expected = found.compute(*tensors(given)).numpy()
    np.testing.assert_array_equal(np.isnan(value), np.isnan(expected))
    known = ~np.isnan(expected)
    np.testing.assert_allclose(
        np.broadcast_to(value, expected.shape)[known], expected[known], rtol=1e-12, atol=1e-13
    )


@pytest.mark.parametrize("name", CASES)
def test_every_mistake_gives_something_else_or_another_shape(name: str) -> None:
    """What is listed as a mistake is one: on numbers drawn it does not give the right value."""
    found = CASES[name]
    given = operands(found, 8)
    if name == "gather_pixels":
        given[1].flat[0] = 9.0  # beyond the map
    if name == "clip":
        given[0].flat[0] = np.nan  # which a port may replace
    if name == "ceil":
        given[0].flat[0] = 2.0  # where floor + 1 differs
    official = evaluated(name, found, given).value
    for mistake in RULES[name].mistakes(found.settings, found.shapes):
        tape = Tape()
        inputs = [tape.input(f"x{place}") for place in range(len(given))]
        value = mistake.write(inputs)
        changed = Program(tuple(tape.nodes), {"value": value.index}, ())
        numbers = {f"x{n}": exactly(v) for n, v in enumerate(given)}
        other = run(changed, numbers, State(SINGLE))["value"].value
        assert other.shape != official.shape or not np.array_equal(
            other, official, equal_nan=True
        ), mistake.change


def test_exact_in_float64_is_not_exact_in_float32() -> None:
    found = CASES["add"]
    given = [np.array([1.0]), np.array([2.0**-30])]
    assert SINGLE.limit(evaluated("add", found, given)) > 0
    wide = Arithmetic(2.0**-53, 10.0, np.float64)
    inputs = {"x0": exactly(given[0]), "x1": exactly(given[1])}
    assert wide.limit(run(program("add", found), inputs, State(wide))["value"]) == 0


def test_a_divisor_that_may_be_zero_bounds_nothing() -> None:
    given = [np.ones(3), np.array([1.0, 1e-3, 1e-3])]
    errors = [np.zeros(3), np.array([0.0, 1e-3, 2e-3])]
    limit = SINGLE.limit(evaluated("divide", CASES["divide"], given, errors))
    assert np.isfinite(limit[0])
    assert limit[1:].tolist() == [np.inf, np.inf]


@pytest.mark.parametrize("copies", [1, 8, 9])
def test_targets_at_one_place_hide_none_at_another(copies: int) -> None:
    """A point between two places, at one of which many targets lie: either may be the nearest."""
    targets = np.array([[1.0, 0.0, 0.0]] * copies + [[-1.0, 0.0, 0.0]])
    given = {"points": Number(np.zeros((1, 3)), 1e-6), "targets": exactly(targets)}
    layer = trace(lambda points, targets: call("nearest_offset", points, targets))
    found = run(layer, given, State(SINGLE))["value"]
    assert found.undecided.tolist() == [[2.0, 0.0, 0.0]]
