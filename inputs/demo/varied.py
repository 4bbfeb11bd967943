"""Objects of seven kinds, each varied by a generator: what a trial data set is modelled from.

The plane and the sofa are the demo's, stretched and repainted; the other kinds are built here from
the same parts. All come out in ShapeNet's frame: Y up, the front towards +Z.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from inputs.demo.models import modelled, normalised
from inputs.demo.shapes import Colour, Part, loft, rounded_box
from weight_conversion.errors import InputError

KINDS = {
    "plane": "02691156",
    "sofa": "04256520",
    "chair": "03001627",
    "table": "04379243",
    "lamp": "03636649",
    "cabinet": "02933112",
    "monitor": "03211117",
}
"""ShapeNet's category of each kind."""

_BODY: Colour = (150, 96, 60)
_DARK: Colour = (64, 60, 58)
_LIGHT: Colour = (226, 214, 190)
_ACCENT: Colour = (70, 120, 160)


def varied(kind: str, random: np.random.Generator) -> list[Part]:
    """The parts of one object in the object frame.

    Args:
        kind: a key of `KINDS`.
        random: decides proportions, number and form of parts, and colours.

    Raises:
        InputError: another kind.
    """
    if kind not in KINDS:
        raise InputError("kind of object", repr(kind), ", ".join(KINDS))
    parts = _MODELS[kind](random)
    stretch = random.uniform(0.8, 1.25, 3)
    gain = random.uniform(0.6, 1.1, 3)
    order = random.permutation(3)
    painted = [_repainted(part, gain, order) for part in parts]
    return normalised([replace(part, vertices=part.vertices * stretch) for part in painted])


def _repainted(part: Part, gain: np.ndarray, order: np.ndarray) -> Part:
    colours = np.clip(np.rint(part.colours[:, order] * gain), 0, 252).astype(np.uint8)
    return replace(part, colours=colours)


def _plane(random: np.random.Generator) -> list[Part]:
    """The demo's airliner; wings raised or lowered, and swept, by a shear along its span."""
    raised, swept = random.uniform(-0.15, 0.25), random.uniform(-0.25, 0.2)
    parts = []
    for part in modelled("plane"):
        vertices = part.vertices.copy()
        out = np.abs(vertices[:, 2])
        vertices[:, 0] -= swept * out
        vertices[:, 1] += raised * out
        parts.append(replace(part, vertices=vertices))
    return parts


def _sofa(random: np.random.Generator) -> list[Part]:
    """The demo's sofa, some with fewer of its loose pillows."""
    parts = modelled("sofa")
    # Two bodies, two arms, three seats and backs in turn, two pillows, four legs.
    pillows, rest = parts[10:12], parts[:10] + parts[12:]
    return rest + pillows[: random.integers(0, 3)]


def _chair(random: np.random.Generator) -> list[Part]:
    width, depth = random.uniform(0.42, 0.6), random.uniform(0.4, 0.55)
    seat, back = random.uniform(0.38, 0.5), random.uniform(0.35, 0.65)
    thick = random.uniform(0.05, 0.1)
    parts = [rounded_box((width, thick, depth), 0.02, _ACCENT).moved((0.0, seat, 0.0))]
    parts += _legs(random, width / 2 - 0.04, depth / 2 - 0.04, seat)
    behind = -depth / 2 + 0.03
    if random.random() < 0.5:
        slats = int(random.integers(3, 6))
        rail = rounded_box((width, 0.08, 0.04), 0.015, _BODY)
        parts.append(rail.moved((0.0, seat + back, behind)))
        for x in np.linspace(-width / 2 + 0.04, width / 2 - 0.04, slats):
            slat = rounded_box((0.05, back, 0.03), 0.01, _BODY)
            parts.append(slat.moved((float(x), seat + back / 2, behind)))
    else:
        panel = rounded_box((width, back, 0.05), 0.02, _ACCENT)
        parts.append(panel.moved((0.0, seat + back / 2 + 0.02, behind)))
    if random.random() < 0.5:
        for side in (-1.0, 1.0):
            arm = rounded_box((0.05, 0.04, depth), 0.015, _BODY)
            post = rounded_box((0.04, 0.22, 0.04), 0.012, _BODY)
            parts += [
                arm.moved((side * (width / 2 - 0.02), seat + 0.22, 0.0)),
                post.moved((side * (width / 2 - 0.02), seat + 0.11, depth / 2 - 0.06)),
            ]
    return parts


