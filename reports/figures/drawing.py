"""The process that draws meshes with VTK: it may die without taking the report with it.

``reports.figures.renderer`` starts it with two paths: an ``.npz`` with the meshes and cameras to
draw, and the ``.npz`` of pictures that it writes.
"""

import math
import sys
from collections.abc import Sequence

import numpy as np
import pyvista
from numpy.typing import NDArray

_OVERSAMPLING = 2  # drawn so many times larger and averaged: smooth edges on any renderer


def main(arguments: Sequence[str]) -> int:
    """Draw every panel that the input file names: vertices, faces, colours, camera -> pixels."""
    source, destination = arguments
    with np.load(source, allow_pickle=False) as archive:
        request = {name: archive[name] for name in archive.files}
    size = int(request["size"])
    plotter = pyvista.Plotter(
        off_screen=True, window_size=(size * _OVERSAMPLING, size * _OVERSAMPLING)
    )
    plotter.render_window.SetMultiSamples(0)  # the oversampling does its work
    plotter.set_background("white")
    plotter.show(auto_close=False)
    pictures = {name: _draw(plotter, request, name) for name in request["panels"].tolist()}
    plotter.close()
    np.savez(destination, allow_pickle=False, **pictures)
    return 0


def _draw(
    plotter: pyvista.Plotter, request: dict[str, NDArray[np.generic]], name: str
) -> NDArray[np.uint8]:
    """One panel, (size, size, 3)."""
    faces = request[f"{name}.faces"]
    position, focus, up = request[f"{name}.camera"]
    plotter.clear_actors()
    if len(faces):
        mesh = pyvista.PolyData.from_regular_faces(request[f"{name}.vertices"], faces)
        mesh.point_data["colour"] = request[f"{name}.colours"]
        # Flat shading: the winding is inconsistent, so no normal of a vertex has a meaning, while
        # VTK turns a triangle's own normal towards the camera (two-sided lighting).
        plotter.add_mesh(
            mesh, scalars="colour", rgb=True, ambient=float(request[f"{name}.ambient"]),
            diffuse=1 - float(request[f"{name}.ambient"]), specular=0.0, reset_camera=False,
            render=False,
        )  # fmt: skip
    plotter.camera.position = tuple(position)
    plotter.camera.focal_point = tuple(focus)
    plotter.camera.up = tuple(up)
    plotter.camera.view_angle = math.degrees(float(request[f"{name}.angle"]))
    plotter.reset_camera_clipping_range()
    plotter.render()  # without it the picture is that of the panel before
    picture = plotter.screenshot(return_img=True)
    total = np.zeros((*(side // _OVERSAMPLING for side in picture.shape[:2]), 3), np.uint16)
    for row in range(_OVERSAMPLING):
        for column in range(_OVERSAMPLING):
            total += picture[row::_OVERSAMPLING, column::_OVERSAMPLING, :3]
    return (total // _OVERSAMPLING**2).astype(np.uint8)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
