import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from inputs.meshes import load_mesh
from inputs.obj import obj_triangles
from reports.figures import renderings
from reports.figures.renderer import draw
from reports.figures.renderings import SIZE, panels, render, rendering
from reports.figures.scene import VIEW_0, oblique_camera, unseen, vertex_distance
from reports.meshes import Meshes


def drawn(meshes: Meshes) -> dict[str, Any]:
    return draw(panels(meshes, {"view0": VIEW_0}, vertex_distance(meshes)[0]))


def silhouette(picture: Any) -> tuple[int, int, int, int]:
    """Top, bottom, left, right of what is not white."""
    rows, columns = np.nonzero((picture < 250).any(axis=2))
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


def expected(vertices: Any) -> tuple[float, float, float, float]:
    """The same from the network's own pixel formula, of a 224 image."""
    x, y, z = vertices.T
    h, w = 248 * -y / -z + 112, 248 * x / -z + 112
    scale = SIZE / 224
    return tuple(float(edge * scale) for edge in (h.min(), h.max(), w.min(), w.max()))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def lopsided() -> Meshes:
    """A mesh that no mirroring or turning leaves in place, and another one far from it."""
    reference = np.array(
        [[0.05, 0.02, -0.8], [0.3, 0.05, -0.9], [0.1, 0.31, -0.7], [0.12, 0.1, -0.6]], np.float32
    )
    candidate = reference * np.array([-1, -0.5, 1], np.float32)
    faces = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 2, 3]])
    return Meshes(reference, candidate, faces, "metres")


