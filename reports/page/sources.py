"""The source lines of both implementations for each tap, read as text: no framework is imported."""

import ast
import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from network.taps import TapRow

OWN = {"torch": "torch_impl", "tf": "tf_reference", "onnx": "torch_impl"}
"""The package that a backend of ours is written in; ONNX graphs are exported from PyTorch."""


@dataclass(frozen=True)
class Excerpt:
    """A function's lines. ``name`` is qualified, ``first`` the first line's number."""

    file: str
    name: str
    first: int
    lines: tuple[str, ...]


def excerpts(backend: str, row: TapRow) -> tuple[Excerpt, ...]:
    """What computes a tap in one of our own backends; nothing for others."""
    package = OWN.get(backend, "")
    return tuple(
        found
        for file, names in row.sources.get(package, ())
        for found in _functions(package, file)
        if re.fullmatch(names, found.name)
    )


@cache
def _functions(package: str, file: str) -> tuple[Excerpt, ...]:
    """All functions and methods of a file, outermost only, in its order."""
    # Finding a top-level package imports nothing.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return ()
    path = Path(next(iter(spec.submodule_search_locations))) / f"{file}.py"
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    found = []
    for node in ast.parse(text).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        for function in inner:
            if isinstance(function, ast.FunctionDef):
                name = function.name
                if isinstance(node, ast.ClassDef):
                    name = f"{node.name}.{name}"
                body = tuple(lines[function.lineno - 1 : function.end_lineno])
                found.append(Excerpt(f"{package}/{file}.py", name, function.lineno, body))
    return tuple(found)
