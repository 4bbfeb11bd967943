from collections.abc import Callable
from pathlib import Path

from parity.verdict.result import Comparison
from reports.figures.differences import image
from reports.figures.roundings import has_roundings, roundings_figure
from reports.write import write_report

Planted = Callable[[str], Comparison]


def test_only_a_judge_with_roundings_has_the_figure(planted: Planted, judged: Comparison) -> None:
    assert not has_roundings(planted("differ"))
    assert has_roundings(judged)


def test_every_number_is_in_the_figure(judged: Comparison) -> None:
    upper, lower = roundings_figure(judged).axes
    heights = [
        float(height) for points in upper.collections for _, height in points.get_offsets().data
    ]
    assert heights.count(5e4) == 1
    assert heights.count(3.0) == len(judged.taps) - 1
    assert heights.count(2.5) == len(judged.taps)
    assert heights.count(0.01) == len(judged.taps)  # none at all, drawn at the floor
    assert len(heights) == 4 * len(judged.taps) - 1  # what is infinite has no place
    handed_down = max(lower.get_lines(), key=lambda line: max(line.get_ydata(), default=0))
    assert len(handed_down.get_xdata()) == len(judged.taps) - 22


def test_it_is_written_and_removed_with_its_report(
    planted: Planted, judged: Comparison, tmp_path: Path
) -> None:
    write_report(judged, tmp_path, meshes=None)
    figure = tmp_path / "figures" / "roundings_by_tap.svg"
    assert figure.exists()
    assert "own error (roundings)" in (tmp_path / "report.html").read_text()
    row = (tmp_path / "taps.csv").read_text().splitlines()[22]
    assert ",50000.0,2.5,inf," in row
    write_report(planted("agree"), tmp_path, meshes=None)
    assert not figure.exists()


def test_twice_the_same_picture(judged: Comparison) -> None:
    assert image(roundings_figure(judged), "pdf") == image(roundings_figure(judged), "pdf")
