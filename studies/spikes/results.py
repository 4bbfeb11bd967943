"""What the study's finished runs come to: a row a run, and each factor's effect."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from parity.traces.record import RunInputs
from studies.spikes.design import FACTORIAL_RUNS, Plan, factorial
from studies.spikes.effects import Effect, differences, effects_of, pooled_effects
from studies.spikes.study import read_result
from weight_conversion.errors import InputError

STUDY_SCHEMA = "p2m-parity-spike-study/2"
READABLE = (STUDY_SCHEMA, "p2m-parity-spike-study/1")
"""The first had neither slopes nor layers."""

_SET = ("item", "seed", "blocks", "steps")


def study_result(folder: Path, earlier: Sequence[Path] = ()) -> dict[str, Any]:
    """All finished runs of a study, and the effects of its factorial designs.

    Args:
        folder: that ``sweep`` wrote.
        earlier: ``study.json`` files; where a run is in the folder too, the folder's counts.

    Raises:
        InputError: no such folder and nothing earlier, no finished run at all, or a damaged one.
    """
    if not folder.is_dir() and not earlier:
        raise InputError(folder, "no such folder", "a folder that sweep wrote")
    found = [(path.parent.name, read_result(path.parent)) for path in folder.glob("*/result.json")]
    made = [run_row(result) for _, result in sorted(found) if result is not None]
    by_key = {run_key(row): row for path in earlier for row in read_study(path)}
    by_key |= {run_key(row): row for row in made}
    runs = sorted(by_key.values(), key=lambda row: (-row["blocks"], row["item"], row["name"]))
    if not runs:
        raise InputError(folder, "no finished run", "a folder that sweep wrote")
    return {
        "schema": STUDY_SCHEMA,
        "runs": runs,
        "factorials": _factorials(runs),
        "differences": differences(runs),
    }


def _factorials(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each whole factorial of one item and seed, with its effects.

    Its runs are known by what is switched on: the official settings, for one, are run by others.
    """
    designed: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in runs:
        frozen = "frozen_cnn" in row["switched_on"]
        for frozen_in_all in (True, False):
            always = {"frozen_cnn"} if frozen_in_all else set()
            if (frozen or not frozen_in_all) and frozenset(row["switched_on"]) in {
                combination | always for combination in factorial(frozen_in_all)
            }:
                key = tuple(row[name] for name in (*_SET, "learning_rate", "template"))
                designed.setdefault((frozen_in_all, *key), []).append(row)
    found: list[dict[str, Any]] = []
    alike: dict[tuple[Any, ...], list[tuple[dict[str, Any], list[Effect]]]] = {}
    for (frozen_in_all, *_), rows in designed.items():
        effects = effects_of(rows)
        if effects:
            about = {name: rows[0][name] for name in _SET}
            found.append(_factorial(about, len(rows), effects))
            key = (frozen_in_all, *(rows[0][name] for name in _SET[2:]))
            alike.setdefault(key, []).append((about, effects))
    for sets in alike.values():
        pooled = pooled_effects([effects for _, effects in sets])
        if pooled:
            items = " and ".join(sorted({str(about["item"]) for about, _ in sets}))
            seeds = " and ".join(sorted({str(about["seed"]) for about, _ in sets}))
            about = {**sets[0][0], "item": items, "seed": seeds}
            found.append(_factorial(about, FACTORIAL_RUNS * len(sets), pooled))
    return found


def _factorial(about: dict[str, Any], runs: int, effects: Sequence[Effect]) -> dict[str, Any]:
    """One factorial, or several together; ``margins`` says whose intervals they are."""
    listed = [{**asdict(each), "main": each.main} for each in effects]
    margins = "Lenth" if runs == FACTORIAL_RUNS else "Student"
    return {**about, "runs": runs, "margins": margins, "effects": listed}


def read_study(path: Path) -> list[dict[str, Any]]:
    """The runs of a ``study.json``, a row each as ``run_row`` makes them.

    Raises:
        InputError: no such file, damaged, or something else.
    """
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(path, "cannot be read", "a study.json that sweep wrote") from error
    if not isinstance(found, dict) or found.get("schema") not in READABLE:
        raise InputError(path, "no study of spikes", f"schema {STUDY_SCHEMA}")
    rows: list[dict[str, Any]] = found["runs"]
    return rows


def run_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes a run the same run, whatever it is called."""
    names = ("item", "template", "seed", "blocks", "steps", "learning_rate")
    return (*(row[name] for name in names), *sorted(row["switched_on"]))


def plan_key(plan: Plan, inputs: RunInputs) -> tuple[Any, ...]:
    """The same of a run to make."""
    settings = asdict(plan.settings)
    return run_key(
        {**settings, "item": plan.item, "template": inputs.template.name, "steps": plan.steps}
    )


def run_row(result: dict[str, Any]) -> dict[str, Any]:
    """One run in a row: its settings, its last mesh, and spikes along the way.

    Measured numbers have six digits, more than they are worth and enough to sum up again.
    """
    run, last = result["run"], result["history"][-1]
    final = result["afterwards"]["as_trained"]
    block = run["blocks"]
    settings = {
        "name": run["name"],
        "design": run["design"],
        "item": run["item"],
        "seed": run["seed"],
        "blocks": block,
        "steps": run["steps"],
        "learning_rate": run["learning_rate"],
        "template": run["template"],
        "switched_on": run["switched_on"],
    }
    measured = {
        "irregular": final["irregular"],
        "spikes": final["spikes"],
        "irregular_spikes": final["irregular_spikes"],
        "spike_rate": final["spike_rate"],
        "strength": final["strength"],
        "strength_r2": final["strength_r2"],
        "free_strength": final.get("free_strength"),
        "fixed_point": final.get("fixed_point"),
        "chamfer": last["losses"][f"chamfer_{block}"],
        "by_level": final["by_level"],
        "afterwards": {
            name: {key: row[key] for key in ("spikes", "irregular_spikes", "strength")}
            for name, row in result["afterwards"].items()
        },
        "history": [
            {
                "step": row["step"],
                "spikes": row["spikes"],
                "irregular_spikes": row["irregular_spikes"],
                "strength": row["strength"],
                "median_irregular": row["median_irregular"],
                "chamfer": row["losses"][f"chamfer_{block}"],
                "slopes": row["slopes"],
            }
            for row in result["history"]
        ],
        "by_layer": result["by_layer"],
    }
    return {**settings, **_six_digits(measured)}


def _six_digits(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _six_digits(each) for key, each in value.items()}
    return [_six_digits(each) for each in value] if isinstance(value, list) else value
