"""Between checkpoint layout and state-dict layout, and between files.

Everything here moves numbers and computes none: a value's bits are the same on both sides.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.registry import network_of
from weight_conversion.recognise import THE_ONLY_ONE, Choice, listing
from weight_conversion.weight_set import WeightSet, check_arrays, weights_sha256


def to_state_dict(stage: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """The state dict of ``arrays``.

    Args:
        stage: the network's name.
        arrays: by checkpoint key, float32 in checkpoint layout (HWIO, (C_in, C_out)).

    Returns:
        By state-dict key, in the order of the network: new contiguous float32 arrays in state-dict
        layout (OIHW, (C_in, C_out)).

    Raises:
        InputError: names, shapes, types or values are not those of the stage.
    """
    check_arrays(f"{stage} weights", stage, arrays)
    rows = network_of(stage).variables
    return {row.torch_key: row.layout.to_torch(arrays[row.key]) for row in rows}


@dataclass(frozen=True)
class Summary:
    """What a conversion did.

    ``notes`` says what a person should know about it: what was left out, what could not be kept.
    """

    source: str
    destination: str
    stage: str
    step: int | None
    variables: int
    numbers: int
    weights_sha256: str
    ignored: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "ignored": list(self.ignored), "notes": list(self.notes)}


def convert(
    source: Path | str,
    destination: Path | str,
    choice: Choice = THE_ONLY_ONE,
    write: Callable[[Path, WeightSet], None] | None = None,
) -> Summary:
    """Read weights from one file and write them to another, in the format of its ending.

    Args:
        source: a file of any format.
        destination: the file to write.
        choice: which set of weights, where the source holds several.
        write: writes weights to a path; ``save_weights`` by default.

    Raises:
        InputError: the source is not a stage's weights, or the destination cannot be written.
    """
    # The libraries of all formats, which a network that only loads arrays does without.
    from weight_conversion.formats import load_weights, save_weights, step_kept

    weights = load_weights(source, choice)
    # While the disk works, or on another processor: the hash and the disk take about as long.
    with ThreadPoolExecutor(1) as beside:
        digest = beside.submit(weights_sha256, weights.arrays)
        (save_weights if write is None else write)(Path(destination), weights)
    written = step_kept(destination, weights.step)
    notes = list(weights.notes)
    if weights.ignored:
        notes.append(f"{len(weights.ignored)} left out: {listing(weights.ignored)}")
    if weights.step is not None and written != weights.step:
        notes.append(f"a checkpoint's step is in its name: {weights.step} became {written}")
    return Summary(
        source=str(source),
        destination=str(destination),
        stage=weights.stage,
        step=written,
        variables=len(weights.arrays),
        numbers=sum(array.size for array in weights.arrays.values()),
        weights_sha256=digest.result(),
        ignored=weights.ignored,
        notes=tuple(notes),
    )
