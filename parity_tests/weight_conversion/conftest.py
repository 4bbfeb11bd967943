"""A stage of four variables, one of each kind, on which whole files can be tried quickly."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from network.description import Network
from network.layout import Layout
from network.registry import registered
from network.weights import WeightRow
from weight_conversion.weight_set import WeightSet

SMALL = (
    WeightRow("small", "s/cnn/c/W:0", "m/cnn/c/W", "cnn.c.weight", (3, 2, 4, 5), Layout.CONV),
    WeightRow("small", "s/cnn/c/b:0", "m/cnn/c/b", "cnn.c.bias", (5,), Layout.VECTOR),
    WeightRow("small", "s/g_vars/weights_0:0", "m/g/w", "g.weights_0", (3, 3), Layout.MATRIX),
    WeightRow("small", "s/g_vars/bias:0", "m/g/b", "g.bias", (3,), Layout.VECTOR),
)


def fill(rows: tuple[WeightRow, ...], seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {row.key: generator.standard_normal(row.shape, np.float32) for row in rows}


@pytest.fixture
def small() -> Iterator[WeightSet]:
    """Weights of a stage "small", step 7, with the values that careless copies lose."""
    arrays = fill(SMALL)
    arrays["s/cnn/c/b:0"][:] = (-0.0, 0.0, 1e-45, -1.1754942e-38, 3.4028235e38)
    with registered(Network("small", (), SMALL, {}, (), "")):
        yield WeightSet("small", arrays, 7, "a test")


@pytest.fixture
def small_files(small: WeightSet, tmp_path: Path) -> Path:
    """A folder with ``w.<ending>`` in every format that is written, and ``w.ckpt-7``."""
    from weight_conversion.formats import FORMATS, save_weights

    for form in FORMATS:
        if form.write is not None:
            save_weights(tmp_path / f"w{form.suffix or '.ckpt-7'}", small)
    return tmp_path
