"""Submodules as people write them: what is heard of each, or the line that refuses it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from network.taps import TAPS
from parity.traces.module_outputs import find_output, hooked
from parity.traces.module_port import ModulePort
from parity.traces.port_guard import PortError, PortGuard, check_float64
from parity.traces.port_map import PortMap
from parity_tests.parity.traces.ports import unmatched, write
from weight_conversion.errors import InputError

FIRST, SECOND, THIRD = "graph_conv_blk1_1_layer_1", "graph_conv_blk1_2_layer_2", "cnn.conv2d_1"
SHAPE = (156, 192)


class Doubled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Net(nn.Module):
    """Two layers on ones: 2 and 4."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Doubled(), Doubled()

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


class Giving(nn.Module):
    """Returns what ``make`` makes of its input."""

    def __init__(self, make: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.make = make

    def forward(self, x: Tensor) -> Any:
        return self.make(x)


class Around(nn.Module):
    """Calls a layer and gives its input back."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        self.layer(x)
        return x


def port(module: nn.Module, taps: dict[str, str], **options: Any) -> ModulePort:
    def call(module: nn.Module, inputs: Any) -> Tensor:
        return module(torch.as_tensor(inputs["x"]))

    return ModulePort(
        "coarse", module, options.pop("call", call), PortMap(taps, {}, unmatched(*taps)),
        lambda *_: None, **options,
    )  # fmt: skip


def heard(module: nn.Module, taps: dict[str, str], **options: Any) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    guard = PortGuard("my:port", port(module, taps, **options))
    guard.run({"x": np.ones(SHAPE, np.float32)}, {}, found.__setitem__)
    return found


def refused(module: nn.Module, taps: dict[str, str], **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        heard(module, taps, **options)
    return str(caught.value)


INDEXED = {
    "layer[0]": lambda x: (x, -x),
    "layer[-1]": lambda x: (-x, x),
    "layer['points']": lambda x: {"points": x, "others": -x},
    'layer["points"]': lambda x: {"points": x},
    "layer[1]['a'][0]": lambda x: [-x, {"a": (x,)}],
    "layer[3]": lambda x: {3: x},
}


@pytest.mark.parametrize("text", INDEXED)
def test_an_entry_of_an_output_is_heard_by_its_index(text: str) -> None:
    found = heard(Around(Giving(INDEXED[text])), {FIRST: text})
    np.testing.assert_array_equal(found[FIRST], np.ones(SHAPE))


def test_two_taps_are_two_entries_of_one_output() -> None:
    found = heard(Around(Giving(lambda x: (x, 3 * x))), {FIRST: "layer[0]", SECOND: "layer[1]"})
    assert {tap: array[0, 0] for tap, array in found.items()} == {FIRST: 1, SECOND: 3}


@pytest.mark.parametrize(
    ("text", "make", "came"),
    [
        ("layer", lambda x: (x, x[:, :3]), "'layer' is a tuple of [0] a tensor (156, 192), [1] a "
         "tensor (156, 3); expected a tensor, by its index in the tap map, such as 'layer[0]'"),
        ("layer", lambda x: {"points": x}, "'layer' is a dict of ['points'] a tensor (156, 192); "
         "expected a tensor, by its index in the tap map, such as \"layer['points']\""),
        ("layer[2]", lambda x: [x, None], "'layer' is a list of [0] a tensor (156, 192), [1] None"),
        ("layer['x']", lambda x: {"y": x}, "'layer' is a dict of ['y'] a tensor (156, 192);"),
        ("layer[0]", lambda x: [[x]], "'layer[0]' is a list of [0] a tensor (156, 192); expected "
         "a tensor, by its index in the tap map, such as 'layer[0][0]'"),
        ("layer[0]", lambda x: x, "'layer' is a tensor (156, 192); expected 'layer', without an "
         "index"),
        ("layer", lambda x: x.numpy(), "'layer' is a ndarray; expected a tensor"),
        ("layer", lambda _: None, "'layer' is None; expected a tensor"),
        ("layer", lambda _: (), "'layer' is a tuple; expected a tensor"),
    ],
)  # fmt: skip
def test_what_is_no_tensor_is_told(text: str, make: Callable[[Tensor], Any], came: str) -> None:
    line = refused(Around(Giving(make)), {FIRST: text})
    assert line.startswith(f"backend my:port: tap {FIRST}: submodule output: {came}")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("layer[points]", "'layer[points]'; expected an index such as [0] or ['points']"),
        ("layer[1.5]", "'layer[1.5]'; expected an index such as"),
        ("other", "no submodule 'other'; expected a dotted name"),
        ("layr", "no submodule 'layr'; expected a dotted name, 'layer' for instance"),
        ("factor", "no submodule 'factor'; expected a dotted name, 'layer.factor' for instance"),
    ],
)
def test_a_name_that_is_none(text: str, line: str) -> None:
    module = Around(nn.Sequential())
    module.layer.add_module("factor", nn.Identity())
    with pytest.raises(InputError) as caught:
        port(module, {FIRST: text})
    assert str(caught.value) == f"tap map: {FIRST}: {line}" or line.endswith("such as")
    assert str(caught.value).startswith(f"tap map: {FIRST}: {line}")


def test_a_module_with_two_names_is_found_by_either() -> None:
    net = Net()
    net.second = net.first
    found = heard(net, {THIRD: "second"}, call=lambda m, i: m.first(torch.as_tensor(i["x"])))
    assert found[THIRD][0, 0] == 2


class InPlace(Net):
    """Works in place on what a hooked submodule returned."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        y -= 5
        return self.second(y).mul_(0)


def test_what_follows_in_place_changes_no_recorded_value() -> None:
    found = heard(InPlace(), {FIRST: "first", SECOND: "second"})
    assert {tap: array[0, 0] for tap, array in found.items()} == {FIRST: 2, SECOND: -6}


class Views(Net):
    """Calls one submodule a view at a time."""

    def forward(self, _x: Tensor) -> Tensor:
        return torch.cat([self.first(torch.full((1, 16, 224, 224), float(n))) for n in range(3)])


def test_views_one_by_one_are_one_tap() -> None:
    found = heard(Views(), {THIRD: "first"})
    assert found[THIRD].shape == (3, 224, 224, 16)
    assert found[THIRD][:, 0, 0, 0].tolist() == [0, 2, 4]


class Shared(Net):
    """Calls one submodule for two taps."""

    def forward(self, x: Tensor) -> Tensor:
        return self.first(self.first(x))


@pytest.mark.parametrize("taps", [{FIRST: "first"}, {FIRST: "first", SECOND: "first"}])
def test_a_submodule_shared_by_layers_is_refused(taps: dict[str, str]) -> None:
    assert refused(Shared(), taps).startswith(
        f"backend my:port: tap {FIRST}: submodule 'first' was called again after its 156 rows; "
        "expected a submodule for each tap alone: put an identity with a name behind each call"
    )


def test_parts_that_cannot_be_joined_are_told() -> None:
    net = Net()

    def call(module: nn.Module, _inputs: Any) -> Tensor:
        module.first(torch.ones(1, 3))
        return module.first(torch.ones(1, 2))

    assert refused(net, {FIRST: "first"}, call=call) == (
        f"backend my:port: tap {FIRST}: submodule 'first' was called 2 times and gave (1, 2), "
        "(1, 3); expected parts that can be joined along the first axis"
    )


class Identities(Net):
    """As the refusal of a shared submodule says."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Identity(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.first(self.one(self.first(x))))


def test_shared_by_layers_with_identities_is_heard() -> None:
    found = heard(Identities(), {FIRST: "one", SECOND: "two"})
    assert {tap: array[0, 0] for tap, array in found.items()} == {FIRST: 2, SECOND: 4}


class Silent(Net):
    """Calls the forward of its submodules, by which no hook is called."""

    def forward(self, x: Tensor) -> Tensor:
        return self.second.forward(self.first.forward(x))


def test_a_submodule_that_is_never_called_is_told() -> None:
    assert refused(Silent(), {FIRST: "first"}) == (
        f"tap {FIRST}: submodule 'first' was never called; expected submodules that the run calls, "
        "and not their forward() alone"
    ).join(["backend my:port: ", ""])
    line = refused(Silent(), {FIRST: "first", SECOND: "second"})
    assert "was never called, nor those of 1 taps more" in line


def test_unwanted_taps_are_not_asked_for() -> None:
    class Listen(dict):
        def wants(self, tap: str) -> bool:
            return tap == SECOND

        def __call__(self, tap: str, value: np.ndarray) -> None:
            self[tap] = value

    found = Listen()
    taps = {FIRST: "first", SECOND: "second"}
    PortGuard("my:port", port(Net(), taps)).run({"x": np.ones(SHAPE, np.float32)}, {}, found)
    assert set(found) == {SECOND}


@pytest.fixture
def fresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


COMPILED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "whole": (lambda: torch.compile(Net(), backend="aot_eager"), "_orig_mod."),
    "whole, full graph": (
        lambda: torch.compile(Net(), backend="aot_eager", fullgraph=True), "_orig_mod.",
    ),
    "in place afterwards": (lambda: torch.compile(InPlace(), backend="aot_eager"), "_orig_mod."),
}  # fmt: skip


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("how", COMPILED)
def test_a_compiled_module_is_heard_every_time(how: str) -> None:
    make, prefix = COMPILED[how]
    module = make()
    second = -6 if "in place" in how else 4
    for taps in ((FIRST, SECOND), (SECOND,), (FIRST, SECOND)):
        names = {FIRST: f"{prefix}first", SECOND: f"{prefix}second"}
        found = heard(module, {tap: names[tap] for tap in taps})
        expected = {FIRST: 2, SECOND: second}
        assert {tap: array[0, 0] for tap, array in found.items()} == {t: expected[t] for t in taps}


@pytest.mark.usefixtures("fresh")
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # of TorchDynamo's own
def test_a_compiled_module_gives_gradients() -> None:
    module = torch.compile(Net(), backend="aot_eager")
    outputs = {FIRST: find_output(module, FIRST, "_orig_mod.first")}
    taken: list[Tensor] = []
    with hooked(outputs, lambda _, value: taken.append(value), differentiated=True):
        module(torch.ones(2, 2))
    (value,) = taken
    (gradient,) = torch.autograd.grad(value.sum(), [module._orig_mod.first.factor])
    assert gradient == 4


@pytest.mark.usefixtures("fresh")
def test_a_part_that_is_compiled_is_heard() -> None:
    net = Net()
    net.first.compile(backend="aot_eager")
    net.second = torch.compile(net.second, backend="aot_eager")
    found = heard(net, {FIRST: "first", SECOND: "second"})
    assert {tap: array[0, 0] for tap, array in found.items()} == {FIRST: 2, SECOND: 4}


@pytest.mark.usefixtures("fresh")
def test_the_prefix_of_a_compiled_module_is_named() -> None:
    with pytest.raises(InputError, match=r"no submodule 'first'; .* '_orig_mod.first' for inst"):
        port(torch.compile(Net(), backend="aot_eager"), {FIRST: "first"})


@pytest.mark.usefixtures("fresh")
def test_an_output_of_a_compiled_module_is_picked() -> None:
    module = torch.compile(Around(Giving(lambda x: {"a": (x, 3 * x)})), backend="aot_eager")
    found = heard(module, {FIRST: "_orig_mod.layer['a'][1]"})
    assert found[FIRST][0, 0] == 3
    line = refused(module, {FIRST: "_orig_mod.layer"})
    assert "'_orig_mod.layer' is a dict of ['a']" in line


SCRIPTS = {"script": torch.jit.script, "trace": lambda m: torch.jit.trace(m, torch.ones(SHAPE))}


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("how", SCRIPTS)
def test_a_script_has_no_hooks(how: str) -> None:
    whole, part = SCRIPTS[how](Net()), Net()
    part.first = SCRIPTS[how](part.first)
    for module in (whole, part):
        with pytest.raises(InputError) as caught:
            port(module, {FIRST: "first"})
        assert str(caught.value) == (
            f"tap map: {FIRST}: submodule 'first' is a ScriptModule, which has no hooks; expected "
            "the module before torch.jit, or a module in Python that calls the scripted one"
        )


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("how", SCRIPTS)
def test_a_scripted_part_is_heard_through_a_module_around_it(how: str) -> None:
    net = Net()
    net.first = nn.Sequential(SCRIPTS[how](net.first))
    found = heard(net, {FIRST: "first", SECOND: "second"})
    assert {tap: array[0, 0] for tap, array in found.items()} == {FIRST: 2, SECOND: 4}


def test_data_parallel_without_replicas_is_heard() -> None:
    found = heard(nn.DataParallel(Net()), {FIRST: "module.first"})
    assert found[FIRST][0, 0] == 2


def test_replicas_are_refused() -> None:
    module = nn.DataParallel(Net())
    module.device_ids = [0, 1]
    with pytest.raises(InputError) as caught:
        port(nn.Sequential(module), {FIRST: "0.module.first"})
    assert str(caught.value) == (
        "module '0': DataParallel on 2 devices, whose replicas call hooks in any order; expected "
        "the module inside it, or one device"
    )


class Autocast(Net):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(192, 192)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.second(self.first(x))


NARROW: dict[str, tuple[Callable[[], nn.Module], type]] = {
    "half": (lambda: nn.Sequential(Giving(lambda x: x.half()), Net().half()), np.float16),
    "bfloat16, which NumPy does not have": (
        lambda: nn.Sequential(Giving(lambda x: x.bfloat16()), Net().bfloat16()), np.float32,
    ),
    "autocast": (lambda: nn.Sequential(nn.Identity(), Autocast()), np.float32),
}  # fmt: skip


@pytest.mark.parametrize("how", NARROW)
def test_narrower_modules_are_heard_as_they_are(how: str) -> None:
    make, dtype = NARROW[how]
    found = heard(make(), {FIRST: "1.first", SECOND: "1.second"})
    assert {array.dtype.type for array in found.values()} == {dtype}


def test_a_mesh_that_is_no_tensor_is_told() -> None:
    line = refused(
        Around(nn.Identity()), {FIRST: "layer"}, call=lambda m, i: (m(torch.as_tensor(i["x"])),)
    )
    assert line == "backend my:port: call: returned a tuple; expected the mesh, a tensor"


@pytest.mark.parametrize("method", ["losses", "run"])
def test_a_write_to_an_input_is_found(method: str) -> None:
    def call(module: nn.Module, inputs: Any) -> Tensor:
        inputs["mesh"].sub_(1)
        return module(inputs["mesh"])

    guard = PortGuard("my:port", port(Net(), {FIRST: "first"}, call=call))
    heard = () if method == "losses" else (lambda *_: None,)
    with pytest.raises(PortError) as caught:
        getattr(guard, method)({"mesh": np.ones(SHAPE, np.float32)}, {}, *heard)
    place = f"{call.__code__.co_filename}:{call.__code__.co_firstlineno + 1}"
    assert caught.value.reason == (
        f"its {method}() writes to inputs['mesh'] at {place} (sub_); expected inputs left as they "
        "are: copy an array before changing it"
    )


def test_losses_need_parameters() -> None:
    with pytest.raises(PortError, match="module: has no parameters; expected those of the stage"):
        PortGuard("my:port", port(nn.Sequential(nn.Identity()), {FIRST: "0"})).losses({}, {})


def test_the_losses_of_a_port_fail_after_the_tap_that_came_last() -> None:
    def call(module: nn.Module, inputs: Any) -> Tensor:
        module.first(torch.as_tensor(inputs["mesh"]))
        raise ArithmeticError

    guard = PortGuard("my:port", port(Net(), {FIRST: "first", SECOND: "second"}, call=call))
    with pytest.raises(PortError, match=rf"its losses\(\) failed at .* after tap {FIRST} \(Arith"):
        guard.losses({"mesh": np.ones(SHAPE, np.float32)}, {})


NARROWING = """
import numpy as np, torch
from torch import nn
from parity.traces.module_outputs import find_output, hooked
from parity.traces.module_port import ModulePort
from parity.traces.port_map import PortMap
from parity_tests.parity.traces.ports import unmatched
class Layer(nn.Module):
    def __init__(self, width, weight_dtype):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width, width, dtype=weight_dtype))
    def forward(self, x):{forward_mark}
        x = {narrow}
        x = x + 0
        return x @ self.weight.to(x.dtype)
