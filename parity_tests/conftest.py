"""Fixtures that several suites share: the official material and where it is."""

import os
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

import commands  # noqa: F401 - before torch: settles how its threads wait

SHARING = ("network", "tf_reference", "torch_impl", "page")
"""Suites whose tests share what takes long to make: under xdist each stays in one process.

Of the other suites each module does.
"""

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What tests measure of probes is not kept in the user's cache, nor taken from there."""
    os.environ["P2M_PARITY_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def official() -> Path:
    """The folder with the authors' exported graphs, template and items, where it is at hand."""
    folder = SHARED / "official"
    if not folder.is_dir():
        pytest.skip("the official material (../shared/official) is not beside this clone")
    return folder


@pytest.fixture(scope="session")
def shared(official: Path) -> Path:
    """The folder that holds ``official``, ``taps.csv`` and the variable tables."""
    return official.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the suites that stay in one process first, so that single modules fill up the end."""
    items.sort(key=lambda item: _suite(item.nodeid) not in SHARING)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Decide which tests stay in one process.

    Not by xdist's marks: under pytest 9.2 its version 3.8 no longer reads them, and says nothing.
    """
    # They are started in the order that they were put in, not those with most tests first.
    config.option.loadscopereorder = False
    return _BySuite(config, log)


class _BySuite(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        suite = _suite(nodeid)
        return suite if suite in SHARING else nodeid.partition("::")[0]


def _suite(nodeid: str) -> str:
    """The folder of the suite in which a test is: ``parity_tests/SUITE/…``."""
    return nodeid.split("/")[1]
