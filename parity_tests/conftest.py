"""Fixtures that several suites share: the official material and where it is."""

import os
from pathlib import Path

import pytest

import commands  # noqa: F401 - before torch: settles how its threads wait

SHARING = ("network", "tf_reference", "torch_impl", "page")
"""Suites whose tests share what takes long to make: under xdist each stays in one process."""

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


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


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests belong in one process (``-n 2 --dist loadgroup``)."""
    suites = Path(__file__).resolve().parent
    for item in items:
        path = item.path.relative_to(suites)
        group = path.parts[0] if path.parts[0] in SHARING else str(path)
        item.add_marker(pytest.mark.xdist_group(group))
