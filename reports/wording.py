"""How names and numbers are written, the same in every form of the report.

Names come from files that others made. They may hold control characters, terminal escapes or
right-to-left marks, so every name passes ``printable`` before a person sees it; escaping for
markup (HTML, Markdown) comes on top, where the markup is written.
"""

import math

from parity.verdict.result import Comparison, TapResult

IDENTICAL = "identical"
NOTHING = "—"

# Digits that tell any two neighbouring numbers apart, by dtype.
_ROUND_TRIP_DIGITS = {"float64": 17}
_LONGEST = 800
_FEWEST_DIGITS, _FLOAT32_DIGITS = 4, 9


def printable(text: str) -> str:
    """``text`` with everything unprintable (control, escape, direction marks) spelled out.

    Nor is it longer than a person reads: the middle of a monstrous name is left out.
    """
    return shortened(spelled_out(text), _LONGEST)


def spelled_out(text: str) -> str:
    """As ``printable``, at any length: for what is pasted rather than read."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def shortened(text: str, length: int) -> str:
    """``text`` in at most ``length`` characters, its middle left out where it is longer."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def special(number: float) -> str:
    """A number that is not finite as "NaN", "inf" or "-inf"; "" for one that is."""
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "inf" if number > 0 else "-inf"
    return ""


def difference(number: float | None) -> str:
    """A difference in three significant digits; ``identical`` for 0, a dash for none."""
    if number is None:
        return NOTHING
    if number == 0:
        return IDENTICAL
    return special(number) or f"{number:.2e}"


def exact(number: float) -> str:
    """A number with all its digits, as ``report.json`` writes it."""
    return special(number) or repr(number)


def quantity(number: float | None) -> str:
    """A length or coordinate in at most six significant digits."""
    if number is None:
        return NOTHING
    return special(number) or f"{number:.6g}"


def pair(reference: float | None, candidate: float | None, dtype: str) -> tuple[str, str]:
    """Two values with as many digits as it takes to see where they part: at least four."""
    digits = _FEWEST_DIGITS
    if reference is not None and candidate is not None:
        most = _ROUND_TRIP_DIGITS.get(dtype, _FLOAT32_DIGITS)
        gap = abs(candidate - reference)
        if 0 < gap < math.inf:
            magnitude = max(abs(reference), abs(candidate))
            digits = math.ceil(math.log10(magnitude) - math.log10(gap)) + 1
        digits = min(max(digits, _FEWEST_DIGITS), most)
    return _value(reference, digits), _value(candidate, digits)


def _value(number: float | None, digits: int) -> str:
    if number is None:
        return NOTHING
    return special(number) or f"{number:#.{digits}g}".rstrip(".")


def shape(dimensions: tuple[int, ...]) -> str:
    """A shape as the table of taps writes it, "3x56x56x64"; "scalar" for an empty one."""
    return "x".join(str(size) for size in dimensions) or "scalar"


def entry_shape(entry: TapResult) -> str:
    """The shape of an entry; a dash where there is none, because one side lacks it."""
    return shape(entry.shape) if entry.dtype else NOTHING


def index(position: tuple[int, ...] | None) -> str:
    """A position as "[88, 17]"; a dash for none."""
    if position is None:
        return NOTHING
    return f"[{', '.join(str(part) for part in position)}]"


def share(part: int, whole: int) -> str:
    """A share as "1.4 %"; one that is not nothing or all never reads as 0 % or 100 %."""
    if whole == 0:
        return NOTHING
    percent = 100 * part / whole
    if 0 < percent < 0.01:
        return "< 0.01 %"
    if 99.5 <= percent < 100:
        return "> 99 %"
    return f"{percent:.2g} %" if percent < 99.5 else "100 %"


def counted(number: int, noun: str) -> str:
    """A count with its noun: "1 tap", "3 taps", "2 losses"."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun}{'es' if noun.endswith('s') else 's'}"


def at_vertices(vertices: tuple[int, int]) -> str:
    """At how many vertices layers were judged, and of how many, see ``Comparison.vertices``."""
    some, whole = vertices
    return f"at {some:,} of {whole:,} vertices"


def taps_compared(comparison: Comparison) -> str:
    """How many taps were compared, and at which share of their vertices."""
    if comparison.vertices is None:
        return str(comparison.compared)
    return f"{comparison.compared} {at_vertices(comparison.vertices)}"


def listed(names: tuple[str, ...], most: int = 3) -> str:
    """The first ``most`` names, and how many more there are."""
    text = ", ".join(printable(name) for name in names[:most])
    if len(names) > most:
        text += f" and {len(names) - most:,} more"
    return text


_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "—": "---",
    "°": r"$^\circ$",
    "…": r"\ldots{}",
    "−": "$-$",
    "±": r"$\pm$",
    **{sign: f"\\{sign}" for sign in "&%$#_"},
}
"""What LaTeX does not take as it stands."""


def latex(text: str) -> str:
    """``text`` so that LaTeX shows it as it stands."""
    return "".join(_LATEX.get(character, character) for character in printable(text))


def four_decimals(number: float | None) -> str:
    """Four decimals as in the paper, or three digits where those would show too little."""
    if number is None:
        return NOTHING
    if special(number):
        return special(number)
    return f"{number:.4f}" if number == 0 or 0.1 <= abs(number) < 1e6 else f"{number:.3g}"
