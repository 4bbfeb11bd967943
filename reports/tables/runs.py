"""Several runs' reports side by side, read from their ``report.json``, and what changed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parity.verdict.result import REPORT_SCHEMA, Status, Verdict, jsonable
from weight_conversion.errors import InputError

RUNS_SCHEMA = "p2m-parity-runs/1"
SECTIONS = ("taps", "losses", "gradients", "steps")
NOTICED = 2.0
"""A difference that grew or shrank by more than this factor is worth telling."""

_SIDE = ("backend", "dtype", "device", "weights_sha256", "inputs_sha256")

Key = tuple[str, str, str]
"""Part, section and name of an entry."""


@dataclass(frozen=True)
class Run:
    """One run's report.

    ``verdicts`` and ``firsts`` (first divergences) are by part, a part being a stage, or an item
    and a stage; ``settings`` is (part, setting) to value; ``entries`` are those of ``report.json``.
    """

    label: str
    path: str
    verdict: str
    verdicts: Mapping[str, str]
    firsts: Mapping[str, str | None]
    settings: Mapping[tuple[str, str], str]
    entries: Mapping[Key, Mapping[str, Any]]


@dataclass(frozen=True)
class Change:
    """An entry that is not in a run as it is in the first; None where there is no such entry."""

    key: Key
    run: int
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None

    @property
    def kind(self) -> str:
        """``gone``, ``new``, ``status``, or ``size`` for a difference that grew or shrank."""
        if self.after is None:
            return "gone"
        if self.before is None:
            return "new"
        return "status" if self.before["status"] != self.after["status"] else "size"


def read_run(path: Path, label: str) -> Run:
    """Read a run's folder, or its ``report.json`` itself.

    Raises:
        InputError: there is none, or it is none.
    """
    file = path / "report.json" if path.is_dir() else path
    value = _read(file)
    if isinstance(value.get("parts"), list):
        reports = [(part, _part_report(file, part)) for part in value["parts"]]
        parts = {str(part.get("label")): part for part, _ in reports}
        settings = {
            key: text
            for part, report in reports
            for key, text in _settings(str(part.get("label")), report or {})
        }
    else:
        parts = {str(value.get("stage")): value}
        settings = dict(_settings(str(value.get("stage")), value))
    return Run(
        label=label,
        path=str(path),
        verdict=_one_of(file, value, "verdict", [verdict.value for verdict in Verdict]),
        verdicts={
            name: _one_of(file, part, "verdict", [verdict.value for verdict in Verdict])
            for name, part in parts.items()
        },
        firsts={name: _text_or_none(part.get("first_divergence")) for name, part in parts.items()},
        settings=settings,
        entries=dict(_entries(file, value)),
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(file, "no such file", "the report.json of a run") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(file, "no readable JSON", "the report.json of a run") from error
    if not isinstance(value, dict) or value.get("schema") != REPORT_SCHEMA:
        found = value.get("schema") if isinstance(value, dict) else type(value).__name__
        raise InputError(file, f"schema {found!r}", repr(REPORT_SCHEMA))
    return value


def _part_report(file: Path, part: Any) -> dict[str, Any] | None:
    """The part's own report, which knows its settings, where it is still there."""
    if not isinstance(part, dict):
        raise InputError(file, "a part that is no object", "the report.json of a run")
    link = part.get("report")
    if not isinstance(link, str) or not (file.parent / link).is_file():
        return None
    return _read(file.parent / link)


def _settings(part: str, report: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], str]]:
    if report.get("basis") is not None:
        yield (part, "basis"), str(report["basis"])
    for side in ("reference", "candidate"):
        found = report.get(side)
        if not isinstance(found, dict):
            continue
        for name in _SIDE:
            yield (part, f"{side} {name}"), str(found.get(name, ""))
        versions = found.get("versions")
        for package, version in sorted((versions if isinstance(versions, dict) else {}).items()):
            yield (part, f"{side} {package}"), str(version)


def _entries(file: Path, value: Mapping[str, Any]) -> Iterator[tuple[Key, Mapping[str, Any]]]:
    statuses = [status.value for status in Status]
    for section in SECTIONS:
        found = value.get(section, [])
        if not isinstance(found, list):
            raise InputError(file, f"{section} is no list", "the report.json of a run")
        for entry in found:
            if not isinstance(entry, dict) or not isinstance(entry.get("tap"), str):
                raise InputError(file, f"{section} holds what is no entry", "entries with a tap")
            _one_of(file, entry, "status", statuses)
            part = str(entry.get("part", value.get("stage")))
            yield (part, section, entry["tap"]), entry


