"""Traces made by hand, valid unless a test asks for something else."""

import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from network.taps import TAPS
from parity.traces.trace import TRACE_SCHEMA

LAST = "graph_conv_blk1_14_layer_14"
SEVEN = "graph_conv_blk1_1[0-4]_*"
"""A glob of seven taps, ``LAST`` the last of them."""
SHAPES = {stage: {row.name: row.shape for row in rows} for stage, rows in TAPS.items()}

Edit = Callable[[h5py.File], None]
Build = Callable[..., Path]


def values(name: str, shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    """Numbers that look like a tap's and depend on its name alone."""
    return np.random.default_rng(zlib.crc32(name.encode())).normal(size=shape).astype(dtype)


def seven(dtype: str = "float32") -> dict[str, np.ndarray]:
    names = [f"graph_conv_blk1_{n}_layer_{n}" for n in (10, 11, 12, 13, 14)]
    names += [f"graph_conv_blk1_{n}_layer_{n}.residual" for n in (11, 13)]
    return {name: values(name, SHAPES["coarse"][name], dtype) for name in names}


def item_inputs(stage: str) -> dict[str, np.ndarray]:
    vertices = {"coarse": 156, "refine": 2466}[stage]
    cameras = [[0.0, 25, 0, 0.8, 25], [165, 25, 0, 0.8, 25], [195, 29, 0, 0.9, 25]]
    return {
        "images": np.zeros((3, 224, 224, 3), np.float32),
        "cameras": np.array(cameras, np.float32),
        "mesh": (0.1 * values("mesh", (vertices, 3)) + [0, 0, -0.8]).astype(np.float32),
    }


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """``build(name, taps, ...)`` writes a trace and returns its path.

    Without ``taps`` it holds seven. It says that just one was asked for where it is given one, and
    those seven otherwise. ``attributes`` replace root attributes, None removing one; ``edit`` is
    given the open file at the end.
    """

    def write(
        name: str,
        taps: Mapping[str, Any] | None = None,
        *,
        stage: str = "coarse",
        inputs: Mapping[str, Any] | None = None,
        decisions: Mapping[str, Any] | None = None,
        losses: Mapping[str, Any] | None = None,
        gradients: Mapping[str, Any] | None = None,
        attributes: Mapping[str, Any] | None = None,
        edit: Edit | None = None,
    ) -> Path:
        path = tmp_path / f"{name}.h5"
        given = {
            "schema": TRACE_SCHEMA,
            "stage": stage,
            "backend": name,
            "dtype": "float32",
            "device": "cpu",
            "weights_sha256": "w" * 64,
            "inputs_sha256": "i" * 64,
            "versions": json.dumps({"numpy": "2"}),
            "requested": next(iter(taps)) if taps is not None and len(taps) == 1 else SEVEN,
            "complete": True,
            **(attributes or {}),
        }
        groups = {
            "inputs": {**item_inputs(stage), **(inputs or {})},
            "taps": seven() if taps is None else taps,
            "decisions": decisions or {},
            "losses": losses or {},
            "gradients": gradients or {},
        }
        with h5py.File(path, "w") as file:
            for attribute, value in given.items():
                if value is not None:
                    file.attrs[attribute] = value
            for group, members in groups.items():
                for member, value in members.items():
                    place = f"{group}/{member}"
                    if np.size(value) > 100_000 and not np.any(value):
                        # Zeros that are never written take no room and read the same.
                        file.create_dataset(place, np.shape(value), value.dtype, chunks=True)
                    else:
                        file.create_dataset(place, data=value)
            places = {tap: place for place, tap in enumerate(SHAPES[stage])}
            for tap in file.get("taps", ()):
                file["taps"][tap].attrs["order"] = places.get(tap, len(places))
            if edit is not None:
                edit(file)
        return path

    return write
