"""Meshes as polygons: held against the network's own pixels, and against VTK's pictures."""

import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from inputs.meshes import load_mesh
from inputs.obj import obj_triangles
from parity_tests.reports.test_renderings import drawn
from reports.figures.drawn import mesh_sketches
from reports.figures.renderings import SIZE, panels, render
from reports.figures.scene import VIEW_0, vertex_distance
from reports.figures.vector import draw_panel, polygons
from reports.meshes import Meshes


def request(meshes: Meshes) -> dict[str, Any]:
    return panels(meshes, {"view0": VIEW_0}, vertex_distance(meshes)[0])


def rastered(meshes: Meshes, name: str) -> np.ndarray:
    """The panel as Matplotlib fills its polygons, (SIZE, SIZE, 3)."""
    figure = Figure(figsize=(SIZE / 100, SIZE / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    draw_panel(axes, request(meshes), name)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def test_corners_are_where_the_network_sees_them(meshes: Meshes) -> None:
    corners, _ = polygons(request(meshes), "view0_reference")
    x, y, z = meshes.reference.T.astype(float)
    pixels = np.stack([248 * x / -z, -248 * y / z], axis=1) / 112
    expected = {tuple(np.round(point, 6)) for point in pixels}
    assert {tuple(np.round(point, 6)) for point in corners.reshape(-1, 2)} == expected
    assert len(corners) == len(meshes.faces)


def test_the_nearest_is_drawn_last() -> None:
    near = np.array([[-0.1, -0.1, -0.5], [0.1, -0.1, -0.5], [0, 0.1, -0.5]], np.float32)
    far = near * np.float32(2)
    vertices = np.concatenate([near, far])
    pair = Meshes(vertices, vertices, np.array([[0, 1, 2], [5, 4, 3]]))
    for faces in (pair.faces, pair.faces[::-1]):
        chosen = replace(pair, faces=faces)
        made = request(chosen)
        made["view0_reference.colours"] = np.array([[255, 0, 0]] * 3 + [[0, 0, 255]] * 3, np.uint8)
        _, colours = polygons(made, "view0_reference")
        assert colours[-1][0] > 0.5
        assert colours[0][2] > 0.5


def test_what_lies_behind_the_camera_is_left_out(meshes: Meshes) -> None:
    vertices = meshes.reference.copy()
    vertices[0, 2] = 0.5
    moved = replace(meshes, reference=vertices)
    corners, _ = polygons(request(moved), "view0_reference")
    assert len(corners) == 4  # the triangles without that vertex
    assert np.isfinite(corners).all()


def test_nothing_to_draw_is_an_empty_drawing(meshes: Meshes) -> None:
    lost = replace(meshes, candidate=np.full_like(meshes.candidate, np.nan))
    corners, colours = polygons(request(lost), "view0_candidate")
    assert corners.shape == (0, 3, 2)
    assert colours.shape == (0, 3)
    assert (rastered(lost, "view0_candidate") == 255).all()


@pytest.mark.parametrize("panel", ["view0_reference", "view0_difference"])
def test_looks_as_the_rendering_does(official: Path, panel: str) -> None:
    vertices = load_mesh(official / "demo" / "predict.obj").vertices
    faces = obj_triangles(official / "template" / "face3.obj", len(vertices))
    candidate = (vertices + 0.01 * np.sin(20 * vertices)).astype(np.float32)
    both = Meshes(vertices, candidate, faces)
    ours, theirs = rastered(both, panel).astype(int), drawn(both)[panel].astype(int)
    covered = (ours < 250).any(axis=2), (theirs < 250).any(axis=2)
    union = np.count_nonzero(covered[0] | covered[1])
    assert np.count_nonzero(covered[0] & covered[1]) > 0.95 * union
    inside = covered[0] & covered[1]
    assert np.abs(ours - theirs)[inside].mean() < 12


def test_a_pdf_holds_paths_and_no_pixels(meshes: Meshes) -> None:
    sketches = mesh_sketches(render(meshes))
    assert len(sketches) == 3
    for sketch in sketches:
        (pdf,) = sketch.files().values()
        assert pdf.startswith(b"%PDF")
        streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
        plain = b"\n".join(_inflated(each) for each in streams)
        colours = len(re.findall(rb"\d rg\b", plain))
        assert colours >= 4  # a fill for each triangle that is seen
        images = re.findall(rb"/Width (\d+)", pdf)
        assert max(map(int, images), default=0) <= 256  # the colour bar at most, no panel


def _inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return stream
