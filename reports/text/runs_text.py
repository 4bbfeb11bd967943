"""Several runs side by side, in words: text, Markdown, CSV and HTML from one list of tables."""

import csv
import io
from collections import Counter
from collections.abc import Sequence

from rich.console import Console

from reports import wording
from reports.tables.runs import (
    Change,
    Run,
    changes,
    number,
    same_numbers,
    unequal_settings,
)
from reports.text import sheets as sheets_text
from reports.text.sheets import Sheet

MOST_CHANGES = 200  # listed for people; the JSON has them all
_TITLE = "Runs side by side"


def sentences(runs: Sequence[Run]) -> list[str]:
    """What each later run changed against the first, a sentence a run."""
    found = changes(runs)
    return [
        _sentence(runs, place, [change for change in found if change.run == place])
        for place in range(1, len(runs))
    ]


def _sentence(runs: Sequence[Run], place: int, found: Sequence[Change]) -> str:
    first, run = runs[0], runs[place]
    text = f"{wording.printable(run.label)} against {wording.printable(first.label)}: "
    if first.verdict == run.verdict:
        text += f"both {run.verdict}"
    else:
        text += f"{first.verdict} became {run.verdict}"
    moved = [
        f"{wording.printable(part)} first diverges at {_name(run.firsts.get(part))}, "
        f"before at {_name(first.firsts.get(part))}"
        for part in run.firsts
        if part in first.firsts and run.firsts[part] != first.firsts[part]
    ]
    equal, shared = same_numbers(runs, place)
    if not shared:
        return f"{text}; the two have nothing in common to compare"
    if equal == shared:
        text += f"; all {shared:,} entries that both have hold the same numbers"
    else:
        text += f"; {equal:,} of {shared:,} entries that both have hold the same numbers"
    counts = Counter(
        f"{change.before['status']} became {change.after['status']}"
        for change in found
        if change.kind == "status" and change.before and change.after
    )
    pieces = [f"{count:,} {words}" for words, count in counts.most_common()]
    for kind, words in (
        ("size", "changed by more than a factor of 2"),
        ("gone", "not there any more"),
        ("new", "not there before"),
    ):
        count = sum(change.kind == kind for change in found)
        pieces += [f"{count:,} {words}"] if count else []
    return "; ".join([text, *moved, *pieces])


def _name(name: str | None) -> str:
    return wording.printable(name) if name is not None else "none"


def sheets(runs: Sequence[Run]) -> list[Sheet]:
    """The tables: verdicts, settings that are not all equal, changes."""
    names = tuple(wording.printable(run.label) for run in runs)
    found = changes(runs)
    result = [
        Sheet("Verdicts", ("", *names), tuple(_verdict_rows(runs))),
        Sheet(
            "Settings that are not the same",
            ("part", "setting", *names),
            tuple(
                (
                    wording.printable(part),
                    wording.printable(setting),
                    *(_setting(value) for value in values),
                )
                for part, setting, values in unequal_settings(runs)
            ),
        ),
        Sheet(
            "What changed",
            ("run", "part", "entry", "status", "max |Δ|", "rms rel"),
            tuple(_change_row(runs, change) for change in found[:MOST_CHANGES]),
        ),
    ]
    return [sheet for sheet in result if sheet.rows]


def _verdict_rows(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    parts = dict.fromkeys(part for run in runs for part in run.verdicts)
    rows = []
    for part in parts:
        name = wording.printable(part)
        rows.append((name, *(run.verdicts.get(part, wording.NOTHING) for run in runs)))
        if any(run.firsts.get(part) for run in runs):
            firsts = (run.firsts.get(part) for run in runs)
            rows.append(
                (
                    f"{name}, first divergence",
                    *(wording.printable(first) if first else wording.NOTHING for first in firsts),
                )
            )
    return rows


def _setting(value: str | None) -> str:
    if value is None:
        return wording.NOTHING
    # A checksum tells itself apart by its beginning.
    return f"{value[:12]}…" if len(value) == 64 and value.isalnum() else wording.printable(value)


def _change_row(runs: Sequence[Run], change: Change) -> tuple[str, ...]:
    part, section, tap = change.key
    name = tap if section == "taps" or tap.startswith(section) else f"{section}/{tap}"
    both = change.before, change.after

    def arrow(words: Sequence[str]) -> str:
        return words[0] if words[0] == words[1] else f"{words[0]} → {words[1]}"

    return (
        wording.printable(runs[change.run].label),
        wording.printable(part),
        wording.printable(name),
        arrow([wording.NOTHING if entry is None else str(entry["status"]) for entry in both]),
        *(
            arrow(
                [
                    wording.difference(None if entry is None else number(entry.get(field)))
                    for entry in both
                ]
            )
            for field in ("max_abs", "rms_rel")
        ),
    )


def show(runs: Sequence[Run], console: Console) -> None:
    """Print everything; nothing a name holds is taken as markup."""
    sheets_text.show(sheets(runs), _lines(runs), console)


def _lines(runs: Sequence[Run]) -> list[str]:
    lines = sentences(runs)
    count = len(changes(runs))
    if count > MOST_CHANGES:
        lines.append(f"The first {MOST_CHANGES} of {count:,} changes are listed; the JSON has all.")
    return lines


def markdown_text(runs: Sequence[Run]) -> str:
    """The same for a code host."""
    return sheets_text.markdown_text(_TITLE, sheets(runs), _lines(runs))


def csv_text(runs: Sequence[Run]) -> str:
    """Every entry of every run: a row an entry, two columns a run, numbers with all digits."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["part", "section", "tap"]
        + [f"{run.label} {field}" for run in runs for field in ("status", "max_abs", "rms_rel")]
    )
    for key in dict.fromkeys(key for run in runs for key in run.entries):
        cells = []
        for run in runs:
            entry = run.entries.get(key, {})
            values = [entry.get(field) for field in ("status", "max_abs", "rms_rel")]
            cells += ["" if value is None else str(value) for value in values]
        writer.writerow([*key, *cells])
    return stream.getvalue()


def page_text(runs: Sequence[Run], *, commands: Sequence[str] = ()) -> str:
    """The same as a page."""
    names = ", ".join(wording.printable(run.label) for run in runs)
    return sheets_text.page_text(
        f"{names} (p2m-parity)", _TITLE, sheets(runs), _lines(runs), commands=commands
    )
