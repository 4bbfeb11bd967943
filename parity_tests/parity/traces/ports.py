"""Ports as users write them: files of their own, imported by name."""

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from network.taps import TAPS
from parity.traces.backends import Backend, BackendChoice

MARK = "# here"
"""Behind the line of a port's source that an error has to name."""

PLAIN = """
import numpy as np
{top}
class Port:
    def run(self, inputs, weights, listen):
        if listen is not None:
            listen("cnn.conv2d_1", np.zeros((3, 224, 224, 16), {dtype}))
        {run}
        return inputs["mesh"]
    def losses(self, inputs, weights):
        {losses}
        return {{"total": 1.0}}
    def gradients(self, inputs, weights):
        {gradients}
        return {{}}
def factory(stage, dtype, device):
    {factory}
    return Port()
"""
"""A port with no framework that gives one tap; lines can be put into its methods."""


@dataclass(frozen=True)
class Written:
    """A port's file, to be imported by the name of it."""

    path: Path

    @property
    def name(self) -> str:
        return f"{self.path.stem}:factory"

    @property
    def choice(self) -> BackendChoice:
        return BackendChoice(self.name)

    @property
    def here(self) -> str:
        """The place that is marked."""
        lines = self.path.read_text(encoding="utf-8").splitlines()
        (number,) = (n for n, line in enumerate(lines, start=1) if MARK in line)
        return f"{self.path}:{number}"

    def make(self, dtype: str = "float32") -> Backend:
        return self.choice.make("coarse", dtype, "cpu")


def write(folder: Path, name: str, source: str) -> Written:
    """Write a port, which takes the place of one of the same name from an earlier test."""
    path = folder / f"{name}.py"
    path.write_text(source, encoding="utf-8")
    sys.modules.pop(name, None)
    importlib.invalidate_caches()
    return Written(path)


def plain(folder: Path, **lines: str) -> Written:
    """A port without a framework, with these lines in its methods."""
    parts = dict.fromkeys(("run", "losses", "gradients", "factory"), "pass")
    return write(
        folder, "plain_port", PLAIN.format(**{"top": "", "dtype": "None", **parts, **lines})
    )


def unmatched(*taps: str) -> dict[str, str]:
    """Every tap but these, with a reason."""
    return {row.name: "not in this port" for row in TAPS["coarse"] if row.name not in taps}


def zeros(name: str) -> np.ndarray:
    """A tap's shape, all zeros."""
    (shape,) = (row.shape for row in TAPS["coarse"] if row.name == name)
    return np.zeros(shape, np.float32)
