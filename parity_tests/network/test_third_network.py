"""A network that the project does not know, described and registered by its user alone."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from network import call, register, registered, trace
from parity.diagnosis.diagnosis import diagnose
from parity.oracle import chunks
from parity.oracle.context import Context
from parity.oracle.evaluate import run
from parity.oracle.local import alone as local_alone
from parity.oracle.number import Arithmetic, exactly
from parity.oracle.primitives import State
from parity.traces.backends import BackendChoice
from parity.traces.module_port import ModulePort
from parity.traces.port_map import PortMap
from parity.traces.record import record
from parity.traces.writer import seal
from parity.verdict.compare import compare
from parity.verdict.mean_square import sharing_of
from parity.verdict.pair import PairPaths, compare_pair, run_pair
from parity.verdict.result import Comparison, Status, Verdict
from parity_tests.network import third, vertexwise
from reports.write import write_report
from weight_conversion.errors import InputError
from weight_conversion.formats import load_weights, save_weights

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = BackendChoice("parity_tests.network.third:factory")
LAYERS = [row.name for row in third.NETWORK.taps]
Factory = Callable[[str, str, str], ModulePort]
pytestmark = pytest.mark.usefixtures("third_network")


@pytest.fixture
def compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Comparison]:
    """The comparison of the port with another one, made by a factory."""

    def comparison(factory: Factory, **options: object) -> Comparison:
        monkeypatch.setattr(third, "candidate", factory, raising=False)
        candidate = BackendChoice("parity_tests.network.third:candidate")
        paths = PairPaths.in_folder(tmp_path)
        for choice, path in ((REFERENCE, paths.reference), (candidate, paths.candidate)):
            record(choice, third.inputs(), third.weights(), path, **options)  # type: ignore[arg-type]
        return compare(paths.reference, paths.candidate)

    return comparison


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_another_implementation_of_it_agrees(
    compared: Callable[..., Comparison], dtype: str
) -> None:
    found = compared(third.reordered, dtype=dtype)
    assert found.verdict is Verdict.AGREE
    assert found.stage == third.NAME
    assert found.basis == "float64"
    assert [tap.tap for tap in found.taps] == LAYERS
    statuses = {tap.tap: tap.status for tap in found.taps}
    assert statuses["first"] is Status.AGREE
    assert statuses["lift"] is Status.ROUNDING
    assert {*statuses.values()} <= {Status.AGREE, Status.ROUNDING, Status.INHERITED}


def _padding(module: third.Gated) -> None:
    module.first.strided_pad = (1, 0, 1, 0)


def _scaled(module: third.Gated) -> None:
    _around(module.second, lambda output: output * 0.9999)


def _graph_transposed(module: third.Gated) -> None:
    module.lift.product = lambda graph, x, matrix: graph.T @ (x @ matrix)


def _sigmoid(module: third.Gated) -> None:
    module.gate.sigmoid = lambda z: torch.clamp(z / 6 + 0.5, 0, 1)


def _halved(module: third.Gated) -> None:
    _around(module.joined, lambda output: output * 0.5)


def _floor(module: third.Gated) -> None:
    module.norm.floor = 2.0**-11


def _one_vertex(module: third.Gated) -> None:
    keep = torch.ones(third.POINTS, 1)
    keep[17] = 1 + 1e-5
    _around(module.move, lambda output: output * keep.to(output.dtype))


def _around(module: nn.Module, edit: Callable[[torch.Tensor], torch.Tensor]) -> None:
    inner = module.forward
    module.forward = lambda *given: edit(inner(*given))


FAULTS = MappingProxyType(
    {
        "first": _padding,
        "second": _scaled,
        "lift": _graph_transposed,
        "gate": _sigmoid,
        "joined": _halved,
        "norm": _floor,
        "move": _one_vertex,
    }
)


OPERANDS = MappingProxyType(
    {"first": "padding", "second": "constant", "joined": "residual", "norm": "epsilon"}
)
"""What is wrong, where a change of one operand gives the port's output."""


def faulty(edit: Callable[[third.Gated], None]) -> Factory:
    def factory(_stage: str, dtype: str, _device: str) -> ModulePort:
        module = third.Gated()
        edit(module)
        return third.port(module, dtype)

    return factory


