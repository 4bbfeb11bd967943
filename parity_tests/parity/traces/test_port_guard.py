"""What a port raises, prints and writes to: told in one line, and kept from everybody else."""

import asyncio
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from parity.traces.backends import BackendChoice
from parity.traces.blame import words_of
from parity.traces.port_guard import PortError, PortGuard
from parity.traces.process_settings import settings_of
from parity_tests.parity.traces.ports import Written, plain, write

TAP = "cnn.conv2d_1"
WEIGHTS = {"w": np.ones(3, np.float32)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def inputs() -> dict[str, Any]:
    return {"images": np.ones((2, 2)), "mesh": np.ones((3, 3), np.float32), "deep": ([np.ones(2)],)}


def told(port: Written, method: str = "run", **given: Any) -> str:
    """What a method's call is refused with."""
    arguments = (lambda *_: None,) if method == "run" else ()
    with pytest.raises(PortError) as caught:
        getattr(port.make(), method)({**inputs(), **given}, WEIGHTS, *arguments)
    line = str(caught.value)
    assert "\n" not in line
    assert line == f"backend {port.name}: {caught.value.reason}"
    return caught.value.reason


FAILURES = {
    "raise ValueError('two\\n  lines')": "(ValueError: two lines)",
    "{}['weights_0']": "(KeyError: 'weights_0')",
    "assert False": "(AssertionError)",
    "raise SystemExit(0)": "(SystemExit: 0)",
    "next(iter([]))": "(StopIteration)",
    "raise RuntimeError('\\x1b[31mred\\x07')": "(RuntimeError: [31mred)",
    "raise OSError(5, 'Bad disk', 'w.pt')": "(OSError: [Errno 5] Bad disk: 'w.pt')",
    "np.linalg.inv(np.zeros((2, 2)))": "(LinAlgError: Singular matrix)",
}


@pytest.mark.parametrize("method", ["run", "losses", "gradients"])
@pytest.mark.parametrize("line", FAILURES)
def test_an_exception_is_told_with_its_place(line: str, method: str, folder: Path) -> None:
    port = plain(folder, **{method: f"{line}  # here"})
    after = f" after tap {TAP}" if method == "run" else ""
    assert told(port, method) == f"its {method}() failed at {port.here}{after} {FAILURES[line]}"


def test_the_innermost_place_of_the_ports_own_is_named(folder: Path) -> None:
    helper = write(folder, "helper_of_port", "def f(x):\n    return x.reshape(7, 7)  # here\n")
    port = plain(folder, top="from helper_of_port import f", run="f(inputs['mesh'])")
    assert f"failed at {helper.here} after" in told(port)


def test_an_installed_port_is_its_own_and_what_it_uses_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site-packages"
    package = installed / "installed_port"
    package.mkdir(parents=True)
    monkeypatch.syspath_prepend(installed)
    write(installed, "library_of_port", "def fail():\n    raise ValueError\n")
    write(package, "__init__", "")
    inside = write(
        package,
        "network",
        "from library_of_port import fail\ndef f():\n    fail()  # here\n"
        "class Port:\n    def run(self, *_):\n        f()\ndef factory(*_):\n    return Port()\n",
    )
    with pytest.raises(PortError) as caught:
        BackendChoice("installed_port.network:factory").make("coarse", "float32", "cpu").run(
            inputs(), WEIGHTS, None
        )
    assert caught.value.reason == f"its run() failed at {inside.here} (ValueError)"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ({"top": "import no_such_module_anywhere  # here"}, "cannot be imported at {here} ("),
        ({"top": "def broken(:  # here"}, "cannot be imported at {here} (SyntaxError: "),
        ({"factory": "raise ValueError(stage)  # here"},
         "its factory failed at {here} (ValueError: coarse)"),
    ],
)  # fmt: skip
def test_a_port_that_cannot_be_made(lines: dict[str, str], reason: str, folder: Path) -> None:
    port = plain(folder, **lines)
    with pytest.raises(PortError) as caught:
        port.make()
    assert caught.value.reason.startswith(reason.format(here=port.here))


def test_a_factory_that_is_not_there(folder: Path) -> None:
    port = write(folder, "plain_port", "x = 1\n")
    with pytest.raises(PortError, match=r"cannot be imported .*has no attribute 'factory'"):
        port.make()


