"""Who judges a candidate, and what it has to say."""

from dataclasses import dataclass
from typing import Protocol

from parity.traces.backends import Factory
from studies.faults.probes import Probe


class Judgement(Protocol):
    """What a judge says of one candidate on one probe."""

    @property
    def verdict(self) -> str:
        """``agree``, ``differ`` or ``invalid``."""

    @property
    def first_divergence(self) -> str | None:
        """A tap, ``losses/T``, ``gradients/KEY``, ``steps/N/KEY``; None where nothing differs."""

    @property
    def operand(self) -> str | None:
        """What of it is wrong, where the judge can tell."""

    @property
    def confirmed(self) -> bool:
        """Whether the operand was tried out, and is no mere hint."""


class Judge(Protocol):
    """Who decides.

    A call makes the reference and the candidate from their factories, asks both what the probe is
    about (``probe.group``), in the precisions that it needs, and says what it found.
    """

    @property
    def name(self) -> str:
        """What judgements of this judge are filed under."""

    def __call__(self, reference: Factory, candidate: Factory, probe: Probe) -> Judgement:
        """Judge a candidate on a probe."""


@dataclass(frozen=True)
class Found:
    """A judgement as plain values."""

    verdict: str
    first_divergence: str | None = None
    operand: str | None = None
    confirmed: bool = False
