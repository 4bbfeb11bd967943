"""Which submodule's output a tap is, and hearing of it while the module runs."""

import ast
import difflib
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weight_conversion.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn

_INDEXED = re.compile(r"(?P<name>.*?)(?P<indices>(?:\[[^\[\]]+\])+)$")


@dataclass(frozen=True, eq=False)
class Output:
    """The output of a submodule, or an entry of it.

    Attributes:
        tap: what it is.
        name: the submodule's dotted name.
        module: the submodule.
        index: leads to the entry, one step after another: positions and keys.
    """

    tap: str
    name: str
    module: "nn.Module"
    index: tuple[int | str, ...] = ()

    def pick(self, value: Any) -> "torch.Tensor":
        """The tensor in what the submodule returned.

        Raises:
            InputError: there is none at the index.
        """
        import torch

        for step, index in enumerate(self.index):
            if not isinstance(value, (Mapping, tuple, list)):
                self._refuse(value, self.index[:step])
            try:
                value = value[index]
            except (LookupError, TypeError):
                self._refuse(value, self.index[:step])
        if not isinstance(value, torch.Tensor):
            self._refuse(value, self.index)
        return value

    def source(self) -> str:
        """What computes the tap, with the place of its ``forward``, in a few words."""
        words = [f"submodule {self.name!r}"]
        types = sorted({str(each.dtype).removeprefix("torch.") for each in self._numbers()})
        if types:
            words.append(f"with {' and '.join(types)} parameters")
        forward = inspect.unwrap(type(self.module).forward)
        code = getattr(forward, "__code__", None)
        if code is not None and not type(self.module).__module__.startswith("torch."):
            words.append(f"forward at {code.co_filename}:{code.co_firstlineno}")
        return ", ".join(words)

    def _numbers(self) -> Iterator["torch.Tensor"]:
        yield from self.module.parameters()
        yield from (each for each in self.module.buffers() if each.is_floating_point())

    def _refuse(self, value: Any, index: tuple[int | str, ...]) -> None:
        came = f"{_text(self.name, index)!r} is {_kind(value)}"
        there = _indices(value)
        if not there:
            text = _text(self.name, index)
            expected = "a tensor" if index == self.index else f"{text!r}, without an index"
            raise InputError(f"tap {self.tap}: submodule output", came, expected)
        entries = ", ".join(f"[{key!r}] {_kind(value[key])}" for key in there)
        one = _text(self.name, (*index, there[0]))
        raise InputError(
            f"tap {self.tap}: submodule output", f"{came} of {entries}",
            f"a tensor, by its index in the tap map, such as {one!r}",
        )  # fmt: skip


def find_output(module: "nn.Module", tap: str, text: str) -> Output:
    """The output that a tap map names: ``name``, ``name[0]`` or ``name['key']``.

    Raises:
        InputError: no such submodule, an index that is none, or a submodule that calls no hooks.
    """
    import torch

    there = dict(module.named_modules(remove_duplicate=False))
    name = text
    index: tuple[int | str, ...] = ()
    if text not in there and (indexed := _INDEXED.match(text)):
        name, index = indexed["name"], _parsed(tap, text, indexed["indices"])
    if name not in there:
        raise InputError("tap map", f"{tap}: no submodule {name!r}", _nearest(name, [*there]))
    if isinstance(there[name], torch.jit.ScriptModule):
        raise InputError(
            "tap map", f"{tap}: submodule {name!r} is a ScriptModule, which has no hooks",
            "the module before torch.jit, or a module in Python that calls the scripted one",
        )  # fmt: skip
    return Output(tap, name, there[name], index)


def check_replicas(module: "nn.Module") -> None:
    """Refuse a module that runs as replicas on several devices.

    Raises:
        InputError: it does.
    """
    import torch

    for name, each in module.named_modules():
        if isinstance(each, torch.nn.DataParallel) and len(each.device_ids) > 1:
            raise InputError(
                f"module {name!r}" if name else "module",
                f"DataParallel on {len(each.device_ids)} devices, whose replicas call hooks in "
                "any order",
                "the module inside it, or one device",
            )


@contextmanager
def hooked(
    outputs: Mapping[str, Output],
    take: Callable[[str, "torch.Tensor"], None],
    *,
    differentiated: bool = False,
) -> Iterator[None]:
    """Call ``take(tap, tensor)`` for every output, each time its submodule is called.

    The tensor is the one that the run goes on with: who keeps it must copy it. In a compiled graph
    nothing but tensors can be handled; there ``take`` gets copies, once the block has ended. They
    have no gradients: for a run to be ``differentiated`` the graph is cut at every output instead,
    which PyTorch refuses to do with ``fullgraph=True``.
    """
    import torch

    by_module: dict[int, list[Output]] = {}
    for output in outputs.values():
        by_module.setdefault(id(output.module), []).append(output)
    later: list[tuple[Output, Any]] = []

    def hook_of(heard: list[Output]) -> Callable[..., None]:
        def hook(_module: Any, _inputs: Any, value: Any) -> None:
            for output in heard:
                if torch.compiler.is_compiling():
                    later.append((output, _copy(value)))
                else:
                    take(output.tap, output.pick(value))

        return torch.compiler.disable(hook) if differentiated else hook

    _forget_graphs()
    hooks = [each[0].module.register_forward_hook(hook_of(each)) for each in by_module.values()]
    try:
        yield
    except RuntimeError as error:
        if differentiated and "torch.compiler.disable" in str(error):
            raise InputError(
                "--gradients", "a module compiled with fullgraph=True, which no hook may cut",
                "the same without fullgraph",
            ) from error  # fmt: skip
        raise
    finally:
        for hook in hooks:
            hook.remove()
        _forget_graphs()
    for output, value in later:
        take(output.tap, output.pick(value))


def _forget_graphs() -> None:
    """Have compiled modules compiled again: a graph keeps the hooks that it was made with."""
    import torch

    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()


def _copy(value: Any) -> Any:
    """Tensors copied, in the tuples, lists and dicts that they are in."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _copy(each) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [_copy(each) for each in value]
    return value


def _parsed(tap: str, text: str, indices: str) -> tuple[int | str, ...]:
    found = []
    for each in indices[1:-1].split("]["):
        try:
            index = ast.literal_eval(each)
        except (SyntaxError, ValueError):
            index = None
        if not isinstance(index, (int, str)):
            raise InputError("tap map", f"{tap}: {text!r}", "an index such as [0] or ['points']")
        found.append(index)
    return tuple(found)


def _nearest(name: str, there: list[str]) -> str:
    """What to say that was expected in place of a submodule that does not exist."""
    longer = [each for each in there if each.endswith(f".{name}")]
    near = longer or difflib.get_close_matches(name, there, n=1)
    return f"a dotted name, {near[0]!r} for instance" if near else "a dotted name"


def _indices(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value)
    return list(range(len(value))) if isinstance(value, (tuple, list)) else []


def _kind(value: Any) -> str:
    import torch

    if isinstance(value, torch.Tensor):
        return f"a tensor {tuple(value.shape)}"
    return "None" if value is None else f"a {type(value).__qualname__}"


def _text(name: str, index: tuple[int | str, ...]) -> str:
    return name + "".join(f"[{each!r}]" for each in index)
