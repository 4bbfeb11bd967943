"""What a weights file holds, whether or not it is one of this network's."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.registry import network_of
from network.weights import WeightRow
from weight_conversion.containers.contents import Contents, Variable
from weight_conversion.errors import InputError
from weight_conversion.formats import Format, opened_weights
from weight_conversion.recognise import THE_ONLY_ONE, Choice, Naming, listing, recognise_stage
from weight_conversion.weight_set import HALVES, shape_text, weights_sha256, widened, widening


@dataclass(frozen=True)
class VariableReport:
    """One variable.

    Attributes:
        key: its checkpoint key; for a variable that is none of the stage's, its name in the file.
        torch_key: its name in the state dict; None where it has none.
        shape: its shape in the checkpoint's layout; of an unknown variable, in the file's.
        stored_shape: its shape in the file's layout.
        dtype: its element type.
        sha256: SHA-256 of its values, little-endian, in C order of ``shape``; None, as all that
            follow, where the values were not read.
        minimum: the least value.
        maximum: the greatest value.
        rms: the root of the mean square.
        not_finite: how many values are NaN or infinite.
    """

    key: str
    torch_key: str | None
    shape: tuple[int, ...]
    stored_shape: tuple[int, ...]
    dtype: str
    sha256: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    rms: float | None = None
    not_finite: int | None = None


@dataclass(frozen=True)
class Inspection:
    """A weights file as it is.

    Attributes:
        path: the file or the checkpoint's prefix, as given.
        format: the format's name.
        stage: the network's name; None if its variables are not exactly one stage's.
        step: the training step, where the file gives it.
        variables: in the order of the network, then the unknown ones; of a stage's file, the
            names in ``extras`` are not among them.
        data_present: False for a checkpoint's index whose data files are not there.
        extras: optimiser slots and counters of a checkpoint, constants of an ONNX graph, entries
            beside a PyTorch training checkpoint's state dict: a conversion leaves them out.
        weights_sha256: the checksum of the whole set, equal in every format; None without a stage
            or without its data.
        checksums: "verified" if every value was read and held against a checksum of the file's
            own, else "unverified".
        problems: why the file cannot be used as weights; empty if it can.
        notes: what a conversion does about it and tells: a scope, averages, half precision.
    """

    path: str
    format: str
    stage: str | None
    step: int | None
    variables: tuple[VariableReport, ...]
    data_present: bool
    extras: tuple[str, ...]
    weights_sha256: str | None
    checksums: str
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def numbers(self) -> int:
        """How many numbers the variables have in all."""
        return sum(int(np.prod(variable.shape, dtype=object)) for variable in self.variables)

    def to_json(self) -> dict[str, Any]:
        """The inspection in JSON's own types, NaN and the infinities as strings."""
        return {
            "path": self.path,
            "format": self.format,
            "stage": self.stage,
            "step": self.step,
            "data_present": self.data_present,
            "weights_sha256": self.weights_sha256,
            "checksums": self.checksums,
            "numbers": self.numbers,
            "extras": list(self.extras),
            "problems": list(self.problems),
            "notes": list(self.notes),
            "variables": [
                {name: _plain(value) for name, value in vars(variable).items()}
                for variable in self.variables
            ],
        }


