"""A network that the project does not know, described and registered by its user alone."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from network import Network, call, register, registered, trace
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
from parity_tests.commands.cli import assert_trouble, p2m, p2m_process
from parity_tests.network import third, vertexwise
from reports.suite.asked import recordings
from reports.write import write_report
from weight_conversion.errors import InputError
from weight_conversion.formats import load_weights, save_weights

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = BackendChoice("parity_tests.network.third:factory")
LAYERS = [row.name for row in third.NETWORK.taps]
Factory = Callable[[str, str, str], ModulePort]


@pytest.fixture(autouse=True)
def network() -> Iterator[Network]:
    with registered(third.NETWORK) as found:
        yield found


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


def test_inputs_of_another_shape_are_refused() -> None:
    given = {**third.inputs().given, "photos": np.zeros((3, 12, 10, 4), np.float32)}
    with pytest.raises(InputError, match=r"input photos: .*\(3, 12, 10, 4\).*\(2, 12, 10, 4\)"):
        replace(third.inputs(), given=given)


@pytest.mark.parametrize(
    ("photos", "said"),
    [
        (np.zeros(third.PHOTOS), "input photos: float64; expected float32, in either precision"),
        (np.full(third.PHOTOS, np.nan, np.float32), "input photos: NaN or infinity"),
        (np.zeros(third.PHOTOS, np.uint8), "input photos: uint8; expected float32"),
    ],
    ids=["float64", "NaN", "uint8"],
)
def test_inputs_that_no_run_can_be_judged_on_are_refused(photos: np.ndarray, said: str) -> None:
    given = {**third.inputs().given, "photos": photos}
    with pytest.raises(InputError, match=said):
        replace(third.inputs(), given=given)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"values": np.full(30, np.nan, np.float32)},
         "constant graph/far: float32, not all finite"),
        ({"indices": np.zeros((2, 30), np.int64)},
         r"constant graph/far/indices: int64 (2, 30) for values (30,); expected whole numbers"),
        ({"indices": np.zeros((30, 2), np.float32)}, "constant graph/far/indices: float32"),
        ({"values": np.float32(1.0)}, "constant graph/far/indices: int64 (30, 2) for values ()"),
        ({"indices": np.full((30, 2), 28)},
         "constant graph/far: a matrix (29, 29); expected (30, 30) as lift reads; graph/far/shape"),
        ({"indices": np.full((30, 2), -1)}, "graph/far/indices holds an index of no row or column"),
        ({"shape": np.array([30])}, "constant graph/far/shape: int64 (1,); expected two numbers"),
        ({"shape": np.array([20, 20])}, "graph/far/indices holds an index of no row or column"),
    ],
    ids=["NaN", "turned", "float", "scalar", "smaller", "negative", "shape", "beyond"],
)  # fmt: skip
def test_constants_that_are_none_are_refused(change: dict[str, np.ndarray], said: str) -> None:
    far = {"indices": np.stack([np.arange(30)] * 2, axis=1), "values": np.ones(30, np.float32)}
    given = {**third.inputs().given, **{f"graph/far/{k}": v for k, v in {**far, **change}.items()}}
    with pytest.raises(InputError, match=re.escape(said)):
        replace(third.inputs(), given=given)


def test_a_graph_may_end_with_points_without_links() -> None:
    far = {
        "indices": np.stack([np.arange(28)] * 2, axis=1), "values": np.ones(28, np.float32),
        "shape": np.array([30, 30]),
    }  # fmt: skip
    given = {**third.inputs().given, **{f"graph/far/{k}": v for k, v in far.items()}}
    found = run_pair(
        third.weights(), replace(third.inputs(), given=given),
        reference=third.factory, candidate=third.reordered,
    )  # fmt: skip
    assert found.verdict is Verdict.AGREE


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


def test_the_command_line_knows_a_network_that_is_imported(tmp_path: Path) -> None:
    for side in ("reference", "candidate"):
        record(REFERENCE, third.inputs(), third.weights(), tmp_path / f"{side}.h5")
    (tmp_path / "mine.py").write_text(
        f"import sys\nsys.path.append({str(ROOT)!r})\n"
        "from network import register\nfrom parity_tests.network import third\n"
        "register(third.NETWORK)\n"
    )
    traces = ("compare", "reference.h5", "candidate.h5", "--out", "out")
    unknown = p2m_process(*traces, cwd=tmp_path)
    assert_trouble(unknown, "stage 'gated'", "coarse or refine")
    done = p2m_process("--network", "mine", *traces, cwd=tmp_path)
    assert (done.status, done.stderr) == (0, "")
    assert "--network mine compare" in (tmp_path / "out" / "report.md").read_text()
    assert_trouble(p2m_process("--network", "absent", *traces, cwd=tmp_path), "--network", "absent")
    assert_trouble(
        p2m_process("--network", "json", *traces, cwd=tmp_path), "json registers no network"
    )


@pytest.fixture
def commanded(tmp_path: Path) -> Path:
    """A folder with a module that registers the network and has ports of it, inputs and weights."""
    (tmp_path / "mine.py").write_text(
        f"import sys\nsys.path.append({str(ROOT)!r})\n"
        "from network import register\nfrom parity_tests.network import third\n"
        "from parity_tests.network.third import factory, reordered\n"
        "register(third.NETWORK)\n\n"
        "def padded(stage, dtype, device):\n"
        "    module = third.Gated()\n"
        "    module.first.strided_pad = (1, 1, 1, 1)\n"
        "    return third.port(module, dtype)\n"
    )
    np.savez(tmp_path / "inputs.npz", **third.inputs().given)
    save_weights(tmp_path / "w.npz", third.weights())
    return tmp_path


READS = ("--inputs", "inputs.npz", "--weights", "w.npz")
PORTS = ("--reference", "mine:factory", "--candidate", "mine:reordered")


def test_the_command_line_runs_it(commanded: Path) -> None:
    program = ("--network", "mine")
    done = p2m_process(*program, "run", third.NAME, *READS, *PORTS, "--keep-traces",
                       "--out", "out", cwd=commanded)  # fmt: skip
    assert (done.status, done.stderr) == (0, "")
    assert "gated: agree (7 taps compared" in done.stdout
    again = (commanded / "out" / "report.md").read_text()
    assert "p2m-parity --network mine compare out/reference.h5 out/candidate.h5" in again
    recorded = p2m_process(*program, "trace", third.NAME, *READS, "--backend", "mine:factory",
                           "--out", "t.h5", cwd=commanded)  # fmt: skip
    assert (recorded.status, recorded.stdout, recorded.stderr) == (0, "t.h5\n", "")
    proposed = p2m_process(*program, "propose", "mine:reordered", "--inputs", "inputs.npz",
                           "--out", "map.toml", cwd=commanded)  # fmt: skip
    assert (proposed.status, proposed.stderr) == (0, "")
    assert proposed.stdout.startswith("gated: 7 taps and 13 variables found, 0 to be answered\n")


def suite(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """``pytest --p2m-candidate``, the plugin by its name: it may be installed or not."""
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "reports.pytest_plugin", "-c", os.devnull,
         "--p2m-inputs", "inputs.npz", *words],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


SUITE = ("--p2m-network", "mine", "--p2m-weights", "w.npz", "--p2m-reference", "mine:factory")


def test_the_suite_has_a_test_for_every_tap_of_it(commanded: Path) -> None:
    done = suite(commanded, *SUITE, "--p2m-candidate", "mine:reordered", "-v")
    assert done.returncode == 0, done.stdout
    assert re.findall(r"gated::tap\[(.*)\] PASSED", done.stdout) == LAYERS
    done = suite(commanded, *SUITE, "--p2m-candidate", "mine:padded")
    assert done.returncode == 1, done.stdout
    assert re.findall(r"^FAILED .*::(.*?)(?: - .*)?$", done.stdout, re.M) == ["tap[first]"]
    assert "padding" in done.stdout


def test_a_wrong_option_of_the_suite_is_one_line(commanded: Path) -> None:
    words = ("--p2m-network", "absent", *SUITE[2:], "--p2m-candidate", "mine:factory")
    done = suite(commanded, *words)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    (line,) = filter(None, (done.stdout + done.stderr).splitlines())
    assert line.startswith("ERROR: --p2m-candidate: --p2m-network: absent cannot be imported")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reference": "torch"}, "backend torch: it knows coarse and refine, not gated"),
        ({"weights": []}, "--p2m-weights: no gated weights"),
        ({"items": ["plane"]}, "--p2m-inputs: given with --p2m-item"),
        ({"inputs": ["inputs.npz", "inputs.npz"]}, "two of inputs, gated; expected files of"),
    ],
    ids=["reference", "weights", "item", "twice"],
)
def test_what_the_suite_cannot_record_is_refused(
    commanded: Path, change: dict[str, Any], said: str
) -> None:
    ports = f"{third.__name__}:factory"
    given: dict[str, Any] = {
        "candidate": ports, "reference": ports, "items": [], "inputs": ["inputs.npz"],
        "weights": ["w.npz"], "steps": 1, "device": "cpu", **change,
    }  # fmt: skip
    for option in ("inputs", "weights"):
        given[option] = [commanded / name for name in given[option]]
    with pytest.raises(InputError, match=re.escape(said)):
        recordings(**given)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((third.NAME, *READS, *PORTS, "--item", "I"), "--item: given for gated; expected --inputs"),
        ((third.NAME, *READS, *PORTS, "--views", "0,1,2"), "--views: given for gated; expected"),
        ((third.NAME, *READS, *PORTS, "--ground-truth", "t.xyz"), "--ground-truth: given for"),
        ((third.NAME, *READS[2:], *PORTS), "--inputs: not given; expected the arrays that gated"),
        ((third.NAME, "--inputs", "absent.npz", *READS[2:], *PORTS), "absent.npz: no such file"),
        ((third.NAME, "--inputs", "w.npz", *READS[2:], *PORTS), "w.npz: input photos: nothing"),
        ((third.NAME, "--inputs", "part.npz", *READS[2:], *PORTS), "part.npz: constant graph/far"),
        ((third.NAME, *READS, "--candidate", "mine:factory"),
         "backend tf: it knows coarse and refine, not gated; expected module:factory"),
        ((third.NAME, *READS, *PORTS, "--steps", "2"), "--steps: given without --ground-truth"),
        (("coarse", *READS, *PORTS), "w.npz: weights of the gated stage; expected the coarse"),
        (("fourth", *READS, *PORTS), "'fourth' is not one of 'coarse', 'refine', 'both', 'gated'"),
    ],
    ids=["item", "views", "truth", "no inputs", "absent", "weights", "constant", "tf", "steps",
         "coarse", "unknown"],
)  # fmt: skip
def test_what_it_does_not_read_is_refused(
    commanded: Path, words: tuple[str, ...], said: str
) -> None:
    given = third.inputs().given
    part = {name: array for name, array in given.items() if name != "graph/far/values"}
    np.savez(commanded / "part.npz", **part)
    outcome = p2m("run", *words, "--out", "out", cwd=commanded)  # it is registered here already
    assert_trouble(outcome, said)
    assert not (commanded / "out").exists()


def test_inputs_for_an_official_stage_are_refused(commanded: Path) -> None:
    weights = ("seed", "coarse", "coarse.npz")
    assert p2m(*weights, cwd=commanded).status == 0
    run = ("run", "coarse", "--weights", "coarse.npz", "--out", "out")
    outcome = p2m(*run, "--inputs", "inputs.npz", cwd=commanded)
    assert_trouble(outcome, "--inputs: given for coarse; expected --item")
    assert_trouble(p2m(*run, cwd=commanded), "--item: not given; expected the folder of one item")


def test_a_proposal_needs_the_inputs_of_one_network(commanded: Path) -> None:
    np.savez(commanded / "other.npz", pictures=np.zeros(3, np.float32))
    proposing = ("propose", "mine:factory", "--out", "map.toml")
    outcome = p2m(*proposing, "--inputs", "other.npz", cwd=commanded)
    assert_trouble(outcome, "other.npz: pictures, as no registered network reads")
    outcome = p2m(*proposing, "--inputs", "inputs.npz", "--item", "I", cwd=commanded)
    assert_trouble(outcome, "--inputs: given with --item; expected one of them")
    assert not (commanded / "map.toml").exists()


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
