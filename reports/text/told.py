"""Coverage and diagnosis in words, as far as the comparison has them."""

from dataclasses import dataclass
from typing import Any

from network.registry import network_of
from parity.verdict.result import Comparison, TapResult
from reports import wording


def coverage_words(comparison: Comparison) -> str:
    """What was held against each other, and what was not."""
    taps = len(comparison.taps)
    text = f"{comparison.compared} of {wording.counted(taps, 'tap')} compared"
    if comparison.vertices is not None:
        text += f", {wording.at_vertices(comparison.vertices)}"
    text += f", {len(comparison.missing)} in one trace only" if comparison.missing else ""
    if comparison.not_requested:
        text += f"; {wording.counted(len(comparison.not_requested), 'tap')} not requested"
    if comparison.losses or comparison.gradients:
        losses = wording.counted(len(comparison.losses), "loss")
        text += f"; {losses} and {wording.counted(len(comparison.gradients), 'gradient')}"
    else:
        text += "; no losses and no gradients were recorded"
    return f"{text}."


@dataclass(frozen=True)
class Coverage:
    """What inputs and weights really exercised, as far as the verdict looked.

    Attributes:
        findings: sentences about what no input could tell.
        rows: (name, value) of all counts.
        variables: (variable, share of its elements that mattered), the least first.
    """

    findings: tuple[str, ...]
    rows: tuple[tuple[str, str], ...]
    variables: tuple[tuple[str, float], ...]


def coverage_of(comparison: Comparison) -> Coverage:
    """The comparison's coverage; empty where its verdict rests on a fixed limit."""
    value = dict(comparison.to_json().get("coverage") or {})
    findings = [wording.printable(str(line)) for line in value.pop("findings", ())]
    value.pop("smallest_changes", None)  # a number for each variable: in report.json
    variables = sorted(
        ((wording.printable(name), float(share)) for name, share in
         value.pop("variables", {}).items()),
        key=lambda pair: pair[1],
    )  # fmt: skip
    return Coverage(tuple(findings), tuple(_rows(value)), tuple(variables))


def diagnosis_lines(comparison: Comparison) -> list[str]:
    """What the first divergence of each kind of layer points to, and what speaks for it."""
    plain = comparison.to_json()
    first = plain.get("diagnosis")
    others = [each for each in plain.get("diagnoses") or () if each != first]
    lines = _told(first) if isinstance(first, dict) else []
    for other in others:
        lines += [f"at {other['tap']} too. {line}" for line in _told(other)]
    return [wording.printable(line) for line in lines]


def diagnosis_at(comparison: Comparison, entry: TapResult) -> list[str]:
    """What one entry points to, or the first one of layers like its own."""
    plain = [vars(each) for each in comparison.diagnoses]
    own = [each for each in plain if each["tap"] == entry.tap]
    if own:
        return [wording.printable(line) for line in _told(own[0])]
    rows = network_of(comparison.stage).rows
    row = rows.get(entry.tap)
    for each in plain:
        if row is not None and each["tap"] in rows and rows[each["tap"]].alike == row.alike:
            certain = "confirmed" if each.get("confirmed") else "suspected"
            return [wording.printable(f"as at {each['tap']}: {each['operand']}, {certain} there")]
    return []


def _told(found: dict[str, Any]) -> list[str]:
    lines = []
    if found.get("explanation"):
        certain = "Confirmed" if found.get("confirmed") else "Suspected"
        operand = f" ({found['operand']})" if found.get("operand") else ""
        lines.append(f"{certain}{operand}: {found['explanation']}")
    return lines + [_evidence(line) for line in found.get("evidence") or ()]


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