def inspect_weights(path: Path | str, choice: Choice = THE_ONLY_ONE) -> Inspection:
    """List what a weights file holds, of several sets of weights the one of ``choice``.

    Foreign variables, other types, values that are not finite and an index without its data are
    reported; only what cannot be read at all is an error.

    Raises:
        InputError: the file is missing or damaged.
    """
    path = Path(path)
    with opened_weights(path) as (form, contents):
        described = {variable.name: variable for variable in contents.variables}
        problems = []
        if contents.missing:
            absent = listing(missing.name for missing in contents.missing)
            problems.append(f"without data, which should be in {absent}")
        stage: str | None = None
        rows: dict[str, WeightRow] = {}
        notes = list(contents.notes)
        try:
            found = recognise_stage(described, form.naming, path, form.strangers, choice)
        except InputError as error:
            problems.append(str(error).removeprefix(f"{path}: "))
        else:
            stage = found.stage
            rows = {found.names[row.key]: row for row in network_of(stage).variables}
            notes += [*found.notes, *widening(described[name].dtype for name in rows)]
        extras = [name for name in described if stage and name not in rows]
        names = [*rows, *(name for name in described if name not in rows and name not in extras)]
        arrays: dict[str, NDArray[Any]] = {}
        reports = []
        for name in names:
            report, array = _report(described[name], rows.get(name), form, contents)
            reports.append(report)
            if array is not None:
                arrays[report.key] = widened(array)
            if stage:
                problems += _problems(report, rows[name])
        read = all(report.sha256 is not None for report in reports)
        complete = stage is not None and all(
            row.key in arrays and arrays[row.key].dtype == np.float32 for row in rows.values()
        )
        return Inspection(
            path=str(path),
            format=form.name,
            stage=stage,
            step=contents.step,
            variables=tuple(reports),
            data_present=not contents.missing,
            extras=tuple(sorted((*extras, *contents.extras))),
            weights_sha256=weights_sha256(arrays) if complete else None,
            checksums="verified" if contents.checked and read and reports else "unverified",
            problems=tuple(problems),
            notes=tuple(notes),
        )


def _report(
    variable: Variable, row: WeightRow | None, form: Format, contents: Contents
) -> tuple[VariableReport, NDArray[Any] | None]:
    """One variable's report, and its values in checkpoint layout where they could be read."""
    fits = row is not None and variable.shape == form.naming.shape_of(row)
    shape = row.shape if row is not None and fits else variable.shape
    key = row.key if row else variable.name
    torch_key = row.torch_key if row else None
    if row is None and form.naming is Naming.TORCH:
        torch_key = variable.name
    report = VariableReport(key, torch_key, shape, variable.shape, variable.dtype)
    if contents.missing or not _readable(variable, fits, contents):
        return report, None
    array = contents.read(variable.name)
    if row is not None and fits and form.naming is Naming.TORCH:
        array = row.layout.to_checkpoint(array)
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    wide = array.astype(np.float64).reshape(-1)
    with np.errstate(all="ignore"):  # values too large to square are reported, not warned about
        report = replace(
            report,
            sha256=hashlib.sha256(little.tobytes()).hexdigest(),
            minimum=float(wide.min()) if wide.size else None,
            maximum=float(wide.max()) if wide.size else None,
            rms=float(np.sqrt(np.mean(wide * wide))) if wide.size else None,
            not_finite=int(wide.size - np.isfinite(wide).sum()),
        )
    return report, array


def _readable(variable: Variable, fits: bool, contents: Contents) -> bool:
    """Whether to read the values: real numbers, no more bytes than expected or on the disk.

    A foreign file may describe any amount of values in a few bytes (unwritten parts of an HDF5
    dataset, a compressed archive).
    """
    try:
        # NumPy has no bfloat16: containers give its values as float32.
        dtype = np.dtype("float16" if variable.dtype == "bfloat16" else variable.dtype)
    except TypeError:
        return False
    if dtype.kind not in "fiub":
        return False
    size = int(np.prod(variable.shape, dtype=object)) * dtype.itemsize
    return fits or size <= sum(path.stat().st_size for path in contents.files)


def _problems(report: VariableReport, row: WeightRow) -> list[str]:
    """What keeps a stage's variable from being used."""
    problems = []
    if report.shape != row.shape:
        shape = shape_text(report.stored_shape) or "scalar"
        problems.append(f"{report.key} has shape {shape}, not {shape_text(row.shape)}")
    if report.dtype not in ("float32", *HALVES):
        problems.append(f"{report.key} is {report.dtype}, not float32")
    if report.not_finite:
        problems.append(f"{report.key} has {report.not_finite} values that are not finite")
    return problems


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not np.isfinite(value):
        return "NaN" if value != value else ("inf" if value > 0 else "-inf")
    return list(value) if isinstance(value, tuple) else value
