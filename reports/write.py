"""Writing a report's files into a folder: all of them or, on trouble, none."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from parity.verdict.result import Comparison, Verdict
from reports.figures import flips as flips_figure
from reports.figures import ulps as ulps_figure
from reports.figures.differences import difference_figure, image
from reports.figures.renderings import Renderings, render
from reports.figures.roundings import has_roundings, roundings_figure
from reports.meshes import Meshes, obj_text
from reports.page.html import Picture
from reports.page.page import PartPictures, report_page, summary_page
from reports.page.payload import payload
from reports.tables.comparison import csv_text, json_text, markdown_text
from reports.tables.summary import Part, summary_json, summary_markdown
from weight_conversion.atomic import replacing
from weight_conversion.errors import InputError

_FIGURES = (
    "difference_by_tap", "difference_by_gradient", "roundings_by_tap", "ulps_by_tap",
    "decisions_by_tap",
)  # fmt: skip
_RENDERINGS = ("meshes_view0", "meshes_oblique", "vertex_difference")
_SAMPLES = "samples.json"
_ROOM = 7_500_000
"""Bytes of samples in the page above several comparisons: with the plotting library and pictures
it stays below 15 MB."""

# Every file that a report may consist of. Those that this report does without are removed, so
# that an older report's picture never stands beside a newer verdict.
_OURS = (
    "taps.csv",
    "report.md",
    "report.html",
    *(f"figures/{name}.{form}" for name in _FIGURES for form in ("png", "pdf")),
    *(f"figures/{name}.{form}" for name in _RENDERINGS for form in ("png", "pdf")),
    "meshes/reference.obj",
    "meshes/candidate.obj",
    _SAMPLES,
    "report.json",
)


def write_report(
    comparison: Comparison,
    directory: Path,
    *,
    meshes: Meshes | None,
    commands: Sequence[str] = (),
    traces: tuple[Path, Path] | None = None,
) -> None:
    """Write ``comparison`` to ``directory`` in every form: JSON, CSV, Markdown, HTML, figures.

    ``meshes`` are the two sides' outputs, None where there are none; ``commands`` are the shell
    lines that make this report again; ``traces`` are the reference's and the candidate's, for the
    page's slices and histograms, which it does without if there are none. Other files in
    ``directory`` are left alone.

    Raises:
        InputError: the folder cannot be written to, the disk is full, or a trace cannot be read;
            nothing is changed then.
    """
    files: dict[str, bytes] = {}
    data = payload(comparison, meshes=meshes, traces=traces)
    figures, links = _figures(comparison, data["samples"], files)
    drawn = render(meshes) if meshes is not None else Renderings()
    if meshes is not None:
        files["meshes/reference.obj"] = obj_text(meshes.reference, meshes.faces).encode()
        files["meshes/candidate.obj"] = obj_text(meshes.candidate, meshes.faces).encode()
    for picture in drawn.pictures:
        files[f"figures/{picture.name}.png"] = picture.png
        files[f"figures/{picture.name}.pdf"] = picture.pdf
        links.append((f"figures/{picture.name}.png", picture.caption))
    remarks = _remarks(meshes, drawn)
    files["taps.csv"] = csv_text(comparison).encode("utf-8", "backslashreplace")
    files["report.md"] = markdown_text(
        comparison, pictures=links, remarks=remarks, commands=commands
    ).encode()
    pictures = PartPictures(
        figures,
        [Picture(shown.png, "png", shown.caption) for shown in drawn.pictures],
        remarks,
        data,
    )
    files[_SAMPLES] = json.dumps(data, allow_nan=False).encode()
    files["report.html"] = report_page(comparison, pictures, commands=commands).encode()
    files["report.json"] = json_text(comparison.to_json()).encode()
    _replace(directory, files)


def write_summary(
    parts: Sequence[Part],
    directory: Path,
    *,
    title: str = "Pixel2Mesh++: PyTorch against TensorFlow",
    commands: Sequence[str] = (),
) -> None:
    """Write ``report.json``, ``.md`` and ``.html`` above the parts' own reports.

    The parts' reports must have been written before: their renderings are shown again here.

    Raises:
        InputError: the folder cannot be written to, or the disk is full; nothing is changed then.
    """
    data = _written_samples(directory, parts)
    pictures = [
        PartPictures(
            [
                Picture(
                    image(difference_figure(part.comparison, part.comparison.taps, "tap"), "svg"),
                    "svg",
                    _caption("tap"),
                )
            ],
            _written_renderings(directory, part),
            (),
            data[place],
        )
        for place, part in enumerate(parts)
    ]
    _replace(
        directory,
        {
            "report.md": summary_markdown(parts, title=title, commands=commands).encode(),
            "report.html": summary_page(parts, pictures, title=title, commands=commands).encode(),
            "report.json": json_text(summary_json(parts)).encode(),
        },
        ours=(),
    )


def _figures(
    comparison: Comparison, samples: Sequence[Any], files: dict[str, bytes]
) -> tuple[list[Picture], list[tuple[str, str]]]:
    """Draw the figures into ``files``; return them for the page and as links with captions."""
    pictures, links = [], []
    kinds = [(_FIGURES[0], comparison.taps, "tap")]
    if comparison.losses or comparison.gradients:
        kinds.append((_FIGURES[1], comparison.losses + comparison.gradients, "loss and gradient"))
    drawn = [
        (name, difference_figure(comparison, entries, noun), _caption(noun))
        for name, entries, noun in kinds
    ]
    if has_roundings(comparison):
        drawn.append((_FIGURES[2], roundings_figure(comparison), _ROUNDINGS))
    counts = ulps_figure.ulp_counts(samples)
    if counts is not None:
        figure = ulps_figure.ulps_figure(comparison, counts)
        drawn.append((_FIGURES[3], figure, ulps_figure.CAPTION))
    if flips_figure.decision_counts(comparison):
        figure = flips_figure.flips_figure(comparison)
        drawn.append((_FIGURES[4], figure, flips_figure.CAPTION))
    for name, figure, caption in drawn:
        for form in ("png", "pdf"):
            files[f"figures/{name}.{form}"] = image(figure, form)
        pictures.append(Picture(image(figure, "svg"), "svg", caption))
        links.append((f"figures/{name}.png", caption))
    return pictures, links


_ROUNDINGS = (
    "Above, the greatest error that arises in each layer on its own inputs, in roundings of the "
    "precision, and how many are admitted; below, the two parts of the difference over the "
    "reference's greatest magnitude: what arises in the layer, and what it was handed down."
)


def _caption(noun: str) -> str:
    return (
        f"Difference by {noun}, numbered as in the table: the greatest difference over the "
        "reference's greatest magnitude (filled) and the RMS of the difference over the RMS of "
        "the reference (hollow), on a logarithmic scale."
    )


def _remarks(meshes: Meshes | None, drawn: Renderings) -> list[str]:
    if meshes is None:
        return ["The traces hold no output mesh of both sides, so there is none to show."]
    remarks = []
    if drawn.reason:
        remarks.append(f"No rendering: {drawn.reason}.")
    remarks.append(
        "The meshes themselves are in meshes/reference.obj and meshes/candidate.obj "
        f"({meshes.unit})."
    )
    return remarks


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


def _replace(directory: Path, files: Mapping[str, bytes], *, ours: Sequence[str] = _OURS) -> None:
    """Put every file in place, once all are written; ``report.json`` last of all."""
    for name in {*files, *ours}:
        if (directory / name).is_dir():
            raise InputError(directory / name, "a folder", "a file to replace, or nothing")
    with ExitStack() as stack:
        # The stack unwinds backwards: the first one entered is the last one replaced.
        for name in sorted(files, key=lambda name: name != "report.json"):
            stack.enter_context(replacing(directory / name)).write_bytes(files[name])
    for name in ours:
        if name not in files:
            try:
                (directory / name).unlink(missing_ok=True)
            except NotADirectoryError:
                continue  # "meshes" is someone else's file, then there is no mesh of ours
            except OSError as error:
                why = error.strerror or str(error)
                raise InputError(directory / name, why, "an old file to remove") from error
