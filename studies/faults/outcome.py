"""What became of every fault and every harmless variation, and the figures that sum it up."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from studies.faults.fault import Fault
from studies.faults.harmless import Harmless

REACHING = ("forward", "loss", "gradient", "step")
"""Groups whose faults reach a tap, a loss, a gradient or a step."""


@dataclass(frozen=True)
class Judged:
    """One candidate judged on one stage.

    Attributes:
        kind: "fault" or "harmless".
        id: the fault's or variation's.
        stage: "coarse", "refine" or "pipeline".
        verdict: ``agree``, ``differ`` or ``invalid``.
        first_divergence: what differs first, by the judge.
        operand: what of it is wrong, by the judge.
        confirmed: whether that was tried out; otherwise it is a hint.
        seconds: how long it took.
        identical: of an undetected fault: whether every result on every probe has the same bits in
            float64.
        note: what went wrong where nothing could be judged.
    """

    kind: str
    id: str
    stage: str
    verdict: str
    first_divergence: str | None = None
    operand: str | None = None
    confirmed: bool = False
    seconds: float = 0.0
    identical: bool | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class FaultOutcome:
    """A fault and what was said of it on each of its stages."""

    fault: Fault
    judged: tuple[Judged, ...]

    @property
    def equivalent(self) -> bool:
        """Whether it computes the same function: by proof, or bit by bit on every probe."""
        return bool(self.fault.equivalent_because) or all(each.identical for each in self.judged)

    @property
    def detected(self) -> bool:
        """Whether it was found on every stage it is put into."""
        return all(each.verdict == "differ" for each in self.judged)

    @property
    def exact(self) -> bool:
        """Whether what was named first is where it is, on every stage."""
        return self.detected and all(self._exact(each) for each in self.judged)

    @property
    def operand_right(self) -> bool:
        """Whether the operand was named right on every stage."""
        return all(each.operand == self.fault.operand for each in self.judged)

    @property
    def operand_wrong(self) -> bool:
        """Whether another operand was named on a stage, and not this one among several."""
        named = [each.operand.split(" or ") for each in self.judged if each.operand]
        return any(self.fault.operand not in each for each in named)

    @property
    def named(self) -> str:
        """How the operand was named at worst: "confirmed", "hinted" or "silent"."""
        if any(each.operand is None for each in self.judged):
            return "silent"
        return "confirmed" if all(each.confirmed for each in self.judged) else "hinted"

    @property
    def worst(self) -> Judged:
        """The stage that speaks for all: the first one that went wrong, if any did."""
        wrong = [each for each in self.judged if not self._exact(each)]
        return (wrong or list(self.judged))[0]

    def to_json(self) -> dict[str, Any]:
        worst = self.worst
        return {
            "id": self.fault.id,
            "detected": self.detected,
            "first_divergence": worst.first_divergence,
            "expected": self._expected(worst),
            "operand": worst.operand,
            "operand_named": self.named,
            "expected_operand": self.fault.operand,
            "shows_in": list(self.fault.shows_in),
            "probe": self.fault.probe,
            "source": self.fault.source,
            "stages": [each.to_json() for each in self.judged],
        }

    def _expected(self, judged: Judged) -> str | None:
        return self.fault.expected[judged.stage] or None

    def _exact(self, judged: Judged) -> bool:
        return judged.verdict == "differ" and judged.first_divergence == self._expected(judged)


@dataclass(frozen=True)
class HarmlessOutcome:
    """A variation and what was said of it on each of its stages; nothing where it was skipped."""

    harmless: Harmless
    judged: tuple[Judged, ...]
    skipped: str = ""

    @property
    def verdict(self) -> str:
        """The worst of its stages'; ``skipped`` where there is none."""
        verdicts = [each.verdict for each in self.judged]
        for verdict in ("differ", "invalid"):
            if verdict in verdicts:
                return verdict
        return "agree" if verdicts else "skipped"

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"id": self.harmless.id, "verdict": self.verdict}
        if self.skipped:
            found["reason"] = self.skipped
        return {**found, "stages": [each.to_json() for each in self.judged]}


