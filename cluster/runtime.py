"""Dask itself: imported in one place, and told to keep to itself what it would print."""

import importlib.util
import logging
import warnings

from weight_conversion.errors import InputError

__all__ = ["dashboard_installed", "distributed"]

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import distributed
except ImportError as error:
    raise InputError(
        "Dask", f"cannot be imported ({error})", "pip install 'pixel2mesh-parity[scale]'"
    ) from error

# A worker that dies is no news on a terminal: its items are computed again, or become rows. Nor is
# a scheduler's death more than our own line. Some of Dask's loggers have levels of their own.
for _name in list(logging.root.manager.loggerDict):
    if _name.partition(".")[0] == "distributed":
        logging.getLogger(_name).setLevel(logging.CRITICAL)


def dashboard_installed() -> bool:
    """Whether the scheduler's dashboard can show anything: it is drawn by Bokeh."""
    return importlib.util.find_spec("bokeh") is not None
