"""What a fault says about itself before anybody judges it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from parity.faults.injection import Injection, Mutant

GROUPS = ("forward", "loss", "gradient", "step", "data", "export")
"""Where a fault can show, in the order in which one follows from the other."""
PIPELINE = "pipeline"
"""Stands for a stage where a fault concerns what surrounds the network: data, files."""


@dataclass(frozen=True, eq=False)
class Fault:
    """One deviation that can be put into a right implementation.

    Attributes:
        id: its name; in the catalogue the one of the observed deviation.
        description: what is done instead of what.
        part: the part of the implementation that is wrong.
        operand: a short term for what of that part is wrong: padding, bias, camera, …
        shows_in: of ``GROUPS``, where it can be seen by itself, without following from an earlier
            one; it is judged at the first.
        probe: name of the probe that can tell; see ``parity.faults.probes``.
        expected: by stage, the first thing that differs: a tap, ``losses/T``, ``gradients/KEY``,
            ``steps/N/KEY``, or the name of a check of the data or of the exported file. Variables
            are gone through in the order of ``parity.faults.order``. Empty where nothing does.
        source: "catalogue", or the rule that generated it.
        injection: how it is put in.
        dtype: the precision in which it shows: float64, or float32 where it is the same function
            with more rounding.
        equivalent_because: the proof that it computes the same function, where it does.
        small: whether it belongs to the small form that continuous integration runs.
    """

    id: str
    description: str
    part: str
    operand: str
    shows_in: tuple[str, ...]
    probe: str
    expected: Mapping[str, str]
    source: str
    injection: Injection = field(default_factory=Injection)
    dtype: str = "float64"
    equivalent_because: str = ""
    small: bool = False

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(self.expected)

    @property
    def group(self) -> str:
        """Where it is judged."""
        return self.shows_in[0]

    def backend(self, stage: str, dtype: str = "float32", device: str = "cpu") -> Mutant:
        """A candidate with this fault; the form of ``parity.backends.Factory``."""
        return Mutant(self.injection, stage, dtype, device)
