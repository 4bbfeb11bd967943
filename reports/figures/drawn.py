"""The figures of a report: which there are, each drawn once for all the forms that are wanted."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from parity.verdict.result import Comparison
from reports.figures import flips, roundings, ulps
from reports.figures.differences import difference_figure, image
from reports.figures.renderings import Renderings, polygons_figure

DIFFERENCES = "difference_by_tap"
"""The figure that stands for a comparison among others."""
FIGURES = (
    DIFFERENCES,
    "difference_by_gradient",
    "roundings_by_tap",
    "ulps_by_tap",
    "decisions_by_tap",
)
PAGE_FORM = "svg"
"""What the page shows, and the only form that is drawn where no other was asked for."""
OTHER_FORMS = ("png", "pdf")


@dataclass(frozen=True)
class Sketch:
    """A figure that is not drawn yet.

    Attributes:
        name: the file's stem.
        caption: what it shows.
        draw: makes the figure; it can be handed to another process.
        forms: the files' endings.
    """

    name: str
    caption: str
    draw: Callable[[], Figure]
    forms: tuple[str, ...]

    def files(self) -> dict[str, bytes]:
        """The figure as a file in each of its forms."""
        figure = self.draw()
        return {form: image(figure, form) for form in self.forms}


def sketches(comparison: Comparison, samples: Sequence[Any], every_form: bool) -> list[Sketch]:
    """The figures of a comparison, as far as it has what they show.

    ``samples`` are those of ``reports.page.payload``. Without ``every_form`` they are drawn for the
    page alone.
    """
    forms = (PAGE_FORM, *OTHER_FORMS) if every_form else (PAGE_FORM,)
    found = [
        Sketch(
            FIGURES[0],
            difference_caption("tap"),
            partial(difference_figure, comparison, comparison.taps, "tap"),
            forms,
        )
    ]
    if entries := comparison.losses + comparison.gradients:
        noun = "loss and gradient"
        draw = partial(difference_figure, comparison, entries, noun)
        found.append(Sketch(FIGURES[1], difference_caption(noun), draw, forms))
    if roundings.has_roundings(comparison):
        draw = partial(roundings.roundings_figure, comparison)
        found.append(Sketch(FIGURES[2], roundings.CAPTION, draw, forms))
    if (counts := ulps.ulp_counts(samples)) is not None:
        draw = partial(ulps.ulps_figure, comparison, counts)
        found.append(Sketch(FIGURES[3], ulps.CAPTION, draw, forms))
    if flips.decision_counts(comparison):
        draw = partial(flips.flips_figure, comparison)
        found.append(Sketch(FIGURES[4], flips.CAPTION, draw, forms))
    return found


def mesh_sketches(drawn: Renderings) -> list[Sketch]:
    """The renderings of the meshes once more, as polygons."""
    return [
        Sketch(plate.name, plate.caption, partial(polygons_figure, plate, drawn.request), ("pdf",))
        for plate in drawn.plates
    ]


def difference_caption(noun: str) -> str:
    """What a figure of differences shows; ``noun`` is what it has a column for."""
    return (
        f"Difference by {noun}, numbered as in the table: the greatest difference over the "
        "reference's greatest magnitude (filled) and the RMS of the difference over the RMS of "
        "the reference (hollow), on a logarithmic scale."
    )


def draw_all(wanted: Sequence[Sketch]) -> list[dict[str, bytes]]:
    """Each figure's files by form. Where several forms are wanted, a process a core draws them."""
    workers = min(os.cpu_count() or 1, len(wanted))
    if workers < 2 or sum(len(sketch.forms) for sketch in wanted) <= len(FIGURES):
        # Starting a process and importing Matplotlib there takes longer than one form of them all.
        return [sketch.files() for sketch in wanted]
    context = multiprocessing.get_context("spawn")  # a fork would copy threads that hold locks
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        # What takes longest is begun first: polygons of meshes, which are last.
        order = range(len(wanted) - 1, -1, -1)
        found = dict(zip(order, pool.map(Sketch.files, (wanted[i] for i in order)), strict=True))
    return [found[place] for place in range(len(wanted))]
