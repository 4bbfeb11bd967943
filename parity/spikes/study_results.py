"""What the study's finished runs come to: a row a run, and each factor's effect."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from parity.spikes.study import read_result
from parity.spikes.study_training import FACTORS
from weight_conversion.errors import InputError

STUDY_SCHEMA = "p2m-parity-spike-study/1"

FACTORIAL_RUNS = 16
"""Runs of a whole factorial: a part of it is not balanced, and is not summed up."""

RESPONSES = ("irregular_spikes", "strength", "chamfer")


@dataclass(frozen=True)
class Effect:
    """What switching a factor on changes.

    ``estimate`` is the mean with it minus the mean without it, over all runs of the design; ``low``
    and ``high`` the 95 % interval from the scatter that the main effects leave; None where the
    design leaves none.
    """

    factor: str
    response: str
    estimate: float
    low: float | None
    high: float | None


def study_result(folder: Path) -> dict[str, Any]:
    """All finished runs of a study, and the effects of its factorial designs.

    Raises:
        InputError: no such folder, no finished run in it, or a damaged one.
    """
    if not folder.is_dir():
        raise InputError(folder, "no such folder", "a folder that sweep wrote")
    found = [(path.parent.name, read_result(path.parent)) for path in folder.glob("*/result.json")]
    runs = [run_row(result) for _, result in sorted(found) if result is not None]
    if not runs:
        raise InputError(folder, "no finished run", "a folder that sweep wrote")
    designed: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in runs:
        if row["design"] == "factorial":
            designed.setdefault((row["item"], row["seed"], row["blocks"], row["steps"]), []).append(
                row
            )
    effects = []
    for (item, seed, blocks, steps), rows in designed.items():
        found_effects = [vars(each) for each in effects_of(rows)]
        if found_effects:
            effects.append(
                {"item": item, "seed": seed, "blocks": blocks, "steps": steps, "runs": len(rows),
                 "effects": found_effects}
            )  # fmt: skip
    return {"schema": STUDY_SCHEMA, "runs": runs, "factorials": effects}


def run_row(result: dict[str, Any]) -> dict[str, Any]:
    """One run in a row: its settings, its last mesh, and spikes along the way."""
    run, last = result["run"], result["history"][-1]
    final = result["afterwards"]["as_trained"]
    block = run["blocks"]
    return {
        "name": run["name"],
        "design": run["design"],
        "item": run["item"],
        "seed": run["seed"],
        "blocks": block,
        "steps": run["steps"],
        "learning_rate": run["learning_rate"],
        "template": run["template"],
        "switched_on": run["switched_on"],
        "irregular": final["irregular"],
        "spikes": final["spikes"],
        "irregular_spikes": final["irregular_spikes"],
        "spike_rate": final["spike_rate"],
        "strength": final["strength"],
        "strength_r2": final["strength_r2"],
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
            }
            for row in result["history"]
        ],
    }


def effects_of(rows: Sequence[dict[str, Any]]) -> list[Effect]:
    """The main effects of a designed set of runs, by least squares with the factors at ±1.

    Factors that do not vary in the set are left out; empty where a full set is not finished.
    """
    factors = [
        factor
        for factor in FACTORS
        if 0 < sum(factor in row["switched_on"] for row in rows) < len(rows)
    ]
    if not factors or len(rows) < FACTORIAL_RUNS:
        return []
    signs = np.array(
        [[1.0 if factor in row["switched_on"] else -1.0 for factor in factors] for row in rows]
    )
    design = np.concatenate([np.ones((len(rows), 1)), signs], axis=1)
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return []
    found = []
    for response in RESPONSES:
        values = np.array([float(row[response]) for row in rows])
        answer = np.linalg.lstsq(design, values, rcond=None)[0]
        free = len(rows) - design.shape[1]
        half = _half_width(design, values - design @ answer, free) if free else None
        for place, factor in enumerate(factors, start=1):
            effect = 2.0 * float(answer[place])
            spread = None if half is None else 2.0 * float(half[place])
            found.append(
                Effect(
                    factor,
                    response,
                    effect,
                    None if spread is None else effect - spread,
                    None if spread is None else effect + spread,
                )
            )
    return found


def _half_width(design: np.ndarray, left: np.ndarray, free: int) -> np.ndarray:
    """Half of each coefficient's 95 % interval (Student's t)."""
    from scipy.stats import t

    variance = float(left @ left) / free
    spread = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    return np.asarray(t.ppf(0.975, free) * spread)