def test_every_layer_has_a_fault() -> None:
    assert [*FAULTS] == LAYERS


@pytest.mark.parametrize("layer", LAYERS)
def test_a_fault_is_named_at_its_layer(compared: Callable[..., Comparison], layer: str) -> None:
    found = compared(faulty(FAULTS[layer]))
    assert found.verdict is Verdict.DIFFER
    assert found.first_divergence == layer
    (wrong,) = (tap for tap in found.taps if tap.status is Status.DIFFER)
    assert (wrong.tap, wrong.cause) == (layer, "function")
    after = {tap.origin for tap in found.taps if tap.status is Status.INHERITED}
    assert after <= {layer}
    assert (after == {layer}) is (layer != third.NETWORK.output)
    if layer in OPERANDS:
        assert found.diagnosis is not None
        assert (found.diagnosis.operand, found.diagnosis.confirmed) == (OPERANDS[layer], True)


def test_without_float64_a_fault_is_named_too(compared: Callable[..., Comparison]) -> None:
    found = compared(faulty(FAULTS["gate"]), float64=False)
    assert found.basis == "float32"
    assert found.first_divergence == "gate"


def test_coverage_knows_a_layer_of_its_own(compared: Callable[..., Comparison]) -> None:
    """Every variable is seen, but for what reads channels that a ReLU closed."""
    found = compared(third.reordered)
    assert found.coverage is not None
    variables = found.coverage["variables"]
    assert {*variables} == {row.key for row in third.VARIABLES}
    seen = variables["gated/second/shift"]
    assert 0 < seen < 1
    assert variables["gated/gate/matrix"] == pytest.approx(seen)
    assert variables["gated/gate/shift"] == variables["gated/norm/scale"] == 1
    assert None not in found.coverage["smallest_changes"].values()


def test_outputs_of_a_formula_may_share_their_roundings() -> None:
    """What is pooled and added to every row errs alike in all of them: that is no finding."""
    context = Context.of(third.NAME, third.inputs().given, third.weights().arrays)
    rows = third.NETWORK.rows
    assert sharing_of(rows["gate"], context) == third.POINTS * third.WIDTH
    assert sharing_of(rows["joined"], context) == 1
    assert 1 < sharing_of(rows["lift"], context) <= third.POINTS**2


@pytest.mark.parametrize("factory", [third.reordered, faulty(_sigmoid)], ids=["right", "faulty"])
def test_the_report_is_written(
    compared: Callable[..., Comparison], tmp_path: Path, factory: Factory
) -> None:
    found = compared(factory)
    paths = PairPaths.in_folder(tmp_path)
    write_report(found, tmp_path / "out", meshes=None, traces=(paths.reference, paths.candidate))
    assert "Pixel2Mesh++ gated" not in (tmp_path / "out" / "report.html").read_text("utf-8")
    told = json.loads((tmp_path / "out" / "report.json").read_text())
    assert told["verdict"] == found.verdict.value
    assert told["first_divergence"] == found.first_divergence
    assert [each["tap"] for each in told["taps"]] == LAYERS
    for name in ("report.md", "report.html", "taps.csv", "samples.json"):
        text = (tmp_path / "out" / name).read_text()
        assert all(layer in text for layer in LAYERS)
    columns = json.loads((tmp_path / "out" / "samples.json").read_text())["entries"]
    assert [each["parents"] for each in columns] == [[*row.parents] for row in third.NETWORK.taps]


def test_a_pair_is_run_in_one_call(tmp_path: Path) -> None:
    done: list[str] = []
    found = compare_pair(
        REFERENCE,
        BackendChoice("parity_tests.network.third:reordered"),
        third.inputs(),
        third.weights(),
        PairPaths.in_folder(tmp_path),
        progress=lambda _name, _total: nullcontext(done.append),
    )
    assert found.verdict is Verdict.AGREE
    assert done == LAYERS * 2


def test_its_weights_are_recognised_in_a_file(tmp_path: Path) -> None:
    weights = third.weights()
    save_weights(tmp_path / "w.safetensors", weights)
    found = load_weights(tmp_path / "w.safetensors")
    assert found.stage == third.NAME
    assert all(np.array_equal(found.arrays[key], weights.arrays[key]) for key in weights.arrays)