def test_an_input_error_keeps_its_words_and_gets_the_place(folder: Path) -> None:
    port = plain(
        folder,
        top="from weight_conversion.errors import InputError",
        run="raise InputError('w.npz', 'no bias', 'one a layer')  # here",
    )
    assert told(port) == f"w.npz: no bias; expected one a layer ({port.here})"


GRAPHS = """
import torch
class Port:
    def run(self, inputs, weights, listen):
        return layer(torch.ones(2, 2))
def factory(*_):
    return Port()
class Layer(torch.nn.Module):
    def forward(self, x):
        y = x + 1
        return y @ torch.ones(7, 7)  # here
layer = {}
"""


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    "made", ["torch.jit.script(Layer())", "torch.compile(Layer(), backend='eager')"]
)
def test_code_without_frames_of_pythons_is_named_too(made: str, folder: Path) -> None:
    port = write(folder, "graph_port", GRAPHS.format(made))
    reason = told(port)
    assert reason.startswith(f"its run() failed at {port.here} (")
    assert "(2x2 and 7x7)" in reason or "[2, 2] X [7, 7]" in reason


def test_long_words_are_cut_in_their_middle() -> None:
    words = words_of(ValueError("begin " + "x" * 5000 + " end"))
    assert words.startswith("ValueError: begin")
    assert words.endswith(" end")
    assert " … " in words
    assert len(words) < 550


def test_words_that_fail() -> None:
    class OddError(Exception):
        def __str__(self) -> str:
            raise TypeError

    assert words_of(OddError()) == "OddError: its message failed with TypeError"


@pytest.mark.parametrize(
    ("lines", "method", "reason"),
    [
        ({"losses": "return [1.0]"}, "losses", "its losses() gave a list; expected a mapping"),
        ({"gradients": "return None"}, "gradients", "its gradients() gave a NoneType; expected"),
        ({"losses": "return {'total': [[1], [2, 3]]}"}, "losses",
         "its losses() gave total as a list (ValueError: "),
        ({"run": "return [[1], [2, 3]]"}, "run", "its run() gave the mesh as a list (ValueError: "),
        ({"run": "listen(3, inputs['mesh'])"}, "run", "tap 3: a int; expected a tap's name"),
    ],
)  # fmt: skip
def test_what_a_method_must_not_give(
    lines: dict[str, str], method: str, reason: str, folder: Path
) -> None:
    assert told(plain(folder, **lines), method).startswith(reason)


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        ("torch.ones(2, requires_grad=True)", "requires grad"),
        ("torch.ones(2, dtype=torch.bfloat16)", "BFloat16"),
    ],
)
def test_a_tensor_that_numpy_cannot_take(tensor: str, words: str, folder: Path) -> None:
    port = plain(folder, top="import torch", run=f"listen('x', {tensor})  # here")
    reason = told(port)
    assert reason.startswith("tap x: a torch.Tensor (")
    assert words in reason
    assert reason.endswith(f"; expected a NumPy array ({port.here})")


class FullError(OSError):
    """A disk that is full while a tap is written."""


def full(*_: object) -> None:
    raise FullError


def test_what_the_harness_raises_meanwhile_is_not_the_ports(folder: Path) -> None:
    with pytest.raises(FullError):
        plain(folder).make().run(inputs(), WEIGHTS, full)


def test_a_port_cannot_swallow_it(folder: Path) -> None:
    swallowing = """
class Port:
    def run(self, inputs, weights, listen):
        try:
            listen("cnn.conv2d_1", inputs["mesh"])
        except Exception:
            pass
def factory(*_):
    return Port()
"""
    with pytest.raises(FullError):
        write(folder, "plain_port", swallowing).make().run(inputs(), WEIGHTS, full)


NUMPY_WRITES = {
    "inputs['mesh'] -= 1  # here": "output array is read-only",
    "inputs['images'][0] = 2  # here": "assignment destination is read-only",
    "np.add(1, 1, out=inputs['deep'][0][0])  # here": "output array is read-only",
    "inputs['mesh'].sort()  # here": "read-only",
}


