"""Opening a trace in another process first; see ``weight_conversion.probe``.

That process opens the trace and walks all of it but the numbers.
"""

from pathlib import Path

from parity.traces.trace import open_trace
from weight_conversion.probe import probe as probe_files
from weight_conversion.probe import try_out


def probe(*paths: Path) -> None:
    """Make sure that these traces can be opened without harm, all at once.

    Raises:
        InputError: one of them crashes the HDF5 library or keeps it busy.
    """
    probe_files("parity.traces.probe", "an undamaged trace", *paths)


def _walk(path: Path) -> None:
    with open_trace(path):
        pass


if __name__ == "__main__":
    try_out(_walk)
