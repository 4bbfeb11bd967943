"""Reading small input files whole, with every fault turned into one `InputError`.

Inputs come from strangers: each reader states the most it is willing to read, refuses what is not
a regular file (a pipe would block for ever), and never lets a header decide how much memory to ask
for.
"""

import io
import math
import stat
import tokenize
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from weight_conversion.errors import InputError

Array = npt.NDArray[np.generic]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

MEBIBYTE = 1 << 20

# NumPy reads a header as a Python literal, and hostile ones break every stage of that.
_HEADER_FAULTS = (
    KeyError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
)


def read_bytes(path: Path, expected: str, limit: int = 64 * MEBIBYTE) -> bytes:
    """The whole file, of ``limit`` bytes at most.

    Args:
        path: the file.
        expected: what it should have been, for the message.
        limit: greatest size accepted, in bytes.

    Raises:
        InputError: missing, not a regular file, unreadable, empty or too large.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise InputError(path, f"is {kind}", expected)
        if status.st_size > limit:
            raise InputError(
                path, f"has {status.st_size} bytes", f"{expected} of {limit} bytes at most"
            )
        with path.open("rb") as stream:
            content = stream.read(status.st_size)
    except FileNotFoundError as error:
        raise InputError(path, "no such file", expected) from error
    except (OSError, ValueError) as error:
        # ValueError: a path with a null byte in it.
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(path, reason, expected) from error
    if not content:
        raise InputError(path, "is empty", expected)
    return content


def read_text(path: Path, expected: str, limit: int = 64 * MEBIBYTE) -> str:
    """The whole file as UTF-8 text.

    Raises:
        InputError: as `read_bytes`, or not text.
    """
    content = read_bytes(path, expected, limit)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(path, f"is not text (byte {error.start})", expected) from error


def read_table(path: Path, columns: Sequence[int], expected: str) -> Float64:
    """Rows of numbers separated by blanks; empty lines and ``#`` comments are skipped.

    Args:
        path: a text file.
        columns: the numbers a row may have, the same for all rows.
        expected: what a row holds, for the message.

    Returns:
        (rows, columns) float64, all finite.

    Raises:
        InputError: as `read_text`; no rows; a row with another number of columns; a value that is
            no finite number.
    """
    rows: list[list[str]] = []
    for number, line in enumerate(read_text(path, expected).splitlines(), start=1):
        values = line.partition("#")[0].split()
        if not values:
            continue
        wanted = columns if not rows else (len(rows[0]),)
        if len(values) not in wanted:
            raise InputError(f"{path}, line {number}", f"{len(values)} values", expected)
        check_numbers(f"{path}, line {number}", values, expected)
        rows.append(values)
    if not rows:
        raise InputError(path, "has no rows", expected)
    return np.array(rows, dtype=np.float64)


def check_numbers(where: object, values: Sequence[str], expected: str) -> None:
    """Refuse values that are no finite decimal numbers.

    Raises:
        InputError: names the first value at fault.
    """
    for value in values:
        try:
            # Python's own float() also takes "1_000", which no other reader of these files does.
            finite = math.isfinite(float(value)) and "_" not in value
        except ValueError:
            finite = False
        if not finite:
            raise InputError(where, f"{shown(value)} is not a finite number", expected)


def shown(value: object, length: int = 40) -> str:
    """A value for a message: its representation, cut where it is long."""
    text = repr(value)
    return text if len(text) <= length else f"{text[:length]}…"


def read_npy(path: Path, expected: str) -> Array:
    """An ``.npy`` array of floating-point numbers.

    NumPy's own reader allocates what the header asks for before it looks at the file's size; here
    the two must agree first. Pickled (object) arrays are refused.

    Raises:
        InputError: not such a file, or its size is not what its header says.
    """
    content = read_bytes(path, expected)
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        with warnings.catch_warnings():
            # Files written by Python 2 make NumPy warn about how slowly it reads their header.
            warnings.simplefilter("ignore")
            shape, fortran, dtype = read_header(stream)
    except _HEADER_FAULTS as error:
        raise InputError(path, "is not a readable .npy file", expected) from error
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise InputError(path, f"is an array of {shown(str(dtype))}", expected)
    size = dtype.itemsize
    for extent in shape:
        size *= extent
    if min(shape, default=0) < 0 or len(shape) > 8 or size != len(content) - stream.tell():
        raise InputError(
            path,
            f"its header says {shown(shape)} but {len(content) - stream.tell()} bytes follow",
            expected,
        )
    flat = np.frombuffer(content, dtype=dtype, offset=stream.tell())
    array = flat.reshape(shape, order="F" if fortran else "C")
    return np.ascontiguousarray(array.astype(dtype.newbyteorder("=")))


def float32(where: object, values: npt.ArrayLike, expected: str) -> Float32:
    """Numbers rounded to float32, as they are fed to the network.

    Raises:
        InputError: NaN, infinite, or beyond float32's range.
    """
    with np.errstate(over="ignore"):
        rounded = np.array(values, dtype=np.float32)
    wrong = np.argwhere(~np.isfinite(rounded))
    if len(wrong):
        at = ", ".join(str(index) for index in wrong[0])
        raise InputError(
            where,
            f"{len(wrong)} of {rounded.size} values are NaN, infinite or beyond float32, "
            f"the first at [{at}]",
            expected,
        )
    return rounded
