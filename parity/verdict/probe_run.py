"""The run of a probe, as far as its coverage asks for it."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from parity.oracle.chunks import Part


class ProbeRun(Protocol):
    """One recorded run; see ``parity.verdict.traced.TracedRun``."""

    @property
    def recorded(self) -> Sequence[slice]:
        """Those vertices of the mesh that the stage starts from whose values are known."""

    def value(self, name: str, part: Part) -> np.ndarray:
        """Part of a tap, or of an input named as in ``TapRow.parents``, as float64."""
