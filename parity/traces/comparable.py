"""Which traces may be held against each other at all."""

from reprlib import repr as short

import numpy as np

from parity.traces.trace import TraceReader
from weight_conversion.errors import InputError


def check_comparable(reference: TraceReader, candidate: TraceReader) -> None:
    """Refuse two traces that are not runs of the same stage on the same inputs.

    Raises:
        InputError: they are not, or one lacks inputs that every trace holds.
    """
    for trace in (reference, candidate):
        header = trace.header
        network = trace.network
        if header.dtype not in ("float32", "float64"):
            raise InputError(trace.path, f"dtype {short(header.dtype)}", "float32 or float64")
        for name, shape in network.inputs.items():
            found = trace.dataset("inputs", name).shape
            if found != shape:
                raise InputError(trace.path, f"/inputs/{name} has shape {found}", f"{shape}")
    if reference.header.stage != candidate.header.stage:
        raise InputError(
            candidate.path,
            f"a trace of the {candidate.header.stage} stage",
            f"the {reference.header.stage} stage, as in {reference.path}",
        )
    if reference.header.vertices != candidate.header.vertices:
        found, expected = (_vertices(each) for each in (candidate, reference))
        raise InputError(
            candidate.path, f"recorded at {found}", f"{expected}, as in {reference.path}"
        )
    given = sorted({*reference.names("inputs"), *candidate.names("inputs")})
    different = [name for name in given if not _equal(reference, candidate, name)]
    if different or reference.header.inputs_sha256 != candidate.header.inputs_sha256:
        what = f" ({', '.join(different)})" if different else ""
        raise InputError(
            candidate.path,
            f"recorded on other inputs{what} than {reference.path}",
            "two runs on the same inputs",
        )


def _vertices(trace: TraceReader) -> str:
    """The vertices of a trace, in words."""
    ranges = trace.header.vertices
    return (
        f"vertices {', '.join(f'{a} to {b - 1}' for a, b in ranges)}" if ranges else "all vertices"
    )


def _equal(reference: TraceReader, candidate: TraceReader, name: str) -> bool:
    if not (reference.has("inputs", name) and candidate.has("inputs", name)):
        return False
    return np.array_equal(
        reference.array("inputs", name), candidate.array("inputs", name), equal_nan=True
    )
