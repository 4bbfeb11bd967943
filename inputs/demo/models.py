"""The demo's two objects, modelled by code: an airliner and a three-seat sofa.

Each is a set of closed parts that overlap, with a colour a triangle. Modelling units are free;
`modelled` brings an object into ShapeNet's frame: Y up, the bounding box's centre at the origin and
its diagonal of length 1.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from inputs.demo.shapes import Colour, Part, blade, loft, rotation, rounded_box
from weight_conversion.errors import InputError

_WHITE: Colour = (236, 236, 240)
_NAVY: Colour = (34, 66, 136)
_GLASS: Colour = (24, 28, 38)
_METAL: Colour = (150, 156, 168)
_RED: Colour = (200, 38, 44)
_STEEL: Colour = (84, 90, 104)
_FABRIC: Colour = (36, 92, 102)
_CUSHION: Colour = (78, 150, 154)
_PILLOW: Colour = (236, 150, 50)
_WOOD: Colour = (92, 56, 32)

# Stations of `blade`: Z, X of the leading edge, Y, chord, thickness.
_WING = (
    (0.00, 0.170, -0.030, 0.240, 0.13),
    (0.17, 0.060, -0.016, 0.150, 0.12),
    (0.45, -0.110, 0.016, 0.065, 0.11),
    (0.47, -0.135, 0.055, 0.040, 0.10),
)
_TAILPLANE = ((0.0, -0.350, 0.030, 0.130, 0.11), (0.18, -0.455, 0.045, 0.055, 0.11))
_FIN = ((0.0, -0.270, 0.000, 0.200, 0.10), (0.205, -0.445, 0.000, 0.080, 0.10))

# Stations of an engine: X, radius.
_NACELLE = ((0.070, 0.026), (0.062, 0.031), (0.030, 0.033), (-0.030, 0.028), (-0.075, 0.016))


def modelled(name: str) -> list[Part]:
    """An object's parts in the object frame.

    Args:
        name: "plane" or "sofa".

    Raises:
        InputError: another name.
    """
    models = {"plane": _plane, "sofa": _sofa}
    if name not in models:
        raise InputError("demo item", f"no item {name!r}", " or ".join(models))
    return normalised(models[name]())


def normalised(parts: Sequence[Part]) -> list[Part]:
    """Parts brought into ShapeNet's frame together."""
    corners = np.concatenate([part.vertices for part in parts])
    low, high = corners.min(axis=0), corners.max(axis=0)
    scale = 1.0 / float(np.linalg.norm(high - low))
    centre = (low + high) / 2.0
    return [replace(part, vertices=(part.vertices - centre) * scale) for part in parts]


def _plane() -> list[Part]:
    """An airliner, nose towards +X; its length is 1."""
    parts = [_fuselage()]
    for side in (1.0, -1.0):
        parts += [
            blade([(side * z, x, y, chord, t) for z, x, y, chord, t in _WING], _METAL),
            blade([(side * z, x, y, chord, t) for z, x, y, chord, t in _TAILPLANE], _METAL),
            _nacelle().moved((0.105, -0.062, side * 0.165)),
            rounded_box((0.110, 0.050, 0.012), 0.005, _METAL).moved((0.06, -0.035, side * 0.165)),
        ]
    upright = rotation(0, -90.0)
    return [*parts, blade(_FIN, _RED).moved((0.0, 0.035, 0.0), upright)]