@pytest.mark.parametrize("method", ["run", "losses", "gradients"])
@pytest.mark.parametrize("line", NUMPY_WRITES)
def test_numpy_cannot_write_to_an_input(line: str, method: str, folder: Path) -> None:
    port = plain(folder, **{method: line})
    reason = told(port, method)
    after = f" after tap {TAP}" if method == "run" else ""
    assert reason.startswith(
        f"its {method}() writes to a read-only array at {port.here}{after} (ValueError: "
    )
    assert NUMPY_WRITES[line] in reason
    assert reason.endswith("; expected inputs left as they are: copy an array before changing it")


TORCH_WRITES = {
    "torch.from_numpy(inputs['mesh']).sub_(1)  # here": ("inputs['mesh']", "sub_"),
    "torch.from_numpy(inputs['mesh'])[1:].view(-1)[2] = 7  # here": ("inputs['mesh']", "copy_"),
    "torch.as_tensor(inputs['deep'][0][0]).clamp_(max=0)  # here": (
        "inputs['deep'][0][0]", "clamp_",
    ),
    "torch.add(torch.ones(3, 3), 1, out=torch.from_numpy(inputs['mesh']))  # here": (
        "inputs['mesh']", "add",
    ),
}  # fmt: skip


@pytest.mark.parametrize("method", ["run", "losses", "gradients"])
@pytest.mark.parametrize("line", TORCH_WRITES)
def test_a_write_of_torch_is_found(line: str, method: str, folder: Path) -> None:
    port = plain(folder, top="import torch", **{method: line})
    path, operation = TORCH_WRITES[line]
    reason = told(port, method)
    assert reason.startswith(f"its {method}() writes to {path} at {port.here} ({operation}")
    assert reason.endswith("; expected inputs left as they are: copy an array before changing it")


def test_a_write_that_nobody_can_place_is_told_all_the_same(folder: Path) -> None:
    port = plain(
        folder,
        top="import ctypes",
        run="ctypes.memset(inputs['mesh'].ctypes.data, 0, 4)",
    )
    assert told(port).startswith("its run() writes to inputs['mesh']; expected inputs left")


def test_no_write_reaches_anybody_else(folder: Path) -> None:
    given, weights = inputs(), {"w": np.ones(3, np.float32)}
    port = plain(
        folder,
        top="import torch",
        run="weights['w'] += 1; weights.pop('w'); inputs['mesh'] = inputs['mesh'] - 1; "
        "torch.from_numpy(inputs['images']).zero_()",
    )
    with pytest.raises(PortError, match="writes to inputs"):
        port.make().run(given, weights, None)
    for name, value in inputs().items():
        np.testing.assert_array_equal(given[name], value)
    np.testing.assert_array_equal(weights["w"], np.ones(3))


def test_weights_are_a_ports_own_and_reading_is_no_write(folder: Path) -> None:
    port = plain(
        folder,
        top="import torch",
        run="weights['w'] *= 2; inputs['mesh'] = torch.from_numpy(inputs['mesh']).clone().sub_(1)",
    )
    backend = port.make()
    for _ in range(2):
        found = backend.run(inputs(), WEIGHTS, None)
        assert isinstance(found, np.ndarray)
        np.testing.assert_array_equal(found, np.zeros((3, 3)))
    np.testing.assert_array_equal(WEIGHTS["w"], np.ones(3))


