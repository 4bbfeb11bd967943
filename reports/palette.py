"""One look for each status, shared by the terminal, the figures and the pages.

The colours keep apart for colour-blind readers and on grey paper (they differ in lightness), all
have a contrast of at least 4.5 to 1 on white; and no status is told by colour alone: each has a
marker in figures, a glyph in pages, and its name in words everywhere.
"""

from dataclasses import dataclass

from parity.verdict.result import Status, Verdict


@dataclass(frozen=True)
class Look:
    """``marker`` is Matplotlib's, ``style`` is rich's, ``meaning`` is for the legend."""

    colour: str
    marker: str
    glyph: str
    style: str
    meaning: str


LOOKS: dict[Status, Look] = {
    Status.AGREE: Look("#00705a", "o", "●", "green", "within the limit"),
    Status.ROUNDING: Look("#1a6fae", "v", "▼", "cyan", "as far apart as rounding explains"),
    Status.INHERITED: Look("#7a5c00", "D", "◆", "yellow", "explained by an earlier difference"),
    Status.DIFFER: Look("#b83400", "X", "✖", "bold red", "a difference that begins here"),
    Status.FLIP: Look("#8f2f72", "^", "▲", "magenta", "explained by pixel decisions that flipped"),
    Status.MISSING: Look("#555555", "x", "×", "bold yellow", "in one trace only"),
    Status.INVALID: Look("#111111", "s", "■", "bold yellow", "could not be judged"),
}

VERDICT_STYLES: dict[Verdict, str] = {
    Verdict.AGREE: "bold green",
    Verdict.DIFFER: "bold red",
    Verdict.INVALID: "bold yellow",
}