def _one_of(file: Path, value: Mapping[str, Any], name: str, allowed: Sequence[str]) -> str:
    if value.get(name) not in allowed:
        raise InputError(file, f"{name} {value.get(name)!r}", f"one of {', '.join(allowed)}")
    return str(value[name])


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)


def labels(paths: Sequence[Path]) -> list[str]:
    """A short name for each run: its folder's, with as much of the path as tells them apart."""
    for depth in range(1, max((len(path.parts) for path in paths), default=1) + 1):
        names = ["/".join(path.parts[-depth:]) or str(path) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{path} ({place})" for place, path in enumerate(paths, 1)]


def changes(runs: Sequence[Run]) -> list[Change]:
    """What is not in each later run as it is in the first, in the order of computation."""
    keys = dict.fromkeys(key for run in runs for key in run.entries)
    return [
        change
        for place, run in enumerate(runs[1:], 1)
        for key in keys
        if (change := Change(key, place, runs[0].entries.get(key), run.entries.get(key)))
        and _differs(change)
    ]


def _differs(change: Change) -> bool:
    if change.before is None or change.after is None:
        return change.before is not change.after
    if change.before["status"] != change.after["status"]:
        return True
    before, after = (number(entry.get("max_abs")) for entry in (change.before, change.after))
    if before is None or after is None:
        return (before is None) is not (after is None)
    if before != before or after != after:
        return (before != before) is not (after != after)
    return before != after and (min(before, after) == 0 or _factor(before, after) > NOTICED)


def _factor(before: float, after: float) -> float:
    return max(before, after) / min(before, after)


def number(value: Any) -> float | None:
    """A number of ``report.json``, where NaN and the infinities are texts."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def same_numbers(runs: Sequence[Run], place: int) -> tuple[int, int]:
    """Of the entries that run ``place`` shares with the first: how many have equal numbers."""
    shared = [key for key in runs[0].entries if key in runs[place].entries]
    fields = ("status", "max_abs", "reference", "candidate", "rms_rel")

    def numbers(run: Run, key: Key) -> list[Any]:
        return [run.entries[key].get(field) for field in fields]

    equal = sum(numbers(runs[0], key) == numbers(runs[place], key) for key in shared)
    return equal, len(shared)


def unequal_settings(runs: Sequence[Run]) -> list[tuple[str, str, tuple[str | None, ...]]]:
    """Settings not the same in all runs that have the part: (part, setting, each run's)."""
    rows = []
    for part, name in dict.fromkeys(key for run in runs for key in run.settings):
        values = tuple(run.settings.get((part, name)) for run in runs)
        known = {value for run, value in zip(runs, values, strict=True) if _knows(run, part)}
        if len(known) > 1:
            rows.append((part, name, values))
    return rows


def _knows(run: Run, part: str) -> bool:
    """Whether the run says how the part was run: its own report may be gone."""
    return any(known == part for known, _ in run.settings)


def runs_json(runs: Sequence[Run]) -> dict[str, Any]:
    """The whole comparison of runs as JSON's types; the first run is what others are held to."""
    keys = dict.fromkeys(key for run in runs for key in run.entries)
    fields = ("status", "max_abs", "max_rel", "rms_rel")
    plain = {
        "schema": RUNS_SCHEMA,
        "runs": [
            {
                "label": run.label,
                "path": run.path,
                "verdict": run.verdict,
                "verdicts": dict(run.verdicts),
                "first_divergence": dict(run.firsts),
            }
            for run in runs
        ],
        "settings": [
            {"part": part, "setting": name, "values": list(values)}
            for part, name, values in unequal_settings(runs)
        ],
        "changes": [
            {
                "run": runs[change.run].label,
                "part": change.key[0],
                "section": change.key[1],
                "tap": change.key[2],
                "kind": change.kind,
                **{
                    field: [
                        None if entry is None else entry.get(field)
                        for entry in (change.before, change.after)
                    ]
                    for field in fields
                },
            }
            for change in changes(runs)
        ],
        "entries": [
            {
                "part": part,
                "section": section,
                "tap": tap,
                **{
                    field: [run.entries.get((part, section, tap), {}).get(field) for run in runs]
                    for field in fields
                },
            }
            for part, section, tap in keys
        ],
    }
    value: dict[str, Any] = jsonable(plain)
    return value
