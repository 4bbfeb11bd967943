"""The tests of a suite: one for every tap, loss, gradient and training step of a network."""

from collections.abc import Iterator
from dataclasses import dataclass

from network.registry import network_of
from network.terms import terms_of

TAP, LOSS, GRADIENT, STEP = "tap", "loss", "gradient", "step"
KINDS = (TAP, LOSS, GRADIENT, STEP)
_ENTRIES = {TAP: "", LOSS: "losses/", GRADIENT: "gradients/", STEP: "steps/"}


@dataclass(frozen=True)
class Check:
    """One test.

    ``kind`` is one of ``KINDS``; ``subject`` what it is of: a tap, a loss term, a variable's
    checkpoint key, ``mesh``, the number of a step.
    """

    kind: str
    subject: str

    @property
    def name(self) -> str:
        """As pytest writes a test with a parameter."""
        return f"{self.kind}[{self.subject}]"

    @property
    def entry(self) -> str:
        """What a comparison calls it; of a step, what its entries begin with."""
        return f"{_ENTRIES[self.kind]}{self.subject}"


def checks_of(stage: str, normals: bool, steps: int) -> Iterator[Check]:
    """All tests of a network, in the order of a report.

    Args:
        stage: the network's name.
        normals: whether the ground truth has some, without which a loss term is left out.
        steps: how many training steps are taken.
    """
    network = network_of(stage)
    for row in network.taps:
        yield Check(TAP, row.name)
    if network.losses is not None:
        terms = terms_of(network.losses, False, normals)
        for number, _ in enumerate(network.meshes, start=1):
            yield from (Check(LOSS, f"{term}_{number}") for term in terms)
        yield from (Check(LOSS, name) for name in ("decay", "total"))
        for row in reversed(network.taps):
            yield Check(GRADIENT, row.name)
        yield Check(GRADIENT, "mesh")
        for variable in network.variables:
            yield Check(GRADIENT, variable.key)
        yield from (Check(STEP, str(number)) for number in range(1, steps + 1))
