import base64
import errno
import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from parity.verdict.result import Comparison
from reports import write
from reports.figures import drawn as drawn_figures
from reports.figures.drawn import Sketch, draw_all
from reports.figures.renderings import Plate, Rendering, Renderings, panels
from reports.figures.scene import VIEW_0, vertex_distance
from reports.meshes import Meshes
from reports.tables.summary import Part
from reports.write import write_report, write_summary
from weight_conversion.errors import InputError

Planted = Callable[[str], Comparison]

ALWAYS = {
    "report.json",
    "report.md",
    "report.html",
    "taps.csv",
    "samples.json",
    "figures/difference_by_tap.svg",
}
RENDERINGS = ("meshes_view0", "meshes_oblique", "vertex_difference")
WITH_MESHES = {
    "meshes/reference.obj",
    "meshes/candidate.obj",
    *(f"figures/{name}.png" for name in RENDERINGS),
}


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files(folder)}


@pytest.fixture
def drawn(meshes: Meshes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures without a renderer."""
    pictures = tuple(Rendering(name, b"\x89PNG " + name.encode(), name) for name in RENDERINGS)
    request = panels(meshes, {"view0": VIEW_0}, vertex_distance(meshes)[0])
    plate = Plate(RENDERINGS[0], "", 4.25, (("view0_reference", "reference"),))
    found = Renderings(pictures, request=request, plates=(plate,))
    monkeypatch.setattr(write, "rendering", lambda _: nullcontext(lambda: found))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures that take no time, where only the files matter."""
    monkeypatch.setattr(drawn_figures, "image", lambda _, form: f"a {form}".encode())


def test_everything_is_written_in_every_state(each: Comparison, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    write_report(each, folder, meshes=None, commands=["p2m-parity compare"])
    extra = set()
    if each.losses:
        extra = {"figures/difference_by_gradient.svg"}
    judged = any(tap.local_roundings is not None for tap in each.taps)
    if any(tap.decisions for tap in each.taps):
        extra.add("figures/decisions_by_tap.svg")
    if judged:
        extra.add("figures/roundings_by_tap.svg")
    assert files(folder) == ALWAYS | extra
    # All forms tell the same.
    assert json.loads((folder / "report.json").read_text()) == each.to_json()
    verdict = f"{each.stage}: {each.verdict.value}"
    assert verdict in (folder / "report.html").read_text()
    assert verdict in (folder / "report.md").read_text().replace("`", "")


def test_with_meshes(planted: Planted, meshes: Meshes, tmp_path: Path) -> None:
    write_report(planted("agree"), tmp_path, meshes=meshes)
    assert files(tmp_path) == ALWAYS | WITH_MESHES
    assert (tmp_path / "meshes/reference.obj").read_text().startswith("v 0.2")
    page = (tmp_path / "report.html").read_text()
    assert page.count('<img src="data:image/png;base64,') == 3
    assert "No rendering" not in page


@pytest.mark.usefixtures("drawn")
def test_every_form_is_drawn_where_it_is_asked_for(
    planted: Planted, meshes: Meshes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # draws here, beside no other process
    comparison = planted("differ")
    write_report(comparison, tmp_path, meshes=meshes, figures=True)
    more = {"figures/difference_by_tap.png", "figures/difference_by_tap.pdf"}
    more.add("figures/meshes_view0.pdf")
    assert files(tmp_path) == ALWAYS | WITH_MESHES | more
    for name in more:
        begins = b"%PDF" if name.endswith("pdf") else b"\x89PNG"
        assert (tmp_path / name).read_bytes().startswith(begins)
    # Those of an earlier report do not stand beside a newer verdict.
    write_report(comparison, tmp_path, meshes=meshes)
    assert files(tmp_path) == ALWAYS | WITH_MESHES


def empty_figure(size: float) -> Figure:
    figure = Figure(figsize=(size, size))
    FigureCanvasAgg(figure)
    return figure


def test_processes_beside_each_other_draw_what_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    forms = ("svg", "png", "pdf")
    wanted = [Sketch(name, "", partial(empty_figure, size), forms)
              for name, size in (("a", 1.0), ("b", 2.0))]  # fmt: skip
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert draw_all(wanted) == [sketch.files() for sketch in wanted]


def test_no_figure_is_drawn_twice(
    planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    files_of = Sketch.files
    monkeypatch.setattr(
        Sketch, "files", lambda sketch: names.append(sketch.name) or files_of(sketch)
    )
    for stage in ("agree", "refine"):
        write_report(planted(stage), tmp_path / stage, meshes=None)
    parts = [Part(stage, planted(stage), stage) for stage in ("agree", "refine")]
    write_summary(parts, tmp_path)
    assert names == ["difference_by_tap", "difference_by_tap", "decisions_by_tap"]
    page = (tmp_path / "report.html").read_text()
    for part in parts:
        svg = (tmp_path / part.link / "figures/difference_by_tap.svg").read_bytes()
        assert base64.b64encode(svg).decode() in page


@pytest.mark.usefixtures("quick")
def test_above_several_comparisons_stands_at_how_many_vertices_each_was_judged(
    planted: Planted, tmp_path: Path
) -> None:
    some = replace(planted("refine"), vertices=(276, 2466))
    write_summary([Part("whole", planted("agree"), ""), Part("some", some, "")], tmp_path)
    found = json.loads((tmp_path / "report.json").read_text())
    assert [part["vertices"] for part in found["parts"]] == [None, [276, 2466]]
    for name in ("report.md", "report.html"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert f"{some.compared} at 276 of 2,466 vertices" in text


@pytest.mark.usefixtures("quick")
def test_without_a_renderer_the_report_says_why(
    planted: Planted, meshes: Meshes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "the renderer (VTK) was ended by SIGSEGV, as happens where OpenGL is not installed"
    monkeypatch.setattr(write, "rendering", lambda _: nullcontext(lambda: Renderings((), reason)))
    write_report(planted("agree"), tmp_path, meshes=meshes)
    assert files(tmp_path) == ALWAYS | {"meshes/reference.obj", "meshes/candidate.obj"}
    for name in ("report.html", "report.md"):
        assert f"No rendering: {reason}." in (tmp_path / name).read_text()


@pytest.mark.usefixtures("quick")
def test_meshes_that_do_not_fit_are_written_all_the_same(
    planted: Planted, meshes: Meshes, tmp_path: Path
) -> None:
    candidate = np.full((4, 3), np.nan, np.float32)
    write_report(planted("agree"), tmp_path, meshes=replace(meshes, candidate=candidate))
    assert "shapes differ: (6, 3) and (4, 3)" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "meshes/candidate.obj").read_text().startswith("v nan nan nan\n")


@pytest.mark.usefixtures("drawn", "quick")
def test_old_pictures_go_and_other_files_stay(
    planted: Planted, meshes: Meshes, tmp_path: Path
) -> None:
    for name in ("reference.h5", "figures/mine.png", "notes/a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    write_report(planted("trained"), tmp_path, meshes=meshes)
    assert (tmp_path / "figures/difference_by_gradient.svg").exists()
    write_report(planted("differ"), tmp_path, meshes=None)
    assert files(tmp_path) == ALWAYS | {"reference.h5", "figures/mine.png", "notes/a.txt"}


@pytest.mark.usefixtures("drawn")
def test_twice_the_same_bytes(planted: Planted, meshes: Meshes, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_report(planted("flips"), tmp_path / name, meshes=meshes, commands=["x"])
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("good_writes", [0, 1, 3, 5])
def test_a_full_disk_leaves_the_old_report_whole(
    planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good_writes: int
) -> None:
    write_report(planted("agree"), tmp_path, meshes=None)
    before = contents(tmp_path)
    written = 0

    def full(path: Path, content: bytes) -> int:
        nonlocal written
        written += 1
        if written > good_writes:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        with path.open("wb") as stream:
            return stream.write(content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="No space left on device; expected room to write it"):
        write_report(planted("differ"), tmp_path, meshes=None)
    assert contents(tmp_path) == before


@pytest.mark.usefixtures("quick")
def test_a_folder_that_is_a_file(planted: Planted, tmp_path: Path) -> None:
    target = tmp_path / "report"
    target.write_text("mine")
    with pytest.raises(InputError, match="report"):
        write_report(planted("agree"), target, meshes=None)
    assert target.read_text() == "mine"


@pytest.mark.usefixtures("quick")
def test_a_folder_where_a_file_belongs(planted: Planted, tmp_path: Path) -> None:
    (tmp_path / "report.md").mkdir()
    with pytest.raises(InputError, match=r"report\.md: a folder; expected a file to replace"):
        write_report(planted("agree"), tmp_path, meshes=None)
    assert files(tmp_path) == set()


@pytest.mark.usefixtures("drawn")
def test_summary_above_the_parts(planted: Planted, meshes: Meshes, tmp_path: Path) -> None:
    parts = [
        Part("plane, coarse", planted("agree"), "plane/coarse"),
        Part("plane, refine", planted("refine"), "plane/refine"),
    ]
    write_report(parts[0].comparison, tmp_path / "plane/coarse", meshes=meshes)
    write_report(parts[1].comparison, tmp_path / "plane/refine", meshes=None)
    before = contents(tmp_path)
    write_summary(parts, tmp_path, title="demo", commands=["p2m-parity demo"])
    after = contents(tmp_path)
    assert {name for name in after if name not in before} == {
        "report.json",
        "report.md",
        "report.html",
    }
    assert {name: after[name] for name in before} == before
    page = after["report.html"].decode()
    assert page.count("data:image/svg+xml;base64,") == 2
    assert (
        page.count('<img src="data:image/png;base64,') == 2
    )  # the coarse part's, read from its report
    for part in parts:
        assert f'href="{part.link}/report.html"' in page
        assert (tmp_path / part.link / "report.html").exists()
    assert json.loads(after["report.json"])["verdict"] == "agree"
