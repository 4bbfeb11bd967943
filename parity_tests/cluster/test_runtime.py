"""Dask, as the commands have it."""

import logging

from cluster.runtime import distributed


def test_it_prints_nothing_beside_our_own_line() -> None:
    assert distributed.__name__ == "distributed"
    names = [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    loud = [name for name in names if logging.getLogger(name).getEffectiveLevel() < 50]
    # Dask's configuration gives some of its loggers levels of their own.
    assert "distributed.client" in names and not loud
