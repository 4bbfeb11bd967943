"""Points drawn on a mesh's surface for the losses, and the files that hold such draws.

The official code draws 4,000 points a block from the block's own output mesh, inside the graph: a
face with probability proportional to its area, then a point of the face from two uniform numbers.
The draw is made here once for every framework, from numbers that depend on nothing but a seed, so
that two implementations differ in a sample only where rounding moves the boundary between two
faces across a drawn number: a few samples a block between two float32 runs whose meshes differ in
their last bits, none in float64. Comparisons in float32 give both sides the same samples instead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inputs.files import Float32, Float64, Int64
from inputs.template import Template
from network.levels import FACES
from network.registry import network_of
from weight_conversion.containers import npz
from weight_conversion.containers.contents import Contents
from weight_conversion.errors import InputError
from weight_conversion.recognise import listing

COUNT = 4000
"""Points a block."""

Samples = Mapping[str, npt.NDArray[np.generic]]
"""For each block b = 1…: ``face_b`` (4000,) int64, triangles of the block's level in the
template's order, and ``r1_b``, ``r2_b`` (4000,) float32 in [0, 1)."""

_INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
_FLOATS = {"float16", "float32", "float64"}


@dataclass(frozen=True, eq=False)
class Draw:
    """Numbers that decide a block's points once the mesh is known.

    Attributes:
        place: (n,) float64 in [0, 1), where a face is picked from the mesh's whole area.
        r1: (n,) float32 in [0, 1).
        r2: (n,) float32 in [0, 1).
    """

    place: Float64
    r1: Float32
    r2: Float32


def draw(generator: np.random.Generator, count: int = COUNT) -> Draw:
    """Draw the numbers for ``count`` points, before any mesh is known."""
    return Draw(
        generator.random(count),
        generator.random(count, dtype=np.float32),
        generator.random(count, dtype=np.float32),
    )


def step_draws(stage: str, seed: int, step: int) -> tuple[Draw, ...]:
    """The draws of one training step, one a block: they depend on these arguments alone."""
    return tuple(
        draw(np.random.default_rng([seed, step, block]))
        for block in range(len(network_of(stage).levels))
    )


def choose_faces(vertices: npt.ArrayLike, faces: Int64, place: Float64) -> Int64:
    """Pick a face for every number, with probability proportional to area, in float64.

    The faces are laid out one after the other on [0, 1), each as long as its share of the area;
    a number picks the face that it falls on. Faces without area are never picked.

    Args:
        vertices: (V, 3), any frame.
        faces: (F, 3) vertex numbers.
        place: (n,) in [0, 1).

    Returns:
        (n,) indices of faces.

    Raises:
        InputError: all faces are without area, or a coordinate is not finite.
    """
    corners = np.asarray(vertices, dtype=np.float64)[faces]
    with np.errstate(over="ignore", invalid="ignore"):
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        ends = np.cumsum(0.5 * np.linalg.norm(normals, axis=1))
    if not np.isfinite(ends[-1]):
        raise InputError("mesh to sample", "its area is not finite", "finite coordinates")
    if ends[-1] == 0:
        raise InputError(
            "mesh to sample", f"none of its {len(faces)} faces has an area", "a surface"
        )
    return np.searchsorted(ends / ends[-1], place, side="right").astype(np.int64)


def draw_samples(
    vertices: npt.ArrayLike, faces: Int64, generator: np.random.Generator, count: int = COUNT
) -> tuple[Int64, Float32, Float32]:
    """Draw points on one mesh: faces (n,), r1 (n,) and r2 (n,).

    Raises:
        InputError: as `choose_faces`.
    """
    numbers = draw(generator, count)
    return choose_faces(vertices, faces, numbers.place), numbers.r1, numbers.r2


