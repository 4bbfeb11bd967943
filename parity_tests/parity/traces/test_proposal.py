"""Maps proposed for modules whose names say nothing, and for modules with mistakes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inputs.demo import demo_item_path
from network.registry import network_of, registered
from parity.traces.backends import BackendChoice
from parity.traces.module_port import ModulePort
from parity.traces.port_map import PortMap, read_map
from parity.traces.proposal import (
    Proposal,
    kept_in,
    propose,
    sample_inputs,
    write_proposals,
)
from parity.traces.record import record
from parity.traces.sources import read_sources
from parity.verdict.compare import compare
from parity_tests.network import third, vertexwise
from parity_tests.parity.traces.scrambled import Scrambled
from weight_conversion.errors import InputError

TAPS = [row.name for row in third.NETWORK.taps]
SIMPLE = {"gate": "Gate", "joined": "Sum", "norm": "Norm"}


@pytest.fixture(autouse=True, scope="module")
def known() -> Any:
    with registered(third.NETWORK), registered(vertexwise.NETWORK):
        yield


def proposed(make: Callable[[], nn.Module], kept: PortMap | None = None) -> Proposal:
    def call(module: nn.Module, given: Any) -> Tensor:
        return third.call_it(getattr(module, "network", (module,))[0], given)

    def factory(stage: str, dtype: str, _device: str) -> ModulePort:
        return ModulePort(stage, make().to(getattr(torch, dtype)), call, "nowhere.toml")

    return propose(factory, third.inputs(), kept=kept)


def wrong(found: Proposal, names: dict[str, str]) -> list[str]:
    """Taps and variables that were given a name that is not theirs."""
    taps = [tap for tap, name in found.matches.taps.items() if name != names[tap]]
    keys = network_of(found.stage).variables_by_key
    return taps + [
        key for key, name in found.matches.variables.items() if name != names[keys[key].torch_key]
    ]


@pytest.mark.parametrize("seed", range(3))
def test_scrambled_names_are_found_by_value(seed: int) -> None:
    names = Scrambled(third.Gated(), seed).names
    found = proposed(lambda: Scrambled(third.Gated(), seed))
    assert not wrong(found, names)
    assert [*found.matches.taps] == TAPS
    assert len(found.matches.variables) == len(third.VARIABLES)
    assert {*found.matches.why.values()} == {"by value"}
    assert not found.asked


def forgets_shift(module: third.Gated) -> None:
    module.lift.product = lambda graph, x, matrix: graph @ (x @ matrix)
    forward = type(module.lift).forward

    def without(x: Tensor, near: Tensor, far: Tensor) -> Tensor:
        shift, module.lift.shift = module.lift.shift, nn.Parameter(torch.zeros(third.WIDTH))
        try:
            return forward(module.lift, x, near, far)
        finally:
            module.lift.shift = shift

    module.lift.forward = without  # type: ignore[method-assign]


def pads_before(module: third.Gated) -> None:
    module.first.strided_pad = (1, 0, 1, 0)


def no_sigmoid(module: third.Gated) -> None:
    module.gate.sigmoid = lambda z: z


def other_sum(module: third.Gated) -> None:
    module.joined.forward = lambda x, y: x - y  # type: ignore[method-assign]


MISTAKES = {
    "padding": (pads_before, "first"), "bias": (forgets_shift, "lift"),
    "sigmoid": (no_sigmoid, "gate"), "sum": (other_sum, "joined"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_with_plain_names_is_mapped_all_the_same(mistake: str) -> None:
    change, tap = MISTAKES[mistake]

    def make() -> nn.Module:
        module = third.Gated()
        change(module)
        return module

    found = proposed(make)
    assert not wrong(found, {name: name for name in (*TAPS, *_keys())})
    assert not found.asked
    assert found.matches.why[tap] == "by what reads it; its layer gives other numbers"
    assert {why for name, why in found.matches.why.items() if name in TAPS and name != tap} == {
        "by value"
    }


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("mistake", ["padding", "sigmoid", "sum"])
def test_a_mistake_under_drawn_names_is_asked_or_right_never_wrong(mistake: str, seed: int) -> None:
    def make() -> Scrambled:
        module = third.Gated()
        MISTAKES[mistake][0](module)
        return Scrambled(module, seed)

    found = proposed(make)
    names = make().names
    assert not wrong(found, names)
    keys = network_of(found.stage).variables_by_key
    for asked, candidates in found.asked.items():
        torch_key = keys[asked].torch_key if asked in keys else asked
        assert not candidates or names[torch_key] in candidates
    assert len(found.asked) <= 2
    answers = {asked: names[asked] for asked in found.asked if asked not in keys}
    again = proposed(make, PortMap(answers))
    assert not wrong(again, names)
    assert not {*again.asked} & {*answers}


def _keys() -> list[str]:
    return [row.torch_key for row in third.VARIABLES]


class Linear(nn.Module):
    """The gate as people write it: a linear layer, and an activation of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.sigmoid = nn.Linear(7, third.WIDTH), nn.Sigmoid()

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        return x * self.sigmoid(self.linear(seen.mean(dim=(0, 2, 3))))


