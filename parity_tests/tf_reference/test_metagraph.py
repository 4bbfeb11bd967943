"""The exported graph as a backend, and the project's own TensorFlow held against it."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from network.taps import TAPS, TapRow
from parity_tests.tf_reference.few import FEW, few_vertices
from tf_reference.backend import factory, metagraph_factory
from tf_reference.metagraph import load_metagraph
from tf_reference.runtime import tf
from weight_conversion.errors import InputError

Of = Callable[[str], dict[str, Any]]
PathOf = Callable[[str], Path]
LIMIT = {("coarse", "float32"): 1e-5, ("refine", "float32"): 2e-5}
WIDE_LIMIT = 1e-12


class Compared:
    """A listener that holds each tap against another run's and forgets both."""

    def __init__(self, reference: dict[str, np.ndarray]) -> None:
        self._reference = reference
        self.errors: dict[str, float] = {}

    def __call__(self, tap: str, array: np.ndarray) -> None:
        reference = self._reference.pop(tap)
        assert array.dtype == reference.dtype
        assert array.shape == reference.shape
        error, scale = np.abs(array - reference).max(), np.abs(reference).max()
        self.errors[tap] = float(error / scale)


@pytest.fixture(scope="module")
def compare(official_inputs: Of, weights: Of, metagraph_path: PathOf, kept: Any) -> Any:
    """Both runs of a stage in a precision, compared; once each.

    The refine stage's are of few vertices where ``whole`` does not ask for all.
    """
    done: dict[tuple[str, str, bool], Any] = {}

    def of(stage: str, dtype: str, whole: bool = False) -> Any:
        key = stage, dtype, whole
        if key not in done:
            inputs = official_inputs(stage)
            small = stage == "refine" and not whole
            with few_vertices(inputs) if small else nullcontext(inputs) as inputs:
                given = inputs, weights(stage)
                graph, reference = load_metagraph(metagraph_path(stage), stage, dtype), kept()
                last = graph.run(*given, reference)
                untapped = graph.run(*given)
                graph.close()
                compared = Compared(reference.taps)
                factory(stage, dtype, "cpu").run(*given, compared)
            done[key] = (compared, reference, last, untapped)
        return done[key]

    return of


def _rows(stage: str) -> list[Any]:
    return [pytest.param(row, id=f"{stage}.{row.name}") for row in TAPS[stage]]


@pytest.mark.parametrize("row", [*_rows("coarse"), *_rows("refine")])
def test_tap(compare: Any, row: TapRow) -> None:
    assert compare(row.stage, "float32")[0].errors[row.name] <= LIMIT[row.stage, "float32"]


@pytest.mark.parametrize("row", [*_rows("coarse"), *_rows("refine")])
def test_wide_tap(compare: Any, row: TapRow) -> None:
    assert compare(row.stage, "float64")[0].errors[row.name] <= WIDE_LIMIT


@pytest.mark.slow
@pytest.mark.parametrize("row", _rows("refine"))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_refine_tap_of_all_vertices(compare: Any, dtype: str, row: TapRow) -> None:
    limit = {**LIMIT, ("refine", "float64"): WIDE_LIMIT}["refine", dtype]
    assert compare("refine", dtype, whole=True)[0].errors[row.name] <= limit


@pytest.mark.parametrize("stage", TAPS)
def test_taps_come_in_order_and_change_nothing(compare: Any, stage: str) -> None:
    _, reference, last, untapped = compare(stage, "float32")
    assert reference.order == [row.name for row in TAPS[stage]]
    assert np.array_equal(last, untapped)
    assert last.shape == ({"coarse": 2466, "refine": FEW}[stage], 3)


