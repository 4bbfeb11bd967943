"""What a comparison says in words: the verdict in a sentence, one tap in a few lines."""

import glob
import math
from collections import Counter

from parity.traces.networks import command_line
from parity.verdict.result import Comparison, Status, TapResult, Verdict
from reports import wording


def label(comparison: Comparison, entry: TapResult) -> str:
    """The name that ``first_divergence`` uses: the tap, ``losses/T`` or ``gradients/KEY``."""
    for section, entries in (("losses", comparison.losses), ("gradients", comparison.gradients)):
        if any(entry is other for other in entries) and not entry.tap.startswith(f"{section}/"):
            return f"{section}/{entry.tap}"
    return entry.tap


def find(comparison: Comparison, name: str | None) -> TapResult | None:
    """The entry that ``first_divergence`` names; None where there is none of that name."""
    if name is None:
        return None
    return next((entry for entry in comparison.entries if label(comparison, entry) == name), None)


def tally(entries: tuple[TapResult, ...]) -> str:
    """How many entries have each status: "80 agree, 4 rounding, 2 flip"."""
    counts = Counter(entry.status for entry in entries)
    return ", ".join(f"{counts[status]} {status.value}" for status in Status if counts[status])


def basis(comparison: Comparison) -> str:
    """What the verdict rests on, in words."""
    alone = "each layer alone on what the runs recorded"
    own = comparison.candidate.dtype
    if comparison.basis != "float64":
        return f"{alone}, in {wording.printable(comparison.basis)} alone"
    return f"{alone}, in float64" + (
        "" if own == "float64" else f" and in {wording.printable(own)}"
    )


def sentence(comparison: Comparison) -> str:
    """The verdict in one line, with the reason for it."""
    stage = wording.printable(comparison.stage)
    compared = f"{wording.counted(comparison.compared, 'tap')} compared"
    if comparison.vertices is not None:
        compared += f" {wording.at_vertices(comparison.vertices)}"
    if comparison.taps:
        compared += f": {tally(comparison.taps)}"
    for entries, noun in ((comparison.losses, "loss"), (comparison.gradients, "gradient")):
        if entries:
            compared += f"; {wording.counted(len(entries), noun)}: {tally(entries)}"
    if comparison.step_summaries:
        counts = sum((Counter(step.statuses) for step in comparison.step_summaries), Counter[str]())
        told = ", ".join(f"{count} {status}" for status, count in counts.items())
        number = wording.counted(len(comparison.step_summaries), "training step")
        compared += f"; {number}: {told}"
    return f"{stage}: {comparison.verdict.value}{_reason(comparison)} ({compared})"


def _reason(comparison: Comparison) -> str:
    if comparison.verdict is Verdict.DIFFER and comparison.first_divergence is not None:
        return f", first at {wording.printable(comparison.first_divergence)}"
    if comparison.verdict is Verdict.INVALID:
        if comparison.compared == 0:
            return ", nothing was compared"
        if comparison.missing:
            several = len(comparison.missing) > 1
            return (
                f", {wording.counted(len(comparison.missing), 'tap')} {'are' if several else 'is'}"
                f" in one trace only ({wording.listed(comparison.missing)})"
            )
        broken = tuple(
            label(comparison, entry)
            for entry in comparison.entries
            if entry.status is Status.INVALID
        )
        if broken:
            return f", could not judge {wording.listed(broken)}"
    if comparison.verdict is not Verdict.AGREE and comparison.notes:
        return f", {wording.printable(comparison.notes[0])}"
    return ""


def message(comparison: Comparison, tap: TapResult | str) -> str:
    """Everything to act on about one tap, loss or gradient, in a few lines.

    ``tap`` is an entry of ``comparison`` or its name as ``first_divergence`` gives it.

    Raises:
        KeyError: ``comparison`` holds no entry of that name.
    """
    entry = find(comparison, tap) if isinstance(tap, str) else tap
    if entry is None:
        raise KeyError(tap)
    name = wording.printable(label(comparison, entry))
    # A missing entry has no dtype, and its empty shape is not that of a scalar.
    kind = f"  {_tuple(entry.shape)} {wording.printable(entry.dtype)}" if entry.dtype else ""
    lines = [f"{name}  {entry.status.value}{kind}"]
    lines += [f"  {line}" for line in _findings(comparison, entry)]
    lines.append(f"  {_place(comparison, entry)}")
    kept = comparison.reference.path and comparison.candidate.path
    if kept and not any(entry is other for other in comparison.steps):
        # A step is in no trace, and traces may not be kept: the run is what repeats it.
        lines.append(f"  again: {again(comparison, entry)}")
    return "\n".join(lines)


