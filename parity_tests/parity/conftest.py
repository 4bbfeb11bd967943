"""Traces made by hand, valid unless a test asks for something else; and small layers."""

import json
import zlib
from collections.abc import Callable, Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from inputs.constants import constants_of
from inputs.hypotheses import build_hypotheses
from inputs.template import build_template
from network.taps import TAPS
from network.weights import WEIGHTS
from parity.traces.layout import TRACE_SCHEMA
from parity_tests.parity.layers import contexts as contexts
from parity_tests.parity.layers import make as make

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


SEVEN_NAMES = frozenset(seven())


@cache
def constants(stage: str) -> dict[str, np.ndarray]:
    """What layers read beside activations and weights, by its name under ``/inputs``."""
    return constants_of(stage, build_template(), build_hypotheses())


def write_weights(file: h5py.File, stage: str, taps: Collection[str]) -> None:
    """Weights that do not round away, of the layers of ``taps``; the others' are zeros."""
    drawn = {key for row in TAPS[stage] if row.name in taps for key in row.variables.values()}
    for row in WEIGHTS[stage]:
        place = f"weights/{row.key}"
        if row.key in drawn:
            scale = np.float32(1 / np.sqrt(max(np.prod(row.shape[:-1]), 1)))
            file.create_dataset(place, data=scale * values(row.key, row.shape))
        else:
            # Zeros that are never written take no room and read the same.
            file.create_dataset(place, row.shape, "f4", chunks=row.shape)


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """``build(name, taps, ...)`` writes a trace and returns its path.

    Without ``taps`` it holds seven. It says that just one was asked for where it is given one, and
    those seven otherwise; what the layers of these read is recorded with them. ``attributes``
    replace root attributes, None removing one; ``edit`` is given the open file at the end. Losses
    and gradients have the same values in float64, taps have no such run.
    """

    def write(
        name: str,
        taps: Mapping[str, Any] | None = None,
        *,
        stage: str = "coarse",
        inputs: Mapping[str, Any] | None = None,
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
        recorded = dict(seven() if taps is None else taps)
        rows = {row.name: row for row in TAPS[stage]}
        for parent in {p for tap in recorded if tap in rows for p in rows[tap].parents}:
            if parent in rows and parent not in SEVEN_NAMES:
                recorded.setdefault(parent, values(parent, rows[parent].shape))
        if taps is not None and len(taps) == 1:
            for parent in rows[next(iter(taps))].parents if next(iter(taps)) in rows else ():
                if parent in rows:
                    recorded.setdefault(parent, values(parent, rows[parent].shape))
        groups = {
            "inputs": {**item_inputs(stage), **constants(stage), **(inputs or {})},
            "taps": recorded,
            "losses": losses or {},
            "gradients": gradients or {},
        }
        for group in ("losses", "gradients"):
            groups[f"float64_{group}"] = {
                key: np.asarray(value).astype(np.float64) for key, value in groups[group].items()
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
            write_weights(file, stage, recorded)
            places = {tap: place for place, tap in enumerate(SHAPES[stage])}
            for tap in file.get("taps", ()):
                file["taps"][tap].attrs["order"] = places.get(tap, len(places))
            if edit is not None:
                edit(file)
        return path

    return write