def samples_on(
    stage: str, template: Template, meshes: Sequence[npt.ArrayLike], draws: Sequence[Draw]
) -> dict[str, npt.NDArray[np.generic]]:
    """The samples that ``draws`` make on the output meshes of a stage's blocks.

    Raises:
        InputError: as `choose_faces`, with the block's number.
    """
    found: dict[str, npt.NDArray[np.generic]] = {}
    levels = network_of(stage).levels
    for block, (level, mesh, numbers) in enumerate(
        zip(levels, meshes, draws, strict=True), start=1
    ):
        try:
            found[f"face_{block}"] = choose_faces(mesh, template.faces[level], numbers.place)
        except InputError as error:
            raise InputError(f"{stage} block {block}", str(error)) from error
        found[f"r1_{block}"], found[f"r2_{block}"] = numbers.r1, numbers.r2
    return found


def points_on(
    vertices: npt.ArrayLike, faces: Int64, face: Int64, r1: npt.ArrayLike, r2: npt.ArrayLike
) -> Float64:
    """The points of samples, in float64: (1 − √r1)·A + √r1·(1 − r2)·B + √r1·r2·C.

    The root makes them uniform over a triangle ABC (Osada et al., "Shape distributions", 2002).

    Args:
        vertices: (V, 3).
        faces: (F, 3) vertex numbers.
        face: (n,) indices of faces.
        r1: (n,) in [0, 1).
        r2: (n,) in [0, 1).

    Returns:
        (n, 3), in the frame of ``vertices``.
    """
    corners = np.asarray(vertices, dtype=np.float64)[faces[face]]
    root = np.sqrt(np.asarray(r1, dtype=np.float64))[:, None]
    along = np.asarray(r2, dtype=np.float64)[:, None]
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    return (1 - root) * a + root * (1 - along) * b + root * along * c


def load_samples(path: str | Path, stage: str) -> dict[str, npt.NDArray[np.generic]]:
    """Read the samples of one stage from an ``.npz`` file.

    Numbers in [0, 1) are rounded to float32, as they are fed to the official graph.

    Raises:
        InputError: unreadable, arrays missing or unknown, of another shape or type, face indices
            beyond the level's triangles, or numbers outside [0, 1).
    """
    path = Path(path)
    with npz.opened(path) as contents:
        _check_listing(path, stage, contents)
        found: dict[str, npt.NDArray[np.generic]] = {}
        for block, level in enumerate(network_of(stage).levels, start=1):
            face = contents.read(f"face_{block}")
            _check_range(f"{path}, face_{block}", face, FACES[level])
            found[f"face_{block}"] = face.astype(np.int64)
            for name in (f"r1_{block}", f"r2_{block}"):
                numbers = contents.read(name)
                _check_range(f"{path}, {name}", numbers, 1)
                found[name] = numbers.astype(np.float32)
    return found


def _names(stage: str) -> list[str]:
    blocks = range(1, len(network_of(stage).levels) + 1)
    return [f"{kind}_{block}" for block in blocks for kind in ("face", "r1", "r2")]


def _check_listing(path: Path, stage: str, contents: Contents) -> None:
    """Names, shapes and types, as the headers give them, before anything is read."""
    listed = {variable.name: variable for variable in contents.variables}
    names = _names(stage)
    expected = f"the {stage} stage's face_b, r1_b and r2_b for b = 1 to {len(names) // 3}"
    for word, stray in (
        ("lacks", set(names) - set(listed)),
        ("also has", set(listed) - set(names)),
    ):
        if stray:
            raise InputError(path, f"{word} {listing(stray)}", expected)
    for name in names:
        shape, dtype = listed[name].shape, listed[name].dtype.rpartition(" ")[2]
        kinds, words = (
            (_INTEGERS, "whole numbers") if name.startswith("face") else (_FLOATS, "numbers")
        )
        if shape != (COUNT,) or dtype not in kinds:
            raise InputError(
                f"{path}, {name}", f"{listed[name].dtype} of shape {shape}", f"{COUNT} {words}"
            )


def _check_range(where: str, values: npt.NDArray[Any], end: int) -> None:
    inside = (values >= 0) & (values < end)  # False for NaN
    if not inside.all():
        at = int(np.flatnonzero(~inside)[0])
        raise InputError(where, f"{values[at]} at [{at}]", f"numbers from 0 to below {end}")
