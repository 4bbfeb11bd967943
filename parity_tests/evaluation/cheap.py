"""A port that costs nothing, and a data set of links to the demo's items: for tests of the rest."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.deaths import Counted
from inputs.dataset import Entry
from inputs.demo import demo_item_path
from inputs.demo.varied import KINDS
from network.registry import network_of
from parity.meshes.losses import unpooled
from parity.traces.backends import Listen


class Cheap:
    """Meshes that depend on the item: its input mesh, scaled by how dark the images are."""

    def __init__(self, stage: str, seconds: float = 0.0) -> None:
        self._stage, self._seconds = stage, seconds

    def run(
        self, inputs: Mapping[str, Any], _weights: Mapping[str, Any], listen: Listen | None
    ) -> np.ndarray:
        time.sleep(self._seconds)
        mesh = inputs["mesh"]
        network = network_of(self._stage)
        for tap in network.meshes:
            count = network.row(tap).shape[0]
            scaled = mesh * np.float32(1.1 - inputs["images"].mean() / 10)
            mesh = np.asarray(unpooled(scaled, count, inputs["template"]), np.float32)
            if listen is not None:
                listen(tap, mesh)
        return mesh


def factory(stage: str, *_options: str) -> Cheap:
    return Cheap(stage)


def slow(stage: str, *_options: str) -> Counted:
    """Slow enough to be killed in the middle, and counted."""
    return Counted(Cheap(stage, 0.2))


def broken(*_options: str) -> Cheap:
    raise RuntimeError("no such GPU")


def linked_dataset(root: Path, count: int) -> list[Entry]:
    """Items below ``root``, planes and sofas in turn."""
    found = []
    for number in range(count):
        kind = ("plane", "sofa")[number % 2]
        entry = Entry(KINDS[kind], f"{kind}-{number}")
        (root / entry.category).mkdir(parents=True, exist_ok=True)
        (root / entry.name).symlink_to(demo_item_path(kind))
        found.append(entry)
    return found
