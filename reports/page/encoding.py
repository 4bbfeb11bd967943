"""Arrays as short text for a page's script, and JSON that no name in it can break out of."""

import base64
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

STEPS = 254
"""Shades of a picture; byte 255 stands for what is not finite."""


def script_json(value: Any) -> str:
    """``value`` as JSON that may stand inside a ``<script>`` element.

    All but ASCII is escaped, U+2028 and U+2029 with it, and so are ``<``, ``>`` and ``&``: no text
    can end the element or begin a comment, whatever it says.
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def packed(array: NDArray[Any], dtype: str) -> str:
    """The numbers, little-endian, in base64."""
    return base64.b64encode(np.ascontiguousarray(array, np.dtype(dtype)).tobytes()).decode()


def shades(values: NDArray[np.float64], low: float, high: float) -> dict[str, Any]:
    """A picture (h, w) in ``STEPS`` equal steps from ``low`` to ``high``, row by row."""
    width = high - low
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = (values - low) / width if width > 0 else np.zeros_like(values)
    finite = np.isfinite(scaled)
    levels = np.full(values.shape, 255, np.uint8)
    levels[finite] = np.clip(np.rint(scaled[finite] * STEPS), 0, STEPS).astype(np.uint8)
    return {"low": low, "high": high, "shades": packed(levels, "u1")}


OCTAVE = 8
"""Steps in which ``magnitudes`` divides a factor of two."""


def magnitudes(values: NDArray[np.float64]) -> dict[str, Any]:
    """A picture (h, w) of magnitudes, on a logarithmic scale below the greatest finite one.

    Byte b from 1 to 254 stands for ``top · 2^((b − 254) / OCTAVE)``, 0 for none, 255 for what is
    not finite.
    """
    finite = np.isfinite(values)
    top = float(values[finite].max(initial=0.0))
    levels = np.full(values.shape, 255, np.uint8)
    levels[finite] = 0
    some = finite & (values > 0)
    if top > 0:
        below = np.rint(OCTAVE * np.log2(values[some] / top)) + STEPS
        levels[some] = np.clip(below, 1, STEPS).astype(np.uint8)
    return {"top": top, "octave": OCTAVE, "levels": packed(levels, "u1")}
