"""Coverage and diagnosis in words, as far as the comparison has them."""

from typing import Any

from parity.result import Comparison
from reports import wording


def coverage_words(comparison: Comparison) -> str:
    """What was held against each other, and what was not."""
    taps = len(comparison.taps)
    text = f"{comparison.compared} of {wording.counted(taps, 'tap')} compared"
    text += f", {len(comparison.missing)} in one trace only" if comparison.missing else ""
    if comparison.not_requested:
        text += f"; {wording.counted(len(comparison.not_requested), 'tap')} not requested"
    if comparison.losses or comparison.gradients:
        losses = wording.counted(len(comparison.losses), "loss")
        text += f"; {losses} and {wording.counted(len(comparison.gradients), 'gradient')}"
    else:
        text += "; no losses and no gradients were recorded"
    return f"{text}."


def coverage_rows(comparison: Comparison) -> list[tuple[str, str]]:
    """What else the comparison says of its coverage: (name, value)."""
    return _rows(comparison.to_json().get("coverage") or {})


def diagnosis_lines(comparison: Comparison) -> list[str]:
    """The explanation of the first divergence, and what speaks for it."""
    found = comparison.to_json().get("diagnosis")
    if not isinstance(found, dict):
        return []
    lines = []
    if found.get("explanation"):
        certain = "Confirmed" if found.get("confirmed") else "Suspected"
        operand = f" ({found['operand']})" if found.get("operand") else ""
        lines.append(f"{certain}{operand}: {found['explanation']}")
    lines += [_evidence(line) for line in found.get("evidence") or ()]
    return [wording.printable(line) for line in lines]


def _evidence(line: Any) -> str:
    if isinstance(line, dict):
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in line.items())
    return str(line)


def _rows(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for name, entry in value.items():
        title = wording.printable(f"{prefix}{name}".replace("_", " "))
        if isinstance(entry, dict):
            rows += _rows(entry, f"{prefix}{name}, ")
        elif isinstance(entry, list):
            words = wording.listed(tuple(map(str, entry)), 5) if entry else "none"
            rows.append((title, words))
        else:
            rows.append((title, wording.printable(str(entry))))
    return rows
