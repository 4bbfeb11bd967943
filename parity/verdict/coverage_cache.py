"""Coverage of probes that were measured before: shipped with the project, or kept by the user.

What a probe can tell depends on its inputs and weights alone, so it is filed under their hash. The
kept files are in the folder that ``P2M_PARITY_CACHE`` names, in the user's cache folder by default;
they may be deleted at any time.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from platformdirs import user_cache_path

from inputs.demo import DEMO_COVERAGE
from network.registry import network_of
from parity.oracle.context import Context
from weight_conversion.atomic import replacing
from weight_conversion.errors import InputError
from weight_conversion.formats import weights_sha256

VERSION = 1
"""To be raised with every change of what ``parity.verdict.coverage`` or
``parity.verdict.sensitivity`` measure."""
MEASURED = frozenset(
    (
        "variables",
        "indistinguishable_channels",
        "cases",
        "findings",
        "perturbed",
        "smallest_changes",
    )
)
"""What a file holds."""


def key_of(context: Context, recorded: Sequence[slice] = ()) -> str:
    """The hash of a probe: stage, inputs and weights, as float32, and of how it is measured.

    ``recorded`` are the vertices that it is measured at; all of them by default.
    """
    digest = hashlib.sha256(f"{context.stage} {VERSION}".encode())
    whole = slice(0, network_of(context.stage).starts_with)
    if recorded and [*recorded] != [whole]:
        digest.update(f"{[(each.start, each.stop) for each in recorded]}".encode())
    arrays = {**context.inputs, "cameras": context.cameras, "offsets": context.offsets}
    for level, pair in enumerate(context.supports):
        for number, matrix in enumerate(pair):
            name = f"support_{level}_{number}"
            if isinstance(matrix, np.ndarray):
                arrays[name] = matrix
            else:
                parts = ("data", "indices", "indptr")
                arrays |= {f"{name}/{part}": getattr(matrix, part) for part in parts}
    for level, pairs in enumerate(context.unpooling):
        arrays[f"unpooling_{level}"] = pairs
    network = network_of(context.stage)
    known = ("cameras", "offsets", "support_0", "support_1", "pairs")
    for row in network.taps:
        arrays |= {key: context.arrays[key] for name, key in row.constants.items()
                   if name not in known}  # fmt: skip
        if row.formula is not None:
            digest.update(repr(row.formula).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name], "<f4")
        digest.update(f"{name} {array.shape}\n".encode())
        digest.update(array.tobytes())
    weights = {key: value.astype(np.float32) for key, value in context.weights.items()}
    digest.update(weights_sha256(weights).encode())
    return digest.hexdigest()


def load(key: str) -> dict[str, Any] | None:
    """What is known of a probe; None where it is not, or where a file does not say it."""
    for folder in (DEMO_COVERAGE, kept()):
        with suppress(OSError, ValueError):
            found = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
            if isinstance(found, dict) and set(found) == MEASURED:
                return found
    return None


def store(key: str, measured: Mapping[str, Any], folder: Path | None = None) -> Path | None:
    """Keep what was measured; None where the user's cache folder cannot be written to."""
    path = (kept() if folder is None else folder) / f"{key}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    except (OSError, InputError):
        if folder is not None:
            raise
        return None  # it is measured again next time
    return path


def kept() -> Path:
    """The user's folder."""
    named = os.environ.get("P2M_PARITY_CACHE")
    return (Path(named) if named else user_cache_path("pixel2mesh-parity")) / "coverage"