def test_a_parameter_is_no_two_variables_whichever_way_it_is_turned() -> None:
    names = {**third.MAP.variables, "gated/move/far": "move.near.T"}
    with pytest.raises(InputError, match=r"'move\.near' is gated/move/near and gated/move/far"):
        ModulePort(third.NAME, third.Gated(), third.call_it, replace(third.MAP, variables=names))


def test_gradients_without_losses_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gradients: asked for without ground truth"):
        record(REFERENCE, third.inputs(), third.weights(), tmp_path / "a.h5", gradients=True)
    assert not any(tmp_path.iterdir())


def returning(
    onward: Callable[[torch.Tensor], torch.Tensor], names: PortMap = third.MAP
) -> Factory:
    """The port, whose caller goes on from what its last submodule gives."""

    def factory(_stage: str, dtype: str, _device: str) -> ModulePort:
        module = third.Gated().to(getattr(torch, dtype))
        return ModulePort(
            third.NAME, module, lambda m, given: onward(third.call_it(m, given)), names
        )

    return factory


@pytest.mark.parametrize(
    "onward", [lambda x: x, lambda x: x[None], lambda x: x.float()],
    ids=["as it is", "one axis more", "as float32"],
)  # fmt: skip
def test_a_port_returns_its_last_tap(
    compared: Callable[..., Comparison], onward: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    assert compared(returning(onward)).verdict is Verdict.AGREE


@pytest.mark.parametrize(
    "onward",
    [lambda x: 2 * x, lambda x: x.flip(0), lambda x: x * (1 + 1e-6), lambda x: x * torch.nan],
    ids=["doubled", "turned round", "a millionth more", "not a number"],
)
def test_what_follows_the_last_tap_is_not_left_out(
    compared: Callable[..., Comparison], onward: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    """Its last submodule's output is right in all of them, and what is returned is compared."""
    with pytest.raises(InputError, match=r"returned another output than its tap move, .* away"):
        compared(returning(onward))
    returned = replace(third.MAP, taps={**third.MAP.taps, "move": "()"})
    found = compared(returning(onward, returned))
    assert (found.verdict, found.first_divergence) == (Verdict.DIFFER, "move")


def test_what_is_returned_in_another_size_is_refused(compared: Callable[..., Comparison]) -> None:
    with pytest.raises(InputError, match=r"its run\(\) returned int64 .* its tap move is \("):
        compared(returning(lambda x: x.argmax(1)))


@pytest.mark.parametrize("kind", [torch.int64, torch.float16], ids=str)
def test_what_is_returned_in_a_type_that_cannot_hold_it_is_refused(
    compared: Callable[..., Comparison], kind: torch.dtype
) -> None:
    """The tap cut down to that type is the same, and the output is not."""
    with pytest.raises(InputError, match=r"its run\(\) returned .* its tap move is \("):
        compared(returning(lambda x: x.to(kind)))


def test_what_is_no_image_is_not_explained_as_one() -> None:
    """Block 0, the default, is the image network; a dense layer may be in it."""
    row = replace(third.NETWORK.row("norm"), block=0)
    context = Context.of(third.NAME, third.inputs().arrays(), third.weights().arrays)
    given, observed = np.random.default_rng(0).standard_normal((2, *row.shape))
    found = diagnose(row, {"joined": given}, context, observed)
    assert found is None or not found.confirmed


def test_an_image_of_a_batch_is_no_view() -> None:
    """A network without views has no order of them."""
    row = third.NETWORK.row("second")
    context = Context.of(third.NAME, third.inputs().arrays(), third.weights().arrays)
    random = np.random.default_rng(0)
    given = random.random(third.NETWORK.row("first").shape)
    observed = local_alone(row, {"first": given}, context, None, "float64").value.copy()
    observed[1] += random.standard_normal(observed[1].shape)
    found = diagnose(row, {"first": given}, context, observed)
    assert found is None or "view" not in f"{found.operand} {found.explanation}"


def test_a_buffer_may_be_a_variable(compared: Callable[..., Comparison]) -> None:
    """As the running mean of a batch normalisation is."""

    def factory(_stage: str, dtype: str, _device: str) -> ModulePort:
        module = third.Gated()
        scale = module.norm.scale.detach()
        del module.norm.scale
        module.norm.register_buffer("scale", scale)
        return third.port(module, dtype)

    assert compared(factory).verdict is Verdict.AGREE


def test_a_primitive_without_a_rule_is_named() -> None:
    with pytest.raises(InputError, match=r"primitive: 'max_pool'; expected one of .*, matmul,"):
        run(trace(lambda x: call("max_pool", x)), {"x": exactly(1.0)}, State(SINGLE))


SINGLE = Arithmetic(2.0**-24, 10.0, np.float32)


def test_python_runs_it_in_one_call(tmp_path: Path) -> None:
    found = run_pair(
        third.weights(), third.inputs(), traces=tmp_path,
        reference=third.factory, candidate=third.reordered,
    )  # fmt: skip
    assert found.verdict is Verdict.AGREE
    assert [tap.tap for tap in found.taps] == LAYERS


def test_a_trace_of_a_network_that_nobody_described(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    record(REFERENCE, third.inputs(), third.weights(), path)
    with h5py.File(path, "r+") as file:
        file.attrs["stage"] = "fourth"
        seal(file)
    with pytest.raises(InputError, match="stage 'fourth'; expected coarse or refine or gated"):
        compare(path, path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: (rows[1], rows[0], *rows[2:]), "number 1 of gated, found at 0"),
        (lambda rows: (replace(rows[0], parents=("later",)), *rows[1:]), "reads later, which do"),
        (lambda rows: (replace(rows[0], variables={}), *rows[1:]), r"has \[\], its program reads"),
        (lambda rows: (replace(rows[0], layer="soft_max"), *rows[1:]),
         "has no formula, and layer soft_max is none of .*, softmax,"),
        (lambda rows: rows[:-1], "its output and meshes are to be taps"),
        (lambda rows: (*rows, replace(rows[0], order=7)), "a tap or variable is there twice"),
        (
            lambda rows: (*rows[:4], replace(rows[4], rows_per_vertex=1), *rows[5:]),
            "joined: has rows by vertex, lift, gate none",
        ),
    ],
    ids=["order", "parent", "variable", "layer", "output", "twice", "vertices"],
)  # fmt: skip
def test_rows_that_do_not_fit_are_refused(change: Callable, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        register(replace(third.NETWORK, name=third.NAME, taps=change(third.NETWORK.taps)))


@pytest.mark.parametrize(
    ("candidate", "first"), [("factory", None), ("faulty", "summed")], ids=["right", "faulty"]
)
def test_a_network_without_mixing_is_judged_in_parts(
    tmp_path: Path, candidate: str, first: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "PART", vertexwise.PART)
    paths = PairPaths.in_folder(tmp_path)
    with registered(vertexwise.NETWORK):
        assert (
            len(chunks.parts_of(vertexwise.NETWORK.taps[0], [slice(0, vertexwise.VERTICES)])) == 5
        )
        for name, path in (("factory", paths.reference), (candidate, paths.candidate)):
            choice = BackendChoice(f"parity_tests.network.vertexwise:{name}")
            record(choice, vertexwise.inputs(), vertexwise.weights(), path)
        found = compare(paths.reference, paths.candidate)
    assert found.first_divergence == first
    assert found.verdict is (Verdict.AGREE if first is None else Verdict.DIFFER)
    assert [tap.local_roundings is not None for tap in found.taps] == [True] * 3
    assert found.taps[-1].mismatched == (0 if first is None else vertexwise.WIDTH)
    assert found.coverage is not None
    assert set(found.coverage["variables"].values()) == {1.0}


def test_two_that_make_the_same_mistake_agree_and_it_is_said(
    compared: Callable[..., Comparison], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = compared(third.factory)
    assert not any("departs" in note for note in right.notes)
    monkeypatch.setattr(third, "factory", faulty(_floor))
    found = compared(faulty(_floor))
    assert found.verdict is Verdict.AGREE
    assert any(
        "the reference itself departs from the official function, first at norm" in note
        for note in found.notes
    )
