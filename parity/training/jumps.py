"""A training run whose loss jumps: seen as it happens, said once."""

from collections import deque

FACTOR = 10.0
"""How many times the least total of the last steps one has to be."""
STEPS = 20
"""How many steps are remembered. Before there are so many, a run has only begun."""


class Jumps:
    """Looks at each step's total."""

    def __init__(self) -> None:
        self._last: deque[tuple[float, int]] = deque(maxlen=STEPS)
        self._said = False

    def look(self, step: int, total: float) -> str:
        """What to tell of a step, "" for nothing."""
        least, where = min(self._last) if len(self._last) == STEPS else (float("inf"), 0)
        self._last.append((total, step))
        if self._said or not total > FACTOR * least:
            return ""
        self._said = True
        return (
            f"step {step}: the total is {total:.4g} and was {least:.4g} at step {where}: "
            "the learning rate is too great here; the last saved step is from before it only until "
            "the next one is saved (docs/training.md)"
        )
