"""The columns of the table of items."""

from collections.abc import Sequence

from parity.meshes.loss_weights import TERMS
from parity.meshes.scores import THRESHOLDS

DONE, FAILED = "done", "failed"

KEYS = ("category", "item", "status", "reason")
CHAMFER = "chamfer_distance"
F_SCORES = tuple(f"f_score_{threshold:.0e}".replace("e-0", "e-") for threshold in THRESHOLDS)
SCORES = (CHAMFER, *F_SCORES)
LOSSES = tuple(f"loss_{term}" for term in TERMS)
"""Unweighted, as ``losses`` computes them at a seed's samples."""
PARITY = ("verdict", "first_divergence", "vertex_distance", "max_abs")
"""Of each stage, as ``run`` says of the item; then the greatest Euclidean distance between the two
sides' places of a vertex, and the greatest difference of one coordinate."""
NOTES = ("note_kinds", "notes")
"""What is legal in an item's files and unlikely to be meant, see ``inputs.unlikely``: the kind of
each note and the notes, both with ``BETWEEN`` between them."""
BETWEEN = " | "
TIMES: dict[str, type] = {"seconds": float, "cpu_seconds": float, "worker": str}
"""What differs from run to run; kept in a table of its own."""

_TEXT = ("verdict", "first_divergence")


def of_side(side: str, name: str) -> str:
    """A figure's column: the reference's have a prefix."""
    return f"reference_{name}" if side == "reference" else name


def of_stage(stage: str, name: str) -> str:
    """A column of a stage's comparison."""
    return f"{stage}_{name}"


def columns(stages: Sequence[str], sides: Sequence[str]) -> dict[str, type]:
    """All columns in order, with the type of their values; any may be empty."""
    found: dict[str, type] = dict.fromkeys(KEYS, str)
    for side in sides:
        found |= {of_side(side, name): float for name in (*SCORES, *LOSSES)}
    if "reference" in sides:
        for stage in stages:
            found |= {of_stage(stage, name): str if name in _TEXT else float for name in PARITY}
    return found | dict.fromkeys(NOTES, str)