def _table(random: np.random.Generator) -> list[Part]:
    width, depth = random.uniform(0.9, 1.6), random.uniform(0.7, 1.0)
    height, thick = random.uniform(0.45, 0.8), random.uniform(0.04, 0.09)
    top: Part
    if random.random() < 0.5:
        top = rounded_box((width, thick, depth), 0.018, _BODY).moved((0.0, height, 0.0))
    else:
        top = _turned([(height - thick / 2, depth / 2), (height + thick / 2, depth / 2)], _BODY)
        width = depth
    if random.random() < 0.4:
        foot = random.uniform(0.2, 0.32)
        stem = [(0.0, foot), (0.03, foot), (0.06, 0.06), (height, random.uniform(0.04, 0.1))]
        return [top, _turned(stem, _DARK)]
    # A round top has less room in its corners.
    inside = 0.33 if width == depth else 0.44
    return [top, *_legs(random, inside * width, inside * depth, height)]


def _lamp(random: np.random.Generator) -> list[Part]:
    height, base = random.uniform(0.5, 1.2), random.uniform(0.12, 0.22)
    wide, narrow = random.uniform(0.18, 0.34), random.uniform(0.08, 0.2)
    shade = random.uniform(0.2, 0.35)
    stem = [(0.0, base), (0.03, base), (0.05, 0.02)]
    if random.random() < 0.5:
        belly = random.uniform(0.06, 0.13)
        stem += [(0.12, belly), (0.2, belly), (0.28, 0.02)]
    stem += [(height, 0.018)]
    hood = [(height - 0.04, wide), (height - 0.04 + shade, narrow)]
    return [_turned(stem, _DARK), _turned(hood, _LIGHT)]


def _cabinet(random: np.random.Generator) -> list[Part]:
    width, height = random.uniform(0.5, 1.3), random.uniform(0.5, 1.4)
    depth = random.uniform(0.35, 0.55)
    rows, columns = int(random.integers(1, 5)), int(random.integers(1, 4))
    parts = [rounded_box((width, height, depth), 0.02, _BODY).moved((0.0, height / 2 + 0.1, 0.0))]
    parts += _legs(random, width / 2 - 0.05, depth / 2 - 0.05, 0.14)
    for row in range(rows):
        for column in range(columns):
            x = width * ((column + 0.5) / columns - 0.5)
            y = 0.1 + height * (row + 0.5) / rows
            door = (0.88 * width / columns, 0.88 * height / rows, 0.03)
            front = rounded_box(door, 0.01, _LIGHT).moved((x, y, depth / 2))
            knob = rounded_box((0.05, 0.03, 0.04), 0.012, _DARK)
            parts += [front, knob.moved((x, y, depth / 2 + 0.025))]
    return parts


def _monitor(random: np.random.Generator) -> list[Part]:
    width, height = random.uniform(0.6, 1.0), random.uniform(0.35, 0.6)
    stand, thick = random.uniform(0.1, 0.25), random.uniform(0.05, 0.12)
    middle = stand + height / 2
    screen = rounded_box((0.92 * width, 0.86 * height, 0.02), 0.008, _ACCENT)
    return [
        rounded_box((width, height, thick), 0.02, _DARK).moved((0.0, middle, 0.0)),
        screen.moved((0.0, middle, thick / 2)),
        rounded_box((0.12, middle, 0.04), 0.012, _DARK).moved((0.0, middle / 2, -thick / 4)),
        _turned([(0.0, random.uniform(0.14, 0.22)), (0.025, 0.14)], _DARK),
    ]


def _legs(random: np.random.Generator, x: float, z: float, height: float) -> list[Part]:
    """Four legs from the floor up to ``height``, square or turned."""
    wide = random.uniform(0.02, 0.035)
    if random.random() < 0.5:
        leg = rounded_box((2 * wide, height, 2 * wide), wide / 2, _DARK)
        leg = leg.moved((0.0, height / 2, 0.0))
    else:
        leg = _turned([(0.0, 0.7 * wide), (height, wide)], _DARK)
    return [leg.moved((a, 0.0, b)) for a in (-x, x) for b in (-z, z)]


def _turned(profile: list[tuple[float, float]], colour: Colour) -> Part:
    """A body of revolution about Y: pairs of height and radius from the bottom up."""
    angle = np.linspace(0.0, 2.0 * np.pi, 32, endpoint=False)
    circle = np.stack([np.cos(angle), np.zeros_like(angle), np.sin(angle)], axis=1)
    rings = np.stack([radius * circle + np.array([0.0, y, 0.0]) for y, radius in profile])
    return loft(rings, colour)


_MODELS: dict[str, Callable[[np.random.Generator], list[Part]]] = {
    "plane": _plane,
    "sofa": _sofa,
    "chair": _chair,
    "table": _table,
    "lamp": _lamp,
    "cabinet": _cabinet,
    "monitor": _monitor,
}
