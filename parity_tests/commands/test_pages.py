"""Which page an error points to."""

import importlib.util
from pathlib import Path
from types import FunctionType, TracebackType

import pytest

from commands.pages import PAGES, page_of

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_every_entry_is_a_module_and_a_page(name: str) -> None:
    assert importlib.util.find_spec(name) is not None
    page = PAGES[name]
    assert page == "" or (DOCS.parent / page).is_file()


def _call() -> None:
    """Calls ``inner`` of the module that it is put into, or raises."""
    inner = globals()["inner"]
    if inner is None:
        raise ValueError
    inner()


def raised_in(*names: str) -> TracebackType | None:
    """The traceback of an exception that passed through functions of modules of these names."""
    inner = None
    for name in reversed(names):
        within = {"__name__": name, "__builtins__": __builtins__, "inner": inner}
        inner = FunctionType(_call.__code__, within)
    assert inner is not None
    with pytest.raises(ValueError) as caught:
        inner()
    return caught.value.__traceback__


@pytest.mark.parametrize(
    ("names", "page"),
    [
        (("commands.actions.run", "weight_conversion.containers.npz"), "docs/weights.md"),
        (("commands.actions.run", "inputs.template", "inputs.pickles"), "docs/inputs.md"),
        # What was called for something else: the innermost room that has a page.
        (("parity.traces.record", "weight_conversion.stages"), "docs/weights.md"),
        (("parity.traces.module_port", "my_port", "network.registry"), "docs/own-port.md"),
        (("parity.traces.trace",), "docs/trace.md"),
        # No page helps with a full disk, whatever was written.
        (("parity.traces.writer", "weight_conversion.atomic"), ""),
        (("commands.actions.run",), ""),
    ],
)
def test_the_innermost_module_counts(names: tuple[str, ...], page: str) -> None:
    assert page_of(raised_in(*names)) == page


def test_nothing_raised_is_no_page() -> None:
    assert page_of(None) == ""
