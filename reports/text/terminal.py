"""The comparison as a table in the terminal, or as plain text in a pipe."""

import textwrap
from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from parity.traces.trace import Side
from parity.verdict.result import Comparison, Status, TapResult
from reports import wording
from reports.palette import LOOKS, VERDICT_STYLES
from reports.text.hints import hints
from reports.text.message import basis, find, label, message, sentence
from reports.text.told import diagnosis_lines

__all__ = ["message", "show"]

# A column: its heading, what it says of an entry, and how far it may be missed: where the window
# is too narrow for all, the columns of the highest number go first, together.
_Cells = Callable[[TapResult], str]
_COLUMNS: tuple[tuple[str, int, _Cells], ...] = (
    ("shape", 1, wording.entry_shape),
    ("max|Δ|", 0, lambda entry: wording.difference(entry.max_abs)),
    ("at", 2, lambda entry: wording.index(entry.at)),
    ("reference", 3, lambda entry: wording.pair(entry.reference, entry.candidate, entry.dtype)[0]),
    ("candidate", 3, lambda entry: wording.pair(entry.reference, entry.candidate, entry.dtype)[1]),
    ("rms rel", 0, lambda entry: wording.difference(entry.rms_rel)),
)
_LEFT_ALIGNED = {"shape", "at"}
_GAP = 2
_WIDEST_NAME = 72  # longer names are folded rather than push the numbers out

# The framework whose version matters most, by backend.
_FRAMEWORK = {
    "torch": "torch",
    "tf": "tensorflow",
    "metagraph": "tensorflow",
    "onnx": "onnxruntime",
}

# For an output that cannot encode them (a C locale).
_ASCII = str.maketrans({"Δ": "d", "…": "...", "—": "-", "×": "x", "·": "."})


def show(comparison: Comparison, console: Console) -> None:
    """Print the verdict, both sides, a table of what was compared, and the first divergence."""
    style = VERDICT_STYLES[comparison.verdict]
    _prose(console, sentence(comparison), style)
    for role, side in (("reference", comparison.reference), ("candidate", comparison.candidate)):
        _prose(console, f"{role}: {_side(side)}")
    _prose(console, f"judged by: {basis(comparison)}")
    _table(console, comparison, "tap", comparison.taps)
    _table(console, comparison, "loss", comparison.losses)
    told = tuple(entry for entry in comparison.gradients if entry.status is not Status.AGREE)
    _table(console, comparison, "gradient", told)
    if len(told) < len(comparison.gradients):
        number = wording.counted(len(comparison.gradients) - len(told), "gradient")
        _prose(console, f"{number} agree{'s' if number.startswith('1 ') else ''}, not listed")
    remarks = _remarks(comparison)
    if remarks:
        console.print()
    for remark in remarks:
        _prose(console, remark)
    first = find(comparison, comparison.first_divergence)
    if first is not None:
        console.print()
        for line in message(comparison, first).splitlines():
            if line.startswith("  again: "):
                # A command is pasted, so it is never broken into lines.
                console.print(_text(console, line), soft_wrap=True)
            else:
                _prose(console, line, hanging="    ")
        for line in (*diagnosis_lines(comparison), *hints(comparison)):
            _prose(console, line, hanging="    ")
    console.print()
    _prose(console, sentence(comparison), style)


def _remarks(comparison: Comparison) -> list[str]:
    remarks = []
    if comparison.missing:
        number = wording.counted(len(comparison.missing), "name")
        remarks.append(f"in one trace only: {number}: {wording.listed(comparison.missing, 8)}")
    if comparison.not_requested:
        number = wording.counted(len(comparison.not_requested), "tap")
        remarks.append(f"not requested: {number}")
    reasons: dict[str, list[str]] = {}
    for tap, reason in comparison.unmatched.items():
        reasons.setdefault(reason, []).append(tap)
    for reason, taps in reasons.items():
        number = wording.counted(len(taps), "tap")
        names = wording.listed(tuple(taps), 8)
        why = wording.printable(reason) or "no reason given"
        remarks.append(f"declared absent: {number}: {names}: {why}")
    return remarks + [f"note: {wording.printable(note)}" for note in comparison.notes]


def _side(side: Side) -> str:
    version = side.versions.get(_FRAMEWORK.get(side.backend, ""), "")
    words = (f"{side.backend} {version}".strip(), side.dtype, side.device, side.path)
    return "  ".join(wording.printable(word) for word in words if word)


def _table(
    console: Console, comparison: Comparison, noun: str, entries: Sequence[TapResult]
) -> None:
    if not entries:
        return
    cells = {heading: [say(entry) for entry in entries] for heading, _, say in _COLUMNS}
    names = [wording.printable(label(comparison, entry)) for entry in entries]
    widest = {heading: max(len(heading), *map(len, column)) for heading, column in cells.items()}
    name_width = min(max(map(len, names)), _WIDEST_NAME)
    room = console.width - name_width - _GAP - max(len(status) for status in Status) - _GAP
    dropped = 4
    shown = [heading for heading, _, _ in _COLUMNS]
    while dropped > 1 and sum(widest[heading] + _GAP for heading in shown) > room:
        dropped -= 1
        shown = [heading for heading, rank, _ in _COLUMNS if rank < dropped]

    table = Table(
        box=box.ASCII2 if console.options.ascii_only else box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, _GAP, 0, 0),
        pad_edge=False,
    )
    table.add_column(noun, overflow="fold", min_width=12, max_width=name_width)
    table.add_column("status", no_wrap=True)
    for heading in shown:
        table.add_column(
            _text(console, heading),
            no_wrap=True,
            justify="left" if heading in _LEFT_ALIGNED else "right",
        )
    for row, (entry, name) in enumerate(zip(entries, names, strict=True)):
        table.add_row(
            _text(console, name),
            Text(entry.status.value, style=LOOKS[entry.status].style),
            *(_text(console, cells[heading][row]) for heading in shown),
        )
    console.print()
    console.print(table)
    left_out = [heading for heading, _, _ in _COLUMNS if heading not in shown]
    if left_out:
        _prose(console, f"{', '.join(left_out)}: in a wider window, or with --out in taps.csv")


def _prose(console: Console, text: str, style: str = "", hanging: str = "  ") -> None:
    """Print wrapped at the console's width; as it is where it fits."""
    indent = text[: len(text) - len(text.lstrip())]
    lines = textwrap.wrap(
        text.strip(),
        max(console.width, 20),
        initial_indent=indent,
        subsequent_indent=hanging,
        break_on_hyphens=False,
        break_long_words=False,
    )
    for line in lines:
        console.print(_text(console, line, style), soft_wrap=True)


def _text(console: Console, text: str, style: str = "") -> Text:
    """``text`` as it stands: no markup, no emoji codes, and nothing that cannot be encoded."""
    if console.options.ascii_only:
        text = text.translate(_ASCII).encode("ascii", "backslashreplace").decode()
    return Text(text, style=style)