def _tuple(shape: tuple[int, ...]) -> str:
    return f"({', '.join(str(size) for size in shape)})" if shape else "scalar"


def _findings(comparison: Comparison, entry: TapResult) -> list[str]:
    lines = []
    if entry.max_abs == 0:
        lines.append(f"identical in all {wording.counted(entry.size, 'element')}")
    elif entry.max_abs is not None:
        share = wording.share(entry.mismatched, entry.size)
        place = f" at {wording.index(entry.at)}" if entry.at else ""
        # Where a whole is judged as one nobody counts what lies beyond its limit.
        counted = entry.mismatched or (
            entry.roundings_limit is not None and entry.status is not Status.DIFFER
        )
        count = f"mismatched {entry.mismatched} of {entry.size} ({share}), " if counted else ""
        lines.append(
            f"{count}greatest |Δ| {wording.difference(entry.max_abs)}{place}: "
            f"{_both(comparison, entry)}"
        )
        lines += _roundings(entry)
        if entry.max_rel is not None and math.isfinite(entry.max_rel) and entry.limit is not None:
            lines.append(
                f"that is {wording.difference(entry.max_rel)} of the reference's greatest "
                f"magnitude, held against {wording.difference(entry.limit)}"
            )
    elif not entry.note:
        lines.append("no values to hold against each other")
    if entry.note:
        lines.append(wording.printable(entry.note))
    return lines


def _roundings(entry: TapResult) -> list[str]:
    """What the layer's own error is, where the verdict measured it."""
    numbers = {
        name: (getattr(entry, field), getattr(entry, f"{field}_reference"))
        for name, field in (("own precision", "local_roundings"), ("float64", "float64_roundings"))
    }
    found = [
        f"{wording.quantity(candidate)} in {name} (the reference's {wording.quantity(reference)})"
        for name, (candidate, reference) in numbers.items()
        if candidate is not None
    ]
    if not found:
        return []
    admitted = wording.quantity(entry.roundings_limit)
    lines = [f"the layer's own error in roundings: {', '.join(found)}; {admitted} are admitted"]
    if entry.rms_roundings is not None:
        lines.append(
            f"in the root mean square {wording.quantity(entry.rms_roundings)} roundings, of "
            f"{wording.quantity(entry.rms_roundings_limit)} admitted"
        )
    return lines


def _both(comparison: Comparison, entry: TapResult) -> str:
    reference, candidate = wording.pair(entry.reference, entry.candidate, entry.dtype)
    names = comparison.reference.backend, comparison.candidate.backend
    if names[0] == names[1]:
        names = "reference", "candidate"
    return f"{wording.printable(names[1])} {candidate}, {wording.printable(names[0])} {reference}"


def _place(comparison: Comparison, entry: TapResult) -> str:
    """Where the entry stands: after how many that agree, and before or after the divergence."""
    earlier = []
    for other in comparison.entries:
        if other is entry:
            break
        earlier.append(other)
    if not earlier:
        where = "nothing comes before it"
    else:
        agreeing = sum(other.status is Status.AGREE for other in earlier)
        noun = "tap" if len(earlier) <= len(comparison.taps) else "entry"
        plural = noun if len(earlier) == 1 else {"tap": "taps", "entry": "entries"}[noun]
        if agreeing == len(earlier):
            where = f"{agreeing} earlier {plural} {'agrees' if agreeing == 1 else 'agree'}"
        else:
            where = f"{len(earlier)} earlier {plural}: {tally(tuple(earlier))}"
    first = comparison.first_divergence
    if first is None:
        return f"{where}; nothing diverges" if comparison.verdict is Verdict.AGREE else where
    if find(comparison, first) is entry:
        return f"{where}: the first divergence is here"
    return f"{where}; the first divergence is {wording.printable(first)}"


def again(comparison: Comparison, entry: TapResult) -> str:
    """The command that compares this tap alone, ready to paste into a shell."""
    traces = comparison.reference.path, comparison.candidate.path
    taps = glob.escape(label(comparison, entry))
    return wording.spelled_out(command_line("compare", *traces, "--taps", taps))
