"""What a trace file holds, and under which names: the one place that says so.

A trace holds what cannot be computed again, and nothing else; ``docs/trace.md`` describes it for
users. Layers are evaluated when traces are compared.
"""

TRACE_SCHEMA = "p2m-parity-trace/2"
FORMER_SCHEMA = "p2m-parity-trace/1"

TAPS = "taps"
"""Activations of the run in the precision asked for, attribute ``order``."""
FLOAT64 = "float64"
"""The same of the run in float64."""
WEIGHTS = "weights"
"""The checkpoint's variables, float32, by checkpoint key."""
INPUTS = "inputs"
"""All that the run read beside its weights."""
SAMPLES = "samples"
"""The points on the meshes that the losses were taken at."""
LOSSES, FLOAT64_LOSSES = "losses", "float64_losses"
"""Scalars by term."""
GRADIENTS, FLOAT64_GRADIENTS = "gradients", "float64_gradients"
"""Of the total loss, by checkpoint key, and ``mesh``."""
TAP_GRADIENTS, FLOAT64_TAP_GRADIENTS = "tap_gradients", "float64_tap_gradients"
"""Of the total loss, at every tap."""
TAP_VALUES, FLOAT64_TAP_VALUES = "tap_values", "float64_tap_values"
"""Taps as the differentiated pass computed them, only where it has not the bits of the run's own: a
pass that keeps what it needs for the backward pass may add up in another order."""
MESH = "mesh"
"""The output mesh's triangles, for pictures."""

COMPARED = (TAPS, LOSSES, GRADIENTS)
"""The groups whose entries are compared one by one."""
READ_GROUPS = (
    TAPS,
    FLOAT64,
    WEIGHTS,
    INPUTS,
    SAMPLES,
    LOSSES,
    FLOAT64_LOSSES,
    GRADIENTS,
    FLOAT64_GRADIENTS,
    TAP_GRADIENTS,
    FLOAT64_TAP_GRADIENTS,
    TAP_VALUES,
    FLOAT64_TAP_VALUES,
    MESH,
)
"""All groups, each checked as a file is opened."""
ROOT_ATTRIBUTES = (
    "schema",
    "complete",
    "stage",
    "backend",
    "dtype",
    "device",
    "weights_sha256",
    "inputs_sha256",
    "versions",
    "requested",
    "unmatched",
    "float64_missing",
    "notes",
    "vertices",
)
"""What the root says of the run."""
CHECKSUM = "crc32c"
"""The attribute of a scalar that holds its checksum, and of the root, of ``ROOT_ATTRIBUTES``.

Arrays are chunked, with HDF5's own checksum (Fletcher-32) a chunk, and the structures that lead to
them have checksums too, because the file is of HDF5's format of version 1.10."""