PRINTS = {
    "print": "print('noise')",
    "descriptor": "os.write(1, b'noise\\n')",
    "child process": "os.system('echo noise')",
    "C library": "ctypes.CDLL(None).puts(b'noise')",
    "kept stream": "kept.write('noise\\n')",
    "TorchScript": "scripted(torch.ones(2))",
}
TOP = """
import ctypes, os, sys, torch
kept = sys.stdout
@torch.jit.script
def scripted(x: torch.Tensor):
    print("noise")
    return x
"""


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("method", ["run", "losses", "gradients", "factory"])
@pytest.mark.parametrize("how", PRINTS)
def test_stdout_stays_clean(
    how: str, method: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    backend = plain(folder, top=TOP, **{method: PRINTS[how]}).make()
    if method != "factory":
        arguments = (None,) if method == "run" else ()
        getattr(backend, method)(inputs(), WEIGHTS, *arguments)
    print("ours", flush=True)  # noqa: T201 - what a command prints afterwards
    out, err = capfd.readouterr()
    assert out == "ours\n"
    assert err.count("noise") == 1


SETS = {
    "os.chdir('/')": "os.getcwd()",
    "np.seterr(all='raise')": "np.geterr()",
    "torch.set_default_dtype(torch.float64)": "torch.get_default_dtype()",
    "torch.set_default_device('meta')": "torch.get_default_device()",
    "torch.set_grad_enabled(False)": "torch.is_grad_enabled()",
    "torch.use_deterministic_algorithms(True)": "torch.are_deterministic_algorithms_enabled()",
}


@pytest.mark.parametrize("where", ["import", "factory", "run"])
@pytest.mark.parametrize("line", SETS)
def test_what_a_port_sets_holds_for_itself_alone(line: str, where: str, folder: Path) -> None:
    def now() -> Any:
        return eval(SETS[line], {"os": os, "np": np, "torch": torch})  # noqa: S307 - a constant

    settings_of.cache_clear()
    before = now()
    top = "import os, torch\nseen = []\n"
    port = plain(
        folder,
        top=top + (line if where == "import" else ""),
        factory=line if where == "factory" else "pass",
        run=line if where == "run" else "pass",
        losses=f"seen.append({SETS[line]})",
    )
    backend = port.make()
    backend.run(inputs(), WEIGHTS, None)
    assert now() == before
    backend.losses(inputs(), WEIGHTS)
    assert now() == before
    (seen,) = backend._port.losses.__globals__["seen"]
    assert seen != before
    settings_of.cache_clear()


def test_only_what_a_port_has_is_offered() -> None:
    class Bare:
        unmatched = {"x": "why"}  # noqa: RUF012 - as a port has it

        def run(self, *_: object) -> None: ...

    guard = PortGuard("a:b", Bare())
    assert guard.unmatched == {"x": "why"}
    for name in ("losses", "gradients", "watched_gradients", "steps"):
        assert not hasattr(guard, name)
    assert guard.run({}, {}, None) is None


def test_a_watch_hears_what_comes_before_the_failure() -> None:
    class Watched:
        def run(self, *_: object) -> None: ...

        def watched_gradients(self, _inputs: Any, _weights: Any, watch: Any) -> None:
            watch.value("a", None, [1.0])
            watch.gradient("b", None, [1.0])
            raise ArithmeticError

    heard: list[str] = []

    class Watch:
        def value(self, tap: str, *_: object) -> None:
            heard.append(tap)

        gradient = value

    with pytest.raises(PortError, match=r"watched_gradients\(\) failed at .* after tap b \(Arith"):
        PortGuard("a:b", Watched()).watched_gradients({}, {}, Watch())
    assert heard == ["a", "b"]


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError("gone"), GeneratorExit(), BaseException("base")],
    ids=["cancelled", "exit", "base"],
)  # fmt: skip
def test_whatever_a_port_raises_is_one_line(error: BaseException) -> None:
    class Raising:
        def run(self, *_: object) -> None:
            raise error

    with pytest.raises(PortError, match=rf"its run.* failed at .*{type(error).__name__}"):
        PortGuard("a:b", Raising()).run({}, {}, None)


def test_an_interruption_is_the_users() -> None:
    class Raising:
        def run(self, *_: object) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PortGuard("a:b", Raising()).run({}, {}, None)


@pytest.mark.parametrize(
    ("attribute", "said"),
    [("unmatched", "its unmatched failed at .*:4"), ("run", "its factory failed at .*:4")],
)
def test_a_property_that_raises_is_told_with_its_line(
    attribute: str, said: str, folder: Path
) -> None:
    port = write(
        folder,
        f"raising_{attribute}",
        f"""class Port:
    @property
    def {attribute}(self):
        raise LookupError("why")
    {"run = print" if attribute != "run" else ""}
def factory(*choice):
    return Port()
""",
    )
    with pytest.raises(PortError, match=said + r" \(LookupError: why\)"):
        _ = getattr(port.make(), attribute)


def test_a_coroutine_is_no_mesh() -> None:
    class Waiting:
        async def run(self, *_: object) -> None: ...

    with pytest.raises(PortError, match=r"its run\(\) gave a coroutine; expected the output mesh"):
        PortGuard("a:b", Waiting()).run({}, {}, None)
