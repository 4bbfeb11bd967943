"""Writing a report's files into a folder: all of them or, on trouble, none."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from parity.verdict.result import Comparison, Verdict
from reports.figures.drawn import (
    DIFFERENCES,
    FIGURES,
    OTHER_FORMS,
    PAGE_FORM,
    difference_caption,
    draw_all,
    mesh_sketches,
    sketches,
)
from reports.figures.renderings import Finish, Renderings, rendering
from reports.meshes import Meshes, obj_text
from reports.page.html import Picture
from reports.page.page import PartPictures, report_page, summary_page
from reports.page.payload import payload
from reports.tables.comparison import csv_text, json_text, markdown_text
from reports.tables.summary import Part, summary_json, summary_markdown
from weight_conversion.atomic import staging

_RENDERINGS = ("meshes_view0", "meshes_oblique", "vertex_difference")
_SAMPLES = "samples.json"
_ROOM = 7_500_000
"""Bytes of samples in the page above several comparisons: with the plotting library and pictures
it stays below 15 MB."""

REPORT = "report.json"
"""The file that makes a report of the others: it leaves first and comes last."""
# Every file that a report may consist of. Those that a new report does without are removed, so
# that an older report's picture never stands beside a newer verdict.
_OURS = (
    "taps.csv",
    "report.md",
    "report.html",
    *(f"figures/{name}.{form}" for name in FIGURES for form in (PAGE_FORM, *OTHER_FORMS)),
    *(f"figures/{name}.{form}" for name in _RENDERINGS for form in OTHER_FORMS),
    "meshes/reference.obj",
    "meshes/candidate.obj",
    _SAMPLES,
    REPORT,
)


def result_files(*places: str) -> list[str]:
    """The files that reports in these folders may consist of, ``""`` being the folder itself."""
    return [str(Path(place, name)) for place in places for name in _OURS]


def write_report(
    comparison: Comparison,
    directory: Path,
    *,
    meshes: Meshes | None,
    commands: Sequence[str] = (),
    traces: tuple[Path, Path] | None = None,
    figures: bool = False,
    drawn: Finish | None = None,
) -> None:
    """Write ``comparison`` to ``directory``: JSON, CSV, Markdown, HTML, figures.

    Other files in ``directory`` are left alone.

    Args:
        comparison: what there is to tell.
        directory: the folder.
        meshes: the two sides' outputs, None where there are none.
        commands: the shell lines that make this report again.
        traces: the reference's and the candidate's, for the page's slices and histograms, which it
            does without if there are none.
        figures: whether every figure is also drawn as PNG and as PDF, and the meshes as PDF.
        drawn: the renderings of ``meshes``, where they are being drawn already.

    Raises:
        InputError: the folder cannot be written to, the disk is full, or a trace cannot be read;
            nothing is changed then.
    """
    files: dict[str, bytes] = {}
    with ExitStack() as stack:
        if meshes is not None and drawn is None:
            drawn = stack.enter_context(rendering(meshes))
        data = payload(comparison, meshes=meshes, traces=traces)
        wanted = sketches(comparison, data["samples"], figures)
        if figures and drawn is not None:
            wanted += mesh_sketches(drawn())
        pictures, links = [], []
        for sketch, forms in zip(wanted, draw_all(wanted), strict=True):
            for form, content in forms.items():
                files[f"figures/{sketch.name}.{form}"] = content
            if PAGE_FORM in forms:
                pictures.append(Picture(forms[PAGE_FORM], PAGE_FORM, sketch.caption))
                links.append((f"figures/{sketch.name}.{PAGE_FORM}", sketch.caption))
        shown = drawn() if drawn is not None else Renderings()
    if meshes is not None:
        files["meshes/reference.obj"] = obj_text(meshes.reference, meshes.faces).encode()
        files["meshes/candidate.obj"] = obj_text(meshes.candidate, meshes.faces).encode()
    for picture in shown.pictures:
        files[f"figures/{picture.name}.png"] = picture.png
        links.append((f"figures/{picture.name}.png", picture.caption))
    remarks = _remarks(meshes, shown)
    files["taps.csv"] = csv_text(comparison).encode("utf-8", "backslashreplace")
    files["report.md"] = markdown_text(
        comparison, pictures=links, remarks=remarks, commands=commands
    ).encode()
    renderings = [Picture(picture.png, "png", picture.caption) for picture in shown.pictures]
    parts = PartPictures(pictures, renderings, remarks, data)
    files[_SAMPLES] = json.dumps(data, allow_nan=False).encode()
    files["report.html"] = report_page(comparison, parts, commands=commands).encode()
    files[REPORT] = json_text(comparison.to_json()).encode()
    _put(directory, files, result_files(""))


def write_summary(
    parts: Sequence[Part],
    directory: Path,
    *,
    title: str = "Pixel2Mesh++: PyTorch against TensorFlow",
    commands: Sequence[str] = (),
) -> None:
    """Write ``report.json``, ``.md`` and ``.html`` above the parts' own reports.

    The parts' reports must have been written before: their pictures are shown again here.

    Raises:
        InputError: the folder cannot be written to, or the disk is full; nothing is changed then.
    """
    data = _written_samples(directory, parts)
    pictures = [
        PartPictures(
            _written_figures(directory, part), _written_renderings(directory, part), (), data[place]
        )
        for place, part in enumerate(parts)
    ]
    _put(
        directory,
        {
            "report.md": summary_markdown(parts, title=title, commands=commands).encode(),
            "report.html": summary_page(parts, pictures, title=title, commands=commands).encode(),
            REPORT: json_text(summary_json(parts)).encode(),
        },
    )


def _remarks(meshes: Meshes | None, shown: Renderings) -> list[str]:
    if meshes is None:
        return ["The traces hold no output mesh of both sides, so there is none to show."]
    remarks = []
    if shown.reason:
        remarks.append(f"No rendering: {shown.reason}.")
    remarks.append(
        "The meshes themselves are in meshes/reference.obj and meshes/candidate.obj "
        f"({meshes.unit})."
    )
    return remarks


def _written_figures(directory: Path, part: Part) -> list[Picture]:
    with suppress(OSError):
        path = directory / part.link / "figures" / f"{DIFFERENCES}.{PAGE_FORM}"
        return [Picture(path.read_bytes(), PAGE_FORM, difference_caption("tap"))]
    return []


def _written_renderings(directory: Path, part: Part) -> list[Picture]:
    captions = {
        "meshes_oblique": f"{part.label}: reference and candidate from an oblique view.",
        "vertex_difference": f"{part.label}: how far each vertex moved between the sides.",
    }
    pictures = []
    for name, caption in captions.items():
        with suppress(OSError):
            content = (directory / part.link / "figures" / f"{name}.png").read_bytes()
            pictures.append(Picture(content, "png", caption))
    return pictures


def _written_samples(directory: Path, parts: Sequence[Part]) -> list[dict[str, Any] | None]:
    """What the parts' own pages show, as far as there is room, those that differ first.

    None where that was not written, or where a part's own page must do.
    """
    found: list[dict[str, Any] | None] = [None] * len(parts)
    room = _ROOM
    order = sorted(range(len(parts)), key=lambda place: _urgency(parts[place]))
    for place in order:
        path = directory / parts[place].link / _SAMPLES
        with suppress(OSError):
            if path.stat().st_size <= room:
                text = path.read_text(encoding="utf-8")
                room -= len(text)
                found[place] = json.loads(text)
    return found


def _urgency(part: Part) -> int:
    return [Verdict.DIFFER, Verdict.INVALID, Verdict.AGREE].index(part.comparison.verdict)


def _put(directory: Path, files: Mapping[str, bytes], replaces: Sequence[str] = ()) -> None:
    """Put every file in place, once all are written; ``report.json`` last of all."""
    with staging(directory, replaces, REPORT) as folder:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
