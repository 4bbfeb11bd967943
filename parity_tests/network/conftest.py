"""What the tests of the network share: seeded weights, and comparisons made once a session."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inputs.seeded import seeded_weights
from network import Network, registered
from parity_tests.network import third
from parity_tests.network.cases import Pairs
from reports.pytest_plugin import ParityReport
from weight_conversion.formats import WeightSet


@pytest.fixture(scope="session")
def weights() -> Callable[[str], WeightSet]:
    """Seeded weights of a stage."""
    found = {
        stage: WeightSet(stage, seeded_weights(stage), 0, "seed 0")
        for stage in ("coarse", "refine")
    }
    return found.__getitem__


@pytest.fixture(scope="session")
def pairs(
    tmp_path_factory: pytest.TempPathFactory,
    weights: Callable[[str], WeightSet],
    p2m_report: ParityReport,
) -> Pairs:
    """Comparisons by case, made when first asked for."""
    shared = Path(__file__).resolve().parents[3] / "shared"
    found = shared if (shared / "official").is_dir() else None
    return Pairs(tmp_path_factory.mktemp("pairs"), found, weights, p2m_report)


@pytest.fixture
def third_network() -> Iterator[Network]:
    """The network of ``third``, known by its name."""
    with registered(third.NETWORK) as found:
        yield found
