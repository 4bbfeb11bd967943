"""Pickles of plain data from strangers, read without running them.

A pickle is a program for a stack machine that may import and call anything. The template,
hypothesis and ground-truth files need almost none of it: NumPy arrays in lists, tuples and dicts.
This module interprets just those instructions (the numbering and meaning of opcodes as documented
in Python's ``pickletools``). Names such as ``numpy.core.multiarray._reconstruct`` are recognised as
words and acted on here; nothing is imported, looked up or called on a file's behalf, no header
decides how much memory is asked for, and nothing recurses, so neither code nor bombs get through.

Strings of Python 2, which were bytes, come back as ``str``, one character a byte (latin-1).
"""

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from inputs.files import MEBIBYTE, read_bytes
from inputs.pickle_machine import Machine
from weight_conversion.errors import InputError

_EXPECTED = "a pickle of NumPy arrays of numbers, lists, tuples, dicts, numbers and strings alone"
_LARGEST_FILE = 64 * MEBIBYTE


def load_pickle(path: Path) -> Any:
    """The data of a pickle file.

    Args:
        path: a file of 64 MiB at most, written by any protocol of Python 2 or 3.

    Returns:
        What was pickled: containers, numbers, strings and arrays of numbers.

    Raises:
        InputError: the file is unreadable or damaged, or holds anything else.
    """
    content = read_bytes(path, _EXPECTED, _LARGEST_FILE)
    try:
        return Machine(content).run(_INSTRUCTIONS)
    except (ValueError, IndexError, TypeError, OverflowError, struct.error) as error:
        # IndexError: an empty stack. struct.error: the file ends inside a number.
        named = str(error) if type(error) is ValueError else "is damaged or not a pickle"
        raise InputError(path, named, _EXPECTED) from error


def _plain_line(text: bytes) -> str:
    """The text of a protocol-0 string: quoted, with Python 2's escapes, one character a byte."""
    if len(text) < 2 or text[:1] not in (b"'", b'"') or text[-1:] != text[:1]:
        raise ValueError("is damaged or not a pickle (a string without quotes)")
    simple = {b"n": b"\n", b"t": b"\t", b"r": b"\r"}

    def unescaped(match: re.Match[bytes]) -> bytes:
        body = match[1]
        if len(body) == 3:
            return bytes([int(body[1:], 16)])
        if body not in (b"\\", b"'", b'"', *simple):
            raise ValueError("is damaged or not a pickle (an unknown escape)")
        return simple.get(body, body)

    return re.sub(rb"\\(x[0-9a-fA-F]{2}|.?)", unescaped, text[1:-1]).decode("latin-1")


def _decimal(text: bytes) -> int | bool:
    if text in (b"00", b"01"):
        return text == b"01"
    if len(text) > 40:
        raise ValueError("has an integer of absurd length")
    return int(text.removesuffix(b"L"))


def _long(raw: bytes) -> int:
    if len(raw) > 16:
        raise ValueError("has an integer of absurd length")
    return int.from_bytes(raw, "little", signed=True)


_INSTRUCTIONS: Final[dict[bytes, Callable[[Machine], Any]]] = {
    # The stream itself.
    b"\x80": lambda m: m.take(1),  # PROTO
    b"\x95": lambda m: m.take(8),  # FRAME
    # Constants and numbers.
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"I": lambda m: m.push(_decimal(m.line())),
    b"L": lambda m: m.push(_decimal(m.line())),
    b"J": lambda m: m.push(m.integer("<i")),
    b"K": lambda m: m.push(m.integer("<B")),
    b"M": lambda m: m.push(m.integer("<H")),
    b"\x8a": lambda m: m.push(_long(m.counted("<B"))),
    b"\x8b": lambda m: m.push(_long(m.counted("<i"))),
    b"F": lambda m: m.push(float(m.line())),
    b"G": lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    # Strings: Python 2's, text, bytes.
    b"S": lambda m: m.push(_plain_line(m.line())),
    b"T": lambda m: m.push(m.counted("<i").decode("latin-1")),
    b"U": lambda m: m.push(m.counted("<B").decode("latin-1")),
    b"V": lambda m: m.push(m.line().decode("raw-unicode-escape")),
    b"X": lambda m: m.push(m.counted("<I").decode("utf-8", "surrogatepass")),
    b"\x8c": lambda m: m.push(m.counted("<B").decode("utf-8", "surrogatepass")),
    b"\x8d": lambda m: m.push(m.counted("<Q").decode("utf-8", "surrogatepass")),
    b"B": lambda m: m.push(m.counted("<I")),
    b"C": lambda m: m.push(m.counted("<B")),
    b"\x8e": lambda m: m.push(m.counted("<Q")),
    b"\x96": lambda m: m.push(m.counted("<Q")),  # BYTEARRAY8: never changed, so bytes will do
    # Containers.
    b"(": lambda m: m.mark(),
    b")": lambda m: m.push(()),
    b"]": lambda m: m.push([]),
    b"}": lambda m: m.push({}),
    b"t": lambda m: _push_all(m, tuple),
    b"l": lambda m: _push_all(m, list),
    b"d": lambda m: _push_dict(m),
    b"\x85": lambda m: m.tuple_of(1),
    b"\x86": lambda m: m.tuple_of(2),
    b"\x87": lambda m: m.tuple_of(3),
    b"a": lambda m: m.extend([m.pop_finished()]),
    b"e": lambda m: m.extend(m.since_mark()),
    b"s": lambda m: m.set_items([m.pop_finished(), m.pop_finished()][::-1]),
    b"u": lambda m: m.set_items(m.since_mark()),
    # The stack and the memo.
    b"0": lambda m: m.discard(),
    b"1": lambda m: m.since_mark(),
    b"2": lambda m: m.push(m.stack[-1]),
    b"p": lambda m: m.put(_long_number(m.line())),
    b"q": lambda m: m.put(m.integer("<B")),
    b"r": lambda m: m.put(m.integer("<I")),
    b"\x94": lambda m: m.put(len(m.memo)),
    b"g": lambda m: m.get(_long_number(m.line())),
    b"h": lambda m: m.get(m.integer("<B")),
    b"j": lambda m: m.get(m.integer("<I")),
    # Names, calls, state.
    b"c": lambda m: m.name(m.line().decode("latin-1"), m.line().decode("latin-1")),
    b"\x93": lambda m: m.name(*[m.pop(), m.pop()][::-1]),
    b"R": lambda m: m.call(),
    b"b": lambda m: m.build(),
}


def _push_all(machine: Machine, container: Callable[[list[Any]], Any]) -> None:
    machine.push(container(machine.since_mark()))


def _push_dict(machine: Machine) -> None:
    items = machine.since_mark()
    machine.push({})
    machine.set_items(items)


def _long_number(text: bytes) -> int:
    number = _decimal(text)
    return int(number)
