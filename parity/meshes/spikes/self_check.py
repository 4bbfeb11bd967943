"""Whether the diagnosis names planted causes: one corrupted row of one tap at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from inputs.files import Float64
from parity.meshes.spikes.diagnose import row_behind
from parity.meshes.spikes.patching import Patching
from parity.meshes.spikes.replay import Replay, Values, vertex_taps
from parity.meshes.spikes.runs import Taken, planted, take_apart

# Noise of the tap's own size that changes nothing in the output, as behind a ReLU that stays
# closed, makes no spike: there is nothing to trace back, and the place is drawn again.
_LEAST_EFFECT = 1e-6


@dataclass(frozen=True)
class Planted:
    """A cause that was planted, and what was named.

    Attributes:
        tap: of the corrupted row.
        vertex: its vertex.
        by_inputs: tap and vertex named from the run alone: the row is not what its inputs give.
        by_patching: tap and vertex named with the clean run as reference.
    """

    tap: str
    vertex: int
    by_inputs: tuple[str, int]
    by_patching: tuple[str, int]

    @property
    def named(self) -> bool:
        """Whether both ways named tap and vertex."""
        return self.by_inputs == self.by_patching == (self.tap, self.vertex)


def self_check(replay: Replay, places: int, seed: int = 0) -> Iterator[Planted]:
    """Plant causes at random places, one after the other, and diagnose each run.

    Args:
        replay: the network; in the refine stage with some vertices only.
        places: how many.
        seed: of the places and the noise.
    """
    random = np.random.default_rng(seed)
    clean = replay.run()
    reference = Taken(replay, clean, {}, [])
    taps = vertex_taps(replay.stage)
    done = 0
    while done < places:
        tap = str(random.choice(taps))
        row = int(random.integers(len(replay.by_vertex(clean[tap]))))
        vertex = replay.vertex_of(row)
        values = planted(replay, clean, tap, vertex, seed=int(random.integers(2**31)))
        moved = np.linalg.norm(replay.output(values) - replay.output(clean), axis=1)
        if moved.max() < _LEAST_EFFECT:
            continue
        done += 1
        # From here on only the values are known, as if they had been read from a trace.
        yield _named(replay, values, reference, tap, vertex)


def _named(replay: Replay, values: Values, reference: Taken, tap: str, vertex: int) -> Planted:
    run = take_apart(replay, values)
    first = run.departed[0] if run.departed else None
    by_inputs = ("", -1) if first is None else (first.tap, first.vertex)
    moved = np.linalg.norm(replay.output(values) - replay.output(reference.values), axis=1)
    worst = int(moved.argmax())

    def position(rows: Float64) -> Float64:
        return rows[[worst]]

    found = Patching(run, reference, position).of([0], [])[0].bisected
    by_patching = (
        ("", -1)
        if found is None
        else (found, row_behind(run, reference, found, replay.vertex_of(worst)))
    )
    return Planted(tap, vertex, by_inputs, by_patching)
