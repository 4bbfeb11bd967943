"""The stack machine that `inputs.pickles` runs pickles on: it makes plain data and arrays only."""

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from inputs.files import shown

_MOST_STEPS = 1_000_000
_MOST_AXES = 8
_NUMBER_CODE = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248])")

_ADMITTED: Final = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("numpy.core.multiarray", "_reconstruct"): "reconstruct",
    ("numpy._core.multiarray", "_reconstruct"): "reconstruct",
    ("numpy.core.multiarray", "scalar"): "scalar",
    ("numpy._core.multiarray", "scalar"): "scalar",
    ("numpy.core.numeric", "_frombuffer"): "frombuffer",
    ("numpy._core.numeric", "_frombuffer"): "frombuffer",
    # How Python 3 writes bytes for Python 2.
    ("_codecs", "encode"): "encode",
    ("__builtin__", "bytes"): "bytes",
}


@dataclass(frozen=True)
class _Word:
    """An admitted name, as a word and not as the object it names in Python."""

    meaning: str


@dataclass
class _Number:
    """A dtype: first its code, its byte order by the BUILD that follows."""

    code: str
    order: str = "="

    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.code)


@dataclass
class _Blank:
    """An array that has been announced and is filled by the BUILD that follows."""

    array: npt.NDArray[Any] | None = None


class Machine:
    """One run over one pickle.

    Attributes:
        stack: operands since the innermost mark.
        outer: the operands before each mark that is still open.
        memo: what the pickle has numbered for later use.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.position = 0
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.bytes_left = 4 * len(content)

    def run(self, instructions: Mapping[bytes, Callable[["Machine"], object]]) -> Any:
        """What the pickle builds, by what each opcode does.

        Raises:
            ValueError: it is damaged or holds anything but plain data; the message is for people.
            IndexError, TypeError, OverflowError, struct.error: it is damaged.
        """
        for _ in range(_MOST_STEPS):
            code = self.take(1)
            if code == b".":
                return _finished(self.stack.pop())
            instruction = instructions.get(code)
            if instruction is None:
                raise ValueError(f"is damaged or not a pickle (instruction {code!r})")
            instruction(self)
        raise ValueError(f"has more than {_MOST_STEPS} instructions")

    # Reading the stream.

    def take(self, count: int) -> bytes:
        if count < 0 or count > len(self.content) - self.position:
            raise ValueError("is damaged or not a pickle (it ends too early)")
        start, self.position = self.position, self.position + count
        return self.content[start : self.position]

    def integer(self, layout: str) -> int:
        return int(struct.unpack(layout, self.take(struct.calcsize(layout)))[0])

    def counted(self, layout: str) -> bytes:
        return self.take(self.integer(layout))

    def line(self) -> bytes:
        end = self.content.find(b"\n", self.position)
        if end < 0:
            raise ValueError("is damaged or not a pickle (it ends inside a line)")
        return self.take(end + 1 - self.position)[:-1]

    # The stack.

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        return self.stack.pop()

    def pop_finished(self) -> Any:
        return _finished(self.stack.pop())

    def mark(self) -> None:
        self.outer.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.outer.pop()
        return [_finished(item) for item in items]

    def discard(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    def tuple_of(self, count: int) -> None:
        items = [self.pop_finished() for _ in range(count)]
        self.push(tuple(reversed(items)))

    def put(self, number: int) -> None:
        self.memo[number] = self.stack[-1]

    def get(self, number: int) -> None:
        if number not in self.memo:
            raise ValueError("is damaged or not a pickle (unknown number)")
        self.push(self.memo[number])

    def extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise ValueError("appends to something that is no list")
        self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise ValueError("sets items of something that is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | bytes | int):
                raise ValueError("a dict has keys that are no strings or numbers")
            target[key] = value

    # Names, calls and state: the few that make arrays.

    def name(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("asks for something whose name is no string")
        meaning = _ADMITTED.get((module, name))
        if meaning is None:
            wanted = shown(f"{module[:60]}.{name[:60]}", 60)
            raise ValueError(f"asks for {wanted}, which is not plain data")
        self.push(_Word(meaning))

    def call(self) -> None:
        arguments, word = self.pop(), self.pop()
        if not isinstance(word, _Word) or not isinstance(arguments, tuple):
            raise ValueError("calls something that is no function")
        match word.meaning, arguments:
            case "reconstruct", (_Word("ndarray"), (0,), "b" | b"b"):
                self.push(_Blank())
            case "dtype", (str(code), *_) if _NUMBER_CODE.fullmatch(code):
                self.push(_Number(code.lstrip("<>=|"), code[0] if code[0] in "<>" else "="))
            case "dtype", (code, *_):
                kind = shown(code) if isinstance(code, str) else type(code).__name__
                raise ValueError(f"has an array of dtype {kind}, not of numbers")
            case "scalar", (_Number() as number, raw):
                self.push(self.array(raw, number, (), "C").item())
            case "frombuffer", (raw, _Number() as number, tuple(shape), "C" | "F" as order):
                self.push(self.array(raw, number, shape, order))
            case "bytes", ():
                self.push(b"")
            case "encode", (str(text), "latin1" | "latin-1" | "iso-8859-1"):
                self.spend(len(text))
                self.push(text.encode("latin-1"))
            case _:
                raise ValueError(f"calls {word.meaning} with other arguments than arrays have")

    def build(self) -> None:
        state, target = self.pop(), self.stack[-1]
        match target, state:
            case _Number(), (3 | 4, "<" | ">" | "=" | "|" as order, None, None, None, -1, -1, 0):
                target.order = "=" if order == "|" else order
            case _Blank(array=None), (1, tuple(shape), _Number() as number, fortran, raw):
                target.array = self.array(raw, number, shape, "F" if fortran else "C")
            case _:
                raise ValueError("sets the state of something that is no array of numbers")

    def spend(self, count: int) -> None:
        """Account for bytes copied: one numbered string can be asked for any number of times."""
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise ValueError("holds far more array data than the file has bytes")

    def array(
        self, raw: object, number: _Number, shape: tuple[Any, ...], order: str
    ) -> npt.NDArray[Any]:
        """An array from its bytes, which must be exactly as many as its shape says."""
        dtype = number.dtype()
        size = dtype.itemsize
        # Only once it is known to be a few integers may the shape be shown: the representation of
        # lists that hold one another can be larger than any memory.
        if len(shape) > _MOST_AXES or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError("has an array whose shape is not a few sizes")
        for extent in shape:
            size *= extent
        if not isinstance(raw, str | bytes | bytearray) or len(raw) != size:
            held = f"{len(raw)} bytes" if isinstance(raw, str | bytes | bytearray) else "no bytes"
            raise ValueError(f"has an array of shape {shown(shape)} with {held} of data")
        self.spend(size)
        data = raw.encode("latin-1") if isinstance(raw, str) else bytes(raw)
        flat = np.frombuffer(data, dtype)
        # frombuffer's result is read-only and in the file's byte order: neither may leak out.
        shaped = flat.reshape(shape, order="F" if order == "F" else "C")
        return shaped.astype(dtype.newbyteorder("="), order="C", copy=True)


def _finished(value: Any) -> Any:
    """A value that may go into a container: an announced array must have been filled."""
    if isinstance(value, _Blank):
        if value.array is None:
            raise ValueError("uses an array before it has content")
        return value.array
    return value
