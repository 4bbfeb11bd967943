"""What ``compare`` does."""

from contextlib import ExitStack
from pathlib import Path

from commands.console import print_json, steps
from commands.reporting import drawing_meshes, show, write
from parity.traces.networks import command_line
from parity.traces.probe import probe
from parity.verdict.compare import compare
from reports.write import REPORT, result_files
from weight_conversion.atomic import staging


def perform(
    reference: Path,
    candidate: Path,
    taps: str,
    unmatched: dict[str, str],
    out: Path | None,
    figures: bool,
    as_json: bool,
) -> int:
    """Compare the traces REFERENCE and CANDIDATE."""
    with ExitStack() as stack:
        stack.enter_context(stack.enter_context(steps()).task("comparing"))
        probe(reference, candidate)
        if out is not None:
            drawn = stack.enter_context(drawing_meshes(reference, candidate))
        comparison = compare(reference, candidate, taps=taps, unmatched=unmatched)
        if out is not None:
            folder = stack.enter_context(staging(out, result_files(""), REPORT))
            write(
                comparison, folder, reference, candidate, again(reference, candidate),
                figures=figures, drawn=drawn,
            )  # fmt: skip
    if as_json:
        print_json(comparison.to_json())
    else:
        show(comparison, out)
    return comparison.verdict.exit_status


def again(reference: Path, candidate: Path) -> list[str]:
    """The command that repeats the comparison."""
    return [command_line("compare", reference, candidate)]
