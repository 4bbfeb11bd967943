"""Makes the demo items: ``python -m inputs.demo.make OUT``.

Writes ``OUT/plane`` and ``OUT/sofa`` in ShapeNet's layout: 24 renderings of 137×137 RGBA pixels,
``rendering_metadata.txt``, and ``model_normal.xyz``, points spread uniformly over the visible
surface with their normals. The renderings depend on VTK's version in their last bits, all else is
the same on every machine. The results are kept in ``inputs/demo/items``.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pyvista as pv
from vtkmodules.vtkCommonCore import vtkLogger

from inputs.cameras import CENTRE, FOCAL, OBJECT_TO_WORLD, camera_from_row
from inputs.demo import DEMO_ITEMS
from inputs.demo.models import modelled
from inputs.demo.shapes import Part
from inputs.files import Float64
from inputs.item import RENDERING_SIZE
from weight_conversion.atomic import replacing

Seed = int | Sequence[int]

VIEWS = 24
POINTS = 5000

_SUPERSAMPLING = 4
SEEDS = {"plane": 17, "sofa": 167}

# A point this far inside another part, in object units, is not on the object's surface.
_HIDDEN = 1e-4


def camera_rows(seed: Seed, views: int = VIEWS) -> Float64:
    """(views, 5) camera rows, drawn from the ranges of ShapeNet's renderings."""
    draw = np.random.default_rng(seed)
    rows = np.zeros((views, 5))
    rows[:, 0] = draw.uniform(0.0, 360.0, views)
    rows[:, 1] = draw.uniform(25.0, 30.0, views)
    rows[:, 3] = draw.uniform(0.65, 0.9, views)
    rows[:, 4] = 25.0
    # As they are written, so that images are rendered with the numbers of the file.
    return np.round(rows, 6)


def surface_points(parts: Sequence[Part], seed: Seed, count: int = POINTS) -> Float64:
    """Points uniformly on the outer surface of parts that overlap.

    Args:
        parts: in the object frame.
        seed: of the draws.
        count: points wanted.

    Returns:
        (count, 6): x y z nx ny nz.
    """
    draw = np.random.default_rng(seed)
    corners = np.concatenate([part.corners for part in parts])
    owner = np.repeat(np.arange(len(parts)), [len(part.triangles) for part in parts])
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.linalg.norm(normals, axis=1)
    # Three times as many as wanted: what lies inside another part is dropped afterwards.
    face = draw.choice(len(corners), size=3 * count, p=areas / areas.sum())
    r1, r2 = np.sqrt(draw.random(3 * count))[:, None], draw.random(3 * count)[:, None]
    a, b, c = (corners[face, corner] for corner in range(3))
    points = (1.0 - r1) * a + r1 * (1.0 - r2) * b + r1 * r2 * c
    hidden = np.zeros(len(points), dtype=bool)
    for number, part in enumerate(parts):
        near = (points >= part.vertices.min(axis=0)) & (points <= part.vertices.max(axis=0))
        asked = np.flatnonzero(near.all(axis=1) & (owner[face] != number) & ~hidden)
        if len(asked):
            cloud = pv.PolyData(points[asked]).compute_implicit_distance(_polydata(part))
            hidden[asked] = cloud["implicit_distance"] < -_HIDDEN
    kept = np.flatnonzero(~hidden)[:count]
    return np.concatenate([points[kept], normals[face[kept]] / areas[face[kept], None]], axis=1)


def render(parts: Sequence[Part], rows: Float64) -> list[npt.NDArray[np.uint8]]:
    """Images (137, 137, 4), blue, green, red, alpha, one a camera row."""
    # Without a display VTK warns, and draws off screen as it was asked to.
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_ERROR)
    size = RENDERING_SIZE * _SUPERSAMPLING
    plotter = pv.Plotter(off_screen=True, window_size=[size, size], lighting="none")
    plotter.render_window.SetMultiSamples(0)
    for part in parts:
        surface = _polydata(part)
        surface.points = surface.points * OBJECT_TO_WORLD
        surface.cell_data["colour"] = part.colours
        plotter.add_mesh(
            surface.compute_normals(feature_angle=40.0, split_vertices=True),
            scalars="colour",
            rgb=True,
            smooth_shading=True,
            ambient=0.34,
            diffuse=0.75,
            specular=0.12,
            specular_power=12,
        )
    plotter.add_light(pv.Light(position=(0.4, 2.0, 0.7), intensity=0.65, light_type="scene light"))
    plotter.add_light(pv.Light(intensity=0.5, light_type="headlight"))
    plotter.camera.view_angle = 2.0 * np.rad2deg(np.arctan(CENTRE / FOCAL))
    images = []
    for row in rows:
        camera = camera_from_row(row)
        plotter.camera.position = camera.position
        plotter.camera.focal_point = (0.0, 0.0, 0.0)
        plotter.camera.up = camera.rotation[1]
        plotter.camera.clipping_range = (0.05, 3.0)
        plotter.render()
        shot = plotter.screenshot(transparent_background=True, return_img=True)
        images.append(_reduced(np.asarray(shot)))
    plotter.close()
    return images


def write_item(parts: Sequence[Part], rows: Float64, points: Float64, folder: Path) -> None:
    """Write one item in ShapeNet's layout.

    Args:
        parts: the object.
        rows: (V, 5) a camera row a rendering.
        points: (N, 6) the ground truth, object frame.
        folder: the item's.

    Raises:
        InputError: the folder cannot be written to.
    """
    for number, image in enumerate(render(parts, rows)):
        with replacing(folder / "rendering" / f"{number:02d}.png") as path:
            encoded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
            path.write_bytes(encoded.tobytes())
    metadata = [f"{a:.6f} {e:.6f} 0 {d:.6f} 25\n" for a, e, _, d, _ in rows]
    with replacing(folder / "rendering" / "rendering_metadata.txt") as path:
        path.write_text("".join(metadata), encoding="ascii")
    with replacing(folder / "model_normal.xyz") as path:
        np.savetxt(path, points, fmt=["%.6f"] * 3 + ["%.4f"] * 3)


def main(arguments: Sequence[str]) -> int:
    """Write all items into the folder named on the command line."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m inputs.demo.make OUT\n")
        return 2
    for name in DEMO_ITEMS:
        parts, seed = modelled(name), SEEDS[name]
        item = camera_rows(seed), surface_points(parts, seed)
        write_item(parts, *item, Path(arguments[0]) / name)
    return 0


def _polydata(part: Part) -> pv.PolyData:
    return pv.PolyData.from_regular_faces(part.vertices, part.triangles)


def _reduced(shot: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Squares of pixels averaged, each weighted by its own opacity; blue first."""
    fine = shot.astype(np.float64).reshape(
        RENDERING_SIZE, _SUPERSAMPLING, RENDERING_SIZE, _SUPERSAMPLING, 4
    )
    opacity = fine[..., 3:]
    weight = opacity.sum(axis=(1, 3))
    colour = (fine[..., 2::-1] * opacity).sum(axis=(1, 3)) / np.maximum(weight, 1.0)
    # Multiples of four alone: hardly visible, and the files are a third smaller.
    colour = np.minimum(4.0 * np.rint(colour / 4.0), 252.0)
    alpha = weight / _SUPERSAMPLING**2
    return np.rint(np.concatenate([colour, alpha], axis=-1)).astype(np.uint8)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