def test_wanted_taps_alone(
    compare: Any, official_inputs: Of, weights: Of, metagraph_path: PathOf, kept: Any
) -> None:
    listener = kept(wants={"graph_conv_blk2_1_layer_17"})
    graph = load_metagraph(metagraph_path("coarse"), "coarse")
    last = graph.run(official_inputs("coarse"), weights("coarse"), listener)
    assert set(listener.taps) == {"graph_conv_blk2_1_layer_17"}
    assert np.array_equal(last, compare("coarse", "float32")[2])


@pytest.fixture(scope="module")
def coarse_graph(metagraph_path: PathOf) -> Any:
    return load_metagraph(metagraph_path("coarse"), "coarse")


def test_other_weights_replace_the_loaded_ones(
    coarse_graph: Any, official_inputs: Of, weights: Of
) -> None:
    given = official_inputs("coarse")
    first = coarse_graph.run(given, weights("coarse"))
    halved = {key: array / 2 for key, array in weights("coarse").items()}
    assert not np.array_equal(coarse_graph.run(given, halved), first)
    assert np.array_equal(coarse_graph.run(given, weights("coarse")), first)
    assert np.array_equal(coarse_graph.forward(given), first)


def test_forward_needs_weights(metagraph_path: PathOf, official_inputs: Of) -> None:
    graph = load_metagraph(metagraph_path("coarse"), "coarse")
    with pytest.raises(InputError, match=r"no weights are loaded"):
        graph.forward(official_inputs("coarse"))


def test_the_other_stages_weights(coarse_graph: Any, official_inputs: Of, weights: Of) -> None:
    with pytest.raises(InputError, match=r"coarse stage's variables are missing"):
        coarse_graph.run(official_inputs("coarse"), weights("refine"))


@pytest.mark.parametrize("name", ["images", "cameras", "mesh", "template"])
def test_a_missing_input(coarse_graph: Any, official_inputs: Of, weights: Of, name: str) -> None:
    given = {key: value for key, value in official_inputs("coarse").items() if key != name}
    with pytest.raises(InputError, match=f"inputs/{name}: missing"):
        coarse_graph.run(given, weights("coarse"))


def test_the_other_stages_graph(metagraph_path: PathOf) -> None:
    make = metagraph_factory(metagraph_path("coarse"))
    with pytest.raises(InputError, match=r"the coarse stage's graph; expected the refine stage's"):
        make("refine", "float32", "cpu")


def test_a_contradictory_graph_is_the_files_fault(metagraph_path: PathOf, tmp_path: Path) -> None:
    message = tf.compat.v1.MetaGraphDef()
    message.ParseFromString(metagraph_path("coarse").read_bytes())
    node = next(n for n in message.graph_def.node if n.name == "graph_proj_1_layer_0/concat_1")
    node.op = "NnDistance"
    path = tmp_path / "odd.meta"
    path.write_bytes(message.SerializeToString())
    with pytest.raises(InputError, match=r"odd.meta: cannot be imported \(.*NnDistance"):
        load_metagraph(path, "coarse")


RUN = """
import pickle, re, sys
from pathlib import Path
from tf_reference.backend import factory, metagraph_factory
which, stage, meta, given = sys.argv[1:]
inputs, weights = pickle.loads(Path(given).read_bytes())
make = factory if which == "tf" else metagraph_factory(meta)
make(stage, "float32", "cpu").run(inputs, weights, lambda tap, array: None)
status = Path("/proc/self/status").read_text()
print(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak memory is read from /proc")
@pytest.mark.parametrize("which", ["tf", "metagraph"])
def test_a_refine_trace_is_never_held_whole_and_nothing_is_logged(
    official_inputs: Of, weights: Of, metagraph_path: PathOf, tmp_path: Path, which: str
) -> None:
    given = tmp_path / "given.pickle"
    given.write_bytes(pickle.dumps((official_inputs("refine"), weights("refine"))))
    arguments = [which, "refine", str(metagraph_path("refine")), str(given)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    # Not ru_maxrss, which a child inherits. TensorFlow alone takes 0.65 GB, all taps 1.5 GB.
    assert int(done.stdout) < 2_200_000