class Net(nn.Module):
    def __init__(self, dtype):
        super().__init__()
        self.first = nn.Identity()
        self.second = Layer(192, dtype)
    def forward(self, x):
        (x.float() > 0).nonzero()  # narrower, and nothing of it goes on
        return self.second(self.first(x))
def factory(stage, dtype, device):
    precision = {precision}
    def call(module, inputs):
        return module(inputs["x"].to(precision))
    taps = {{"graph_conv_blk1_1_layer_1": "first", "graph_conv_blk1_2_layer_2": "second"}}
    maps = PortMap(taps, {{}}, unmatched(*taps))
    return ModulePort("coarse", Net(precision), call, maps, lambda *_: None)
"""


@pytest.mark.parametrize("case", ["cast", "autocast", "never wide"])
def test_the_place_is_named_where_float64_becomes_narrower(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    narrow, forward, precision = {
        "cast": ("x.float()  # here", "", "getattr(torch, dtype)"),
        "autocast": ("x.to(torch.float32)  # here", "", "getattr(torch, dtype)"),
        "never wide": ("x", "  # here", "torch.float32"),
    }[case]
    written = write(
        tmp_path, "narrow_port",
        NARROWING.format(narrow=narrow, forward_mark=forward, precision=precision),
    )  # fmt: skip
    with pytest.raises(PortError) as caught:
        written.make("float64").run({"x": np.ones(SHAPE, np.float32)}, {}, check_float64)
    if case == "never wide":
        assert caught.value.reason == (
            f"tap {FIRST}: float32 in the run in float64 (submodule 'first')"
        )
        return
    line = written.path.read_text(encoding="utf-8").splitlines().index("    def forward(self, x):")
    assert caught.value.reason == (
        f"tap {SECOND}: float32 in the run in float64 (submodule 'second', with float64 "
        f"parameters, forward at {written.path}:{line + 1}; narrowed at {written.here})"
    )


def test_the_official_shape_is_that_of_the_row() -> None:
    """The tests above rest on it."""
    shapes = {row.name: row.shape for row in TAPS["coarse"]}
    assert (shapes[FIRST], shapes[SECOND]) == (SHAPE, SHAPE)
