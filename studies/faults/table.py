"""The outcome as text: a summary, and one row a fault and a variation, as Markdown and CSV."""

import csv
import io

from studies.faults.outcome import FaultOutcome, HarmlessOutcome, Outcome, proof

_FAULT_COLUMNS = ("id", "part", "operand", "shows in", "probe", "found", "first divergence",
                  "expected", "operand named", "what is done")  # fmt: skip
_HARMLESS_COLUMNS = ("id", "kind", "verdict", "what is done")


def summary(outcome: Outcome) -> list[str]:
    """Lines that a person reads first."""
    reaching, real = len(outcome.reaching), len(outcome.real)
    tried = [each for each in outcome.harmless if each.judged]
    lines = [
        f"found: {_of(outcome.recall, real)} faults",
        f"located exactly: {_of(outcome.localised_exactly, reaching)} that reach a tap, a loss, a "
        "gradient or a step",
        f"operand named right: {_of(outcome.operands_right, reaching)} of these; "
        + ", ".join(f"{kind} {len(names)}" for kind, names in outcome.naming.items()),
        f"false alarms: {len(outcome.false_alarms)} of {len(tried)} harmless variations and "
        f"{len(outcome.equivalent)} equivalent faults",
    ]
    for title, names in (("missed", outcome.missed), ("false alarms", outcome.false_alarms)):
        if names:
            lines.append(f"{title}: {', '.join(names)}")
    for kind, names in outcome.naming.items():
        if names and kind not in ("confirmed", "hinted"):
            lines.append(f"operand {kind}: {', '.join(names)}")
    for each in outcome.elsewhere:
        lines.append(f"found elsewhere: {each.fault.id}, {_shown(each.worst.first_divergence)} "
                     f"instead of {_expected(each)}")  # fmt: skip
    for each in outcome.equivalent:
        lines.append(f"equivalent: {each.fault.id}: {proof(each)}")
    skipped = [each for each in outcome.harmless if each.skipped]
    lines += [f"not tried: {each.harmless.id}, {each.skipped}" for each in skipped]
    return lines


def markdown(outcome: Outcome) -> str:
    """The whole table for people."""
    parts = ["# Faults and harmless variations", ""]
    parts += [f"- {line}" for line in summary(outcome)]
    parts += ["", "## Faults", "", *_markdown_rows(_FAULT_COLUMNS, _fault_rows(outcome))]
    parts += ["", "## Harmless variations", ""]
    parts += _markdown_rows(_HARMLESS_COLUMNS, _harmless_rows(outcome))
    return "\n".join(parts) + "\n"


def csv_text(outcome: Outcome) -> str:
    """A row a fault and stage, with everything about it."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("id", "kind", "stage", "operand", "shows_in", "probe", "dtype", "source",
                     "verdict", "first_divergence", "expected", "operand_named", "confirmed",
                     "seconds", "note"))  # fmt: skip
    for each in outcome.faults:
        fault = each.fault
        for one in each.judged:
            writer.writerow((fault.id, "fault", one.stage, fault.operand, " ".join(fault.shows_in),
                             fault.probe, fault.dtype, fault.source, one.verdict,
                             one.first_divergence, fault.expected[one.stage], one.operand,
                             one.confirmed, one.seconds, one.note))  # fmt: skip
    for other in outcome.harmless:
        harmless = other.harmless
        for one in other.judged:
            writer.writerow((harmless.id, "harmless", one.stage, "", harmless.group,
                             harmless.probe, harmless.dtype, harmless.kind, one.verdict,
                             one.first_divergence, "", one.operand, one.confirmed,
                             one.seconds, one.note))  # fmt: skip
    return stream.getvalue()


def _fault_rows(outcome: Outcome) -> list[tuple[str, ...]]:
    return [_fault_row(each) for each in outcome.faults]


def _fault_row(each: FaultOutcome) -> tuple[str, ...]:
    fault, worst = each.fault, each.worst
    found = "equivalent" if each.equivalent else "yes" if each.detected else "NO"
    return (fault.id, fault.part, fault.operand, ", ".join(fault.shows_in), fault.probe, found,
            _shown(worst.first_divergence), _expected(each), _shown(worst.operand),
            fault.description)  # fmt: skip


def _harmless_rows(outcome: Outcome) -> list[tuple[str, ...]]:
    return [_harmless_row(each) for each in outcome.harmless]


def _harmless_row(each: HarmlessOutcome) -> tuple[str, ...]:
    verdict = f"not tried: {each.skipped}" if each.skipped else each.verdict
    return each.harmless.id, each.harmless.kind, verdict, each.harmless.description


def _expected(each: FaultOutcome) -> str:
    return _shown(each.fault.expected[each.worst.stage])


def _shown(value: str | None) -> str:
    return value or "nothing"


def _of(share: float | None, count: int) -> str:
    return "none of 0" if share is None else f"{round(share * count)} of {count} ({share:.1%})"


def _markdown_rows(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        lines.append("| " + " | ".join(value.replace("|", "\\|") for value in row) + " |")
    return lines