def _fuselage() -> Part:
    x = np.concatenate([0.5 - 0.15 * np.linspace(0.02, 1, 24) ** 2, np.linspace(0.345, -0.5, 78)])
    radius = np.full_like(x, 0.056)
    nose = np.clip((0.5 - x) / 0.15, 0.0, 1.0)
    radius *= np.sqrt(1.0 - (1.0 - nose) ** 2)
    tail = np.clip((-0.14 - x) / 0.36, 0.0, 1.0)
    radius *= 1.0 - 0.88 * tail**1.6
    height = 0.040 * tail**1.5 - 0.014 * (1.0 - nose) ** 2
    angle = np.linspace(0.0, 2.0 * np.pi, 64, endpoint=False)
    rings = np.stack(
        [
            np.repeat(x[:, None], len(angle), axis=1),
            height[:, None] + radius[:, None] * np.sin(angle),
            radius[:, None] * np.cos(angle),
        ],
        axis=2,
    )
    part = loft(rings, _WHITE)
    middle = part.corners.mean(axis=1)
    at, up = middle[:, 0], middle[:, 1]
    level = np.interp(-at, -x, height)
    share = (up - level) / np.interp(-at, -x, radius)
    # A dark belly with a stripe that rises towards the tail, a row of windows, and the cockpit's.
    belly = share < -0.25 + 0.8 * np.clip((-0.2 - at) / 0.25, 0.0, 1.0)
    windows = (np.abs(share - 0.27) < 0.12) & (at > -0.24) & (at < 0.36) & (at % 0.033 < 0.022)
    cockpit = (share > 0.28) & (share < 0.86) & (at > 0.405) & (at < 0.452)
    return part.painted(belly, _NAVY).painted(windows, _GLASS).painted(cockpit, _GLASS)


def _nacelle() -> Part:
    angle = np.linspace(0.0, 2.0 * np.pi, 32, endpoint=False)
    ring = np.stack([np.zeros_like(angle), np.sin(angle), np.cos(angle)], axis=1)
    rings = np.stack([np.array([x, 0.0, 0.0]) + radius * ring for x, radius in _NACELLE])
    part = loft(rings, _NAVY)
    intake = part.corners[:, :, 0].min(axis=1) > 0.069
    exhaust = part.corners[:, :, 0].max(axis=1) < -0.029
    return part.painted(intake, _GLASS).painted(exhaust, _STEEL)


def _sofa() -> list[Part]:
    """A sofa of 2 metres, its front towards +Z."""
    lean = rotation(0, -10.0)
    parts = [
        rounded_box((1.64, 0.20, 0.82), 0.04, _FABRIC).moved((0.0, 0.23, 0.0)),
        rounded_box((1.64, 0.62, 0.20), 0.08, _FABRIC).moved((0.0, 0.52, -0.33), lean),
    ]
    for side in (-1.0, 1.0):
        parts.append(
            rounded_box((0.22, 0.50, 0.90), 0.085, _FABRIC).moved((side * 0.90, 0.38, 0.0))
        )
    for place in (-0.53, 0.0, 0.53):
        seat = rounded_box((0.525, 0.17, 0.66), 0.06, _CUSHION, bulge=(0.0, 0.03, 0.02))
        back = rounded_box((0.52, 0.42, 0.17), 0.07, _CUSHION, bulge=(0.0, 0.01, 0.04))
        parts += [
            seat.moved((place, 0.405, 0.11)),
            back.moved((place, 0.66, -0.17), rotation(0, -14.0)),
        ]
    for side in (-1.0, 1.0):
        pillow = rounded_box((0.34, 0.34, 0.10), 0.045, _PILLOW, bulge=(0.0, 0.0, 0.05))
        turn = rotation(1, -side * 28.0) @ rotation(0, -22.0) @ rotation(2, side * 12.0)
        parts.append(pillow.moved((side * 0.60, 0.64, 0.03), turn))
    angle = np.linspace(0.0, 2.0 * np.pi, 20, endpoint=False)
    circle = np.stack([np.cos(angle), np.zeros_like(angle), np.sin(angle)], axis=1)
    leg = loft(np.stack([0.028 * circle, 0.045 * circle + (0.0, 0.16, 0.0)]), _WOOD)
    for x in (-0.88, 0.88):
        parts += [leg.moved((x, 0.0, z)) for z in (-0.34, 0.34)]
    return parts
