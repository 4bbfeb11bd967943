"""Who else can hold two traces against each other, and how fast.

Each reads the runs' own activations, tap by tap, and says which are not close by its own usual
tolerances. None of them knows a layer, reads the runs in float64, or says why: what they find is
beside what the verdict finds in the same traces, not in place of it.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parity.traces import layout
from parity.traces.trace import open_trace
from parity.verdict.compare import compare

Array = NDArray[np.generic]
Close = Callable[[str, Array, Array], bool]
"""Whether a tap of the candidate is close to the reference's."""


def numpy_close() -> Close:
    """A plain loop over ``numpy.allclose``."""
    return lambda _tap, reference, candidate: bool(np.allclose(candidate, reference))


def torch_close() -> Close:
    """``torch.testing.assert_close``."""
    import torch

    def close(_tap: str, reference: Array, candidate: Array) -> bool:
        try:
            torch.testing.assert_close(torch.from_numpy(candidate), torch.from_numpy(reference))
        except AssertionError:
            return False
        return True

    return close


def polygraphy_close() -> Close:
    """Polygraphy's comparator; ``pip install polygraphy`` needs no GPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from polygraphy.comparator import IterationResult, SimpleCompareFunc
        from polygraphy.logger import G_LOGGER

    G_LOGGER.module_severity = G_LOGGER.CRITICAL
    compared = SimpleCompareFunc()

    def close(tap: str, reference: Array, candidate: Array) -> bool:
        sides = (IterationResult({tap: side}) for side in (candidate, reference))
        return all(bool(found) for found in compared(*sides).values())

    return close


PEERS: Mapping[str, Callable[[], Close]] = {
    "numpy.allclose": numpy_close,
    "torch.testing.assert_close": torch_close,
    "polygraphy": polygraphy_close,
}
OURS = "p2m-parity"
"""The verdict itself: every layer alone, in both precisions, with what is wrong."""


def first_found(name: str, reference: Path, candidate: Path) -> tuple[bool, str | None]:
    """Whether a peer, or the verdict, says that two traces differ, and the first tap it names."""
    if name == OURS:
        found = compare(reference, candidate)
        return found.first_divergence is not None, found.first_divergence
    close = PEERS[name]()
    far = [tap for tap, r, c in _taps(reference, candidate) if not close(tap, r, c)]
    return bool(far), far[0] if far else None


def _taps(reference: Path, candidate: Path) -> Iterator[tuple[str, Array, Array]]:
    """Every tap that both have, whole, in the order of computation."""
    with open_trace(reference) as first, open_trace(candidate) as second:
        for tap in first.names(layout.TAPS):
            if second.has(layout.TAPS, tap):
                sides = (trace.dataset(layout.TAPS, tap)[()] for trace in (first, second))
                yield tap, *sides