class Separate(third.Convolution):
    """A convolution whose ReLU is a module."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.active = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        pad = self.strided_pad if self.stride[0] == 2 else (1, 1, 1, 1)
        return self.active(nn.Conv2d.forward(self, nn.functional.pad(x, pad)))


def test_a_transposed_matrix_is_found_and_loaded(tmp_path: Path) -> None:
    def make() -> nn.Module:
        module = third.Gated()
        module.gate = Linear()  # type: ignore[assignment]
        return module

    found = proposed(make)
    assert found.matches.variables["gated/gate/matrix"] == "gate.linear.weight.T"
    path = tmp_path / "map.toml"
    write_proposals(path, [found])

    def factory(stage: str, dtype: str, _device: str) -> ModulePort:
        return ModulePort(stage, make().to(getattr(torch, dtype)), third.call_it, path)

    for name, each in (("reference", third.factory), ("candidate", factory)):
        choice = BackendChoice.of_factory(each)
        record(choice, third.inputs(), third.weights(), tmp_path / f"{name}.h5")
    judged = compare(tmp_path / "reference.h5", tmp_path / "candidate.h5")
    assert judged.verdict.value == "agree"
    assert judged.compared == len(TAPS)


def test_what_no_submodule_gives_is_said(tmp_path: Path) -> None:
    class Fused(third.Gated):
        def __init__(self) -> None:
            super().__init__()
            self.first = Separate(4, 5, 3, stride=2)
            del self.joined

        def joined(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    found = proposed(Fused)
    assert found.matches.unmatched == {"joined": "no submodule gives this (30, 11)"}
    assert not found.asked
    assert {name for name in TAPS if name not in found.matches.taps} == {"joined"}
    write_proposals(tmp_path / "map.toml", [found])
    assert read_map(tmp_path / "map.toml", third.NAME) == found.map()


def test_vertices_that_do_not_mix_are_sampled() -> None:
    found = propose(vertexwise.factory, vertexwise.inputs())
    assert not found.asked
    assert {*found.matches.why.values()} == {"by value"}
    assert found.matches.taps == {row.name: row.module for row in vertexwise.NETWORK.taps}


def test_questions_are_written_answered_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    found = proposed(third.Gated)
    del found.matches.taps["gate"]
    found.matches.open["gate"] = ("gate", "joined")
    write_proposals(path, [found])
    assert 'gate = ""  # which? one of gate, joined\n' in path.read_text()
    with pytest.raises(InputError, match='gated: "gate" without an answer'):
        read_map(path, third.NAME)
    path.write_text(path.read_text().replace('gate = ""', 'gate = "joined"'))
    kept = kept_in(path)[third.NAME]
    again = proposed(third.Gated, kept)
    assert again.matches.taps["gate"] == "joined"  # a person's answer, right or not
    assert kept_in(tmp_path / "none.toml") == {}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("taps = [", "map.toml: "),
        ("[other.taps]\n", "['other']; expected a stage: coarse, refine"),
        ("[coarse.tap]\n", "expected sections taps, variables, unmatched"),
        ("[coarse]\ntaps = 3\n", "expected names in quotes"),
        ('[coarse.taps]\nnothing = "x"\n', "[coarse.taps] 'nothing'; expected a tap of the"),
        ('[coarse.variables]\nnothing = "x"\n', "expected a variable of the network"),
        ("[coarse.taps]\ngraph_proj_1_layer_0 = 1\n", "= 1; expected a name in quotes"),
        ("# nothing yet\n", "no [coarse.taps]; expected the coarse stage: `p2m-parity propose`"),
        ("", "map.toml: is empty; expected the file that `p2m-parity propose` writes"),
        ("x = " + "1" * 5000, "map.toml: 'Exceeds the limit"),
        ("x = " + "[" * 5000, "map.toml: "),
        (
            "coarse = [" + "1, " * 5000 + "]",
            "[coarse] [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, …; expected sections",
        ),
    ],
)
def test_a_file_that_is_none_is_one_line(text: str, line: str, tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_map(path, "coarse")
    assert line in str(caught.value)
    with pytest.raises(
        InputError, match=r"none.toml: .*expected the file that `p2m-parity propose`"
    ):
        read_map(tmp_path / "none.toml", "coarse")


def test_a_backend_without_submodules_is_refused() -> None:
    class Other:
        def run(self, *_: Any) -> None: ...

    with pytest.raises(InputError, match="no ModulePort; expected one, to propose a map of"):
        propose(lambda *_: Other(), third.inputs())  # type: ignore[arg-type,return-value]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["coarse", "refine"])
def test_the_network_itself_under_drawn_names(stage: str) -> None:
    from parity_tests.parity.traces.scrambled import torch_port

    found = propose(torch_port, sample_inputs(read_sources(demo_item_path("plane")), stage))
    names = torch_port(stage, "float32", "cpu").module.names  # type: ignore[attr-defined]
    network = network_of(stage)
    modules = {row.name: names.get(row.module, "") for row in network.taps}
    modules[network.output] = modules[network.output] or "()"  # of the refine stage
    assert not wrong(found, {**modules, **names})
    assert not found.asked
    assert len(found.matches.variables) == len(network.variables)
    assert {*found.matches.why.values()} == {"by value"}
    of_modules = [row.name for row in network.taps if row.variables]
    assert {*of_modules} <= {*found.matches.taps}


@pytest.mark.slow
def test_nothing_is_asked_of_the_example() -> None:
    """Of the last layer too, whose numbers are all positive with these parameters by chance."""
    port = BackendChoice("docs.examples.my_port:factory")
    found = propose(port.name, sample_inputs(read_sources(demo_item_path("plane")), "coarse"))
    assert (len(found.matches.taps), len(found.matches.variables)) == (86, 165)
    assert not found.matches.open
    assert all(name.endswith((f".{tap}", f".{tap.replace('.', '/')}")) or name == tap
               for tap, name in found.matches.taps.items())  # fmt: skip


def test_layers_that_share_their_weights_are_proposed_all_the_same() -> None:
    """One parameter under two names, by which both layers' variables are found."""

    def tied() -> nn.Module:
        module = third.Gated()
        module.lift.far = module.lift.near
        return module

    found = proposed(tied)
    names = found.matches.variables
    assert {names["gated/lift/near"], names["gated/lift/far"]} == {"lift.near", "lift.far"}
    assert not found.asked


def test_a_copy_in_a_buffer_is_told_with_the_parameter_that_nothing_reads() -> None:
    """As one that was made before the weights were loaded: no optimiser trains it."""

    class Stale(third.Gate):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("copied", torch.ones(7, third.WIDTH))

        def forward(self, x: Tensor, seen: Tensor) -> Tensor:
            return x * torch.sigmoid(seen.mean(dim=(0, 2, 3)) @ self.copied + self.shift)

    def made() -> nn.Module:
        module = third.Gated()
        module.gate = Stale()
        torch.nn.init.normal_(module.gate.copied, generator=torch.Generator().manual_seed(0))
        return module

    found = proposed(made).matches
    assert found.variables["gated/gate/matrix"] == "gate.copied"
    assert found.why["gated/gate/matrix"].endswith("; a buffer, which no optimiser trains")
    assert found.unused == ("gate.matrix",)
    assert proposed(third.Gated).matches.unused == ()
