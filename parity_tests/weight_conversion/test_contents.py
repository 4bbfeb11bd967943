from pathlib import Path

import pytest

from weight_conversion.containers.contents import parsing, step_from, writing
from weight_conversion.errors import InputError


@pytest.mark.parametrize(
    ("value", "step"),
    [
        (50, 50),
        ("50", 50),
        (b"0050", 50),
        (0, 0),
        (-1, None),
        ("-1", None),
        (True, None),
        (2.0, None),
        ("", None),
        ("५", None),
        ("9" * 5000, None),
        (10**30, None),
        (None, None),
        ([50], None),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_step_from(value: object, step: int | None) -> None:
    assert step_from(value) == step


@pytest.mark.parametrize("error", [KeyError("k"), RecursionError(), ValueError("one\ntwo")])
def test_whatever_a_parser_raises_is_the_files_fault(error: Exception) -> None:
    with (
        pytest.raises(InputError, match=f"^a/b: {type(error).__name__}: .*; expected a thing$"),
        parsing(Path("a/b"), "a thing"),
    ):
        raise error


@pytest.mark.parametrize("context", [lambda: parsing(Path("x"), "y"), lambda: writing(Path("x"))])
def test_an_input_error_passes_unchanged(context: object) -> None:
    with pytest.raises(InputError, match=r"^here: found$"), context():  # type: ignore[operator]
        raise InputError("here", "found")


def test_what_a_writer_raises() -> None:
    with (
        pytest.raises(InputError, match=r"^x: writing failed \(no room\); expected room to write"),
        writing(Path("x")),
    ):
        raise RuntimeError("no room")