@dataclass(frozen=True)
class Outcome:
    """All of it."""

    faults: tuple[FaultOutcome, ...]
    harmless: tuple[HarmlessOutcome, ...]

    @property
    def real(self) -> list[FaultOutcome]:
        """The faults that are not equivalent to the right function."""
        return [each for each in self.faults if not each.equivalent]

    @property
    def equivalent(self) -> list[FaultOutcome]:
        return [each for each in self.faults if each.equivalent]

    @property
    def reaching(self) -> list[FaultOutcome]:
        """The real faults that reach a tap, a loss, a gradient or a step."""
        return [each for each in self.real if each.fault.group in REACHING]

    @property
    def recall(self) -> float | None:
        return _share(each.detected for each in self.real)

    @property
    def localised_exactly(self) -> float | None:
        return _share(each.exact for each in self.reaching)

    @property
    def operands_right(self) -> float | None:
        return _share(each.operand_right for each in self.reaching)

    @property
    def naming(self) -> dict[str, list[str]]:
        """The reaching faults whose operand was confirmed, hinted (each right or wrong), or not."""
        found: dict[str, list[str]] = {
            "confirmed": [], "confirmed wrong": [], "hinted": [], "hinted wrong": [], "silent": []
        }  # fmt: skip
        for each in self.reaching:
            wrong = " wrong" if each.named != "silent" and each.operand_wrong else ""
            found[each.named + wrong].append(each.fault.id)
        return found

    @property
    def false_alarms(self) -> list[str]:
        """Variations, and equivalent faults, that were not let pass."""
        harmless = [each.harmless.id for each in self.harmless
                    if each.verdict in ("differ", "invalid")]  # fmt: skip
        return harmless + [each.fault.id for each in self.equivalent
                           if any(one.verdict != "agree" for one in each.judged)]  # fmt: skip

    @property
    def missed(self) -> list[str]:
        return [each.fault.id for each in self.real if not each.detected]

    @property
    def elsewhere(self) -> list[FaultOutcome]:
        """What was found, and not where it is."""
        return [each for each in self.reaching if each.detected and not each.exact]

    @property
    def sound(self) -> bool:
        """Whether everything was found and nothing else."""
        return not self.missed and not self.false_alarms

    def to_json(self) -> dict[str, Any]:
        """The value that ``faults --json`` prints."""
        return {
            "recall": self.recall,
            "false_alarms": len(self.false_alarms),
            "localised_exactly": self.localised_exactly,
            "operands_right": self.operands_right,
            "operands": {kind: len(names) for kind, names in self.naming.items()},
            "missed": self.missed,
            "false_alarm_ids": self.false_alarms,
            "equivalent": [
                {"id": each.fault.id, "because": proof(each)} for each in self.equivalent
            ],
            "faults": [each.to_json() for each in self.faults],
            "harmless": [each.to_json() for each in self.harmless],
        }


def proof(outcome: FaultOutcome) -> str:
    """Why a fault counts as equivalent."""
    return outcome.fault.equivalent_because or "bit-identical in float64 on every probe"


def gather(
    faults: Iterable[Fault],
    harmless: Iterable[Harmless],
    judged: Mapping[tuple[str, str, str], Judged],
) -> Outcome:
    """What became of what was judged, by (kind, id, stage), in the order of the lists."""
    return Outcome(
        tuple(
            FaultOutcome(each, tuple(judged["fault", each.id, stage] for stage in each.stages))
            for each in faults
        ),
        tuple(
            HarmlessOutcome(each, (), each.skipped())
            if each.skipped()
            else HarmlessOutcome(
                each, tuple(judged["harmless", each.id, stage] for stage in each.stages)
            )
            for each in harmless
        ),
    )


def _share(values: Iterable[bool]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None