@pytest.fixture(scope="module")
def lopsided_panels(lopsided: Meshes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    # Called from a folder with a trap: the renderer must not import from where the user stands.
    trap = tmp_path_factory.mktemp("trap")
    (trap / "pyvista.py").write_text("raise SystemExit('the wrong pyvista')")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(trap)
        return drawn(lopsided)


@pytest.fixture
def blank(monkeypatch: pytest.MonkeyPatch) -> None:
    """White panels without a renderer, for what is written beside them."""

    @contextmanager
    def white(request: dict[str, Any], *_: object) -> Iterator[Callable[[], dict[str, Any]]]:
        names = request["panels"].tolist()
        yield lambda: {name: np.full((9, 9, 3), 255, np.uint8) for name in names}

    monkeypatch.setattr(renderings, "drawing", white)


@pytest.mark.parametrize("side", ["reference", "candidate"])
def test_view_0_is_the_network_camera(
    lopsided: Meshes, lopsided_panels: dict[str, Any], side: str
) -> None:
    found = silhouette(lopsided_panels[f"view0_{side}"])
    assert found == pytest.approx(expected(getattr(lopsided, side)), abs=2.5)


def test_the_difference_is_drawn_on_the_reference_in_colour(
    lopsided: Meshes, lopsided_panels: dict[str, Any]
) -> None:
    picture = lopsided_panels["view0_difference"]
    assert silhouette(picture) == pytest.approx(expected(lopsided.reference), abs=2.5)
    ink = picture[(picture < 250).any(axis=2)].astype(int)
    assert np.ptp(ink, axis=1).max() > 60  # far from grey, which both sides are drawn in
    grey = lopsided_panels["view0_reference"]
    assert np.ptp(grey[(grey < 250).any(axis=2)].astype(int), axis=1).max() < 40


def test_both_windings_are_lit_alike() -> None:
    plate = np.array(
        [[-0.2, -0.1, -0.8], [0, -0.1, -0.8], [-0.1, 0.1, -0.8],
         [0, -0.1, -0.8], [0.2, -0.1, -0.8], [0.1, 0.1, -0.8]], np.float32
    )  # fmt: skip
    picture = drawn(Meshes(plate, plate, np.array([[0, 1, 2], [3, 5, 4]])))["view0_reference"]
    row = int(SIZE * (248 * 0.05 / 0.8 + 112) / 224)
    line = picture[row].astype(int)
    left, right = line[: SIZE // 2], line[SIZE // 2 :]
    shades = [half[(half < 250).any(axis=1)] for half in (left, right)]
    assert min(map(len, shades)) > 50
    assert np.abs(np.median(shades[0], axis=0) - np.median(shades[1], axis=0)).max() <= 3


@pytest.fixture(scope="module")
def moved(meshes: Meshes) -> dict[str, Any]:
    return {picture.name: picture for picture in render(meshes).pictures}


def test_three_pictures(moved: dict[str, Any]) -> None:
    assert list(moved) == ["meshes_view0", "meshes_oblique", "vertex_difference"]
    for picture in moved.values():
        image = cv2.imdecode(np.frombuffer(picture.png, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        assert image.shape[1] == 1280
        assert (image < 200).any()


def test_captions_have_the_numbers(moved: dict[str, Any], meshes: Meshes) -> None:
    edge = 0.2 * 2**0.5
    distance = 0.05 * 3**0.5 / edge
    caption = moved["vertex_difference"].caption
    assert f"at most {distance:.3g}, {distance / 6:.3g} in the mean, in mean edge" in caption
    assert "The greatest is at vertex 2." in caption
    assert len(meshes.reference) == 6
    assert moved["meshes_view0"].caption == (
        "Reference and candidate from view 0 (the network's camera), both from the same camera."
    )


@pytest.mark.usefixtures("blank")
def test_identical_meshes_say_so(meshes: Meshes) -> None:
    pictures = render(replace(meshes, candidate=meshes.reference)).pictures
    assert "identical" in pictures[2].caption


def test_vertices_that_cannot_be_drawn_are_counted(meshes: Meshes) -> None:
    candidate = meshes.candidate.copy()
    candidate[0], candidate[1, 0], candidate[3] = np.nan, np.inf, 1e30
    pictures = render(replace(meshes, candidate=candidate)).pictures
    assert "3 of 6 vertices of the candidate are not finite or beyond 1e+06" in pictures[0].caption
    assert "2 of 6 vertices are not finite on one side" in pictures[2].caption


@pytest.mark.usefixtures("blank")
def test_a_candidate_without_one_number(meshes: Meshes) -> None:
    candidate = np.full_like(meshes.candidate, np.nan)
    pictures = render(replace(meshes, candidate=candidate)).pictures
    assert "6 of 6 vertices of the candidate" in pictures[0].caption
    assert pictures[2].caption.startswith("6 of 6 vertices are not finite")


@pytest.mark.usefixtures("blank")
def test_a_mesh_shrunk_to_a_point(meshes: Meshes) -> None:
    reference = np.zeros_like(meshes.reference)
    pictures = render(replace(meshes, reference=reference)).pictures
    assert pictures[2].caption.count("in metres") == 1


def test_vertices_outside_the_picture_are_counted(meshes: Meshes) -> None:
    behind = meshes.reference * np.array([1, 1, -1], np.float32)
    assert unseen("candidate", behind, VIEW_0) == [
        "6 of 6 vertices of the candidate lie outside the picture."
    ]
    aside = meshes.reference.copy()
    aside[0, 0] = 5
    assert unseen("candidate", aside, VIEW_0)[0].startswith("1 of 6 vertices")
    assert unseen("reference", meshes.reference, VIEW_0) == []


@pytest.mark.parametrize("opposite", [False, True])
def test_the_oblique_views_hold_the_whole_mesh(meshes: Meshes, opposite: bool) -> None:
    camera = oblique_camera(meshes.reference, opposite=opposite)
    assert unseen("reference", meshes.reference, camera) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"candidate": np.zeros((5, 3), np.float32)},
            "the meshes' shapes differ: (6, 3) and (5, 3)",
        ),
        ({"faces": np.array([[0, 1, 6]])}, "the triangles name vertices 0 to 6 of 6"),
        ({"faces": np.array([[0, 1, -1]])}, "the triangles name vertices -1 to 1 of 6"),
        ({"faces": np.zeros((0, 3), int)}, "the triangles' shape is (0, 3), not (F, 3)"),
        ({"faces": np.zeros((4, 4), int)}, "the triangles' shape is (4, 4), not (F, 3)"),
        ({"reference": np.full((6, 3), np.nan)}, "no vertex of the reference mesh is finite"),
    ],
)
def test_what_cannot_be_drawn_has_a_reason(
    meshes: Meshes, change: dict[str, Any], reason: str
) -> None:
    found = render(replace(meshes, **change))
    assert found.pictures == ()
    assert found.reason == reason


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os; os.abort()", "was ended by SIGABRT, as happens where OpenGL is not installed"),
        ("import os; os.kill(os.getpid(), 11)", "was ended by SIGSEGV"),
        ("raise ImportError('libGL.so.1')", "status 1; its last words: ImportError: libGL.so.1"),
        ("import sys; sys.exit('\\x1b[31m' + 'x' * 999)", "its last words: \\x1b[31mxxx"),
        ("pass", "wrote no pictures"),
        ("import sys; open(sys.argv[2], 'w').write('no zip')", "that cannot be read"),
        ("import time; time.sleep(60)", "was not done after 1 s"),
    ],
)
def test_a_renderer_that_dies_leaves_a_reason(meshes: Meshes, program: str, reason: str) -> None:
    found = render(meshes, timeout=1, command=[sys.executable, "-c", program])
    assert found.pictures == ()
    assert reason in found.reason
    assert found.reason.isprintable()
    assert len(found.reason) < 500


def test_a_renderer_that_cannot_start(meshes: Meshes) -> None:
    found = render(meshes, command=["/no/such/program"])
    assert found.reason == "the renderer could not be run: No such file or directory"


def test_the_renderer_works_beside_the_block_and_ends_with_it(
    meshes: Meshes, tmp_path: Path
) -> None:
    program = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
    begun = tmp_path / "begun"
    with rendering(meshes, command=[sys.executable, "-c", program, str(begun)]):
        for _ in range(200):
            if begun.exists() and begun.read_text():
                break
            time.sleep(0.05)
        child = int(begun.read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_the_official_demo_mesh(official: Path) -> None:
    vertices = load_mesh(official / "demo" / "predict.obj").vertices
    faces = obj_triangles(official / "template" / "face3.obj", len(vertices))
    found = render(Meshes(vertices, vertices, faces))
    assert found.reason == ""
    assert found.pictures[0].name == "meshes_view0"
