"""Root attributes: what must be there, of which type, and what is said otherwise."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from parity.traces.trace import open_trace
from parity.verdict.compare import compare
from parity_tests.parity.conftest import LAST, Build
from weight_conversion.errors import InputError

NOTES = {name: json.dumps(["the same", f"of the {name}"]) for name in ("reference", "candidate")}
TEXTS = ("stage", "backend", "dtype", "device", "weights_sha256", "inputs_sha256")


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught, open_trace(path):
        pass
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("name", TEXTS)
def test_missing_text_is_refused(build: Build, name: str) -> None:
    message = refused(build("t", attributes={name: None}))
    assert message == f"root attribute {name!r} is absent; expected a text"


OURS = ("requested", "float64_missing", "versions", "unmatched", "notes")


@pytest.mark.parametrize("name", [*TEXTS, *OURS])
@pytest.mark.parametrize("value", [3, True, np.bytes_("fixed")], ids=repr)
def test_attribute_of_another_type_is_refused(build: Build, name: str, value: Any) -> None:
    message = refused(build("t", attributes={name: value}))
    assert message.startswith(f"root attribute {name!r} is of type ")
    assert message.endswith("; expected a text")


ODD = {
    "array": np.ones(4),
    "texts": ["a", "b"],
    "one text in an array": ["a"],
    "nothing": h5py.Empty("f4"),
    "complex": 1j,
    "record": np.zeros((), [("a", "f4")]),
    "opaque": np.void(b"abc"),
}


@pytest.mark.parametrize("name", ["schema", "complete", "stage", "float64_missing", "versions"])
@pytest.mark.parametrize("kind", ODD)
def test_attribute_that_is_no_single_value_is_not_read(build: Build, name: str, kind: str) -> None:
    message = refused(build("t", attributes={name: ODD[kind]}))
    assert message == f"attribute {name!r} of / is no single value; expected a text or a number"


@pytest.mark.parametrize("kind", ["ragged", "reference", "long"])
def test_attribute_that_leads_elsewhere_is_not_read(build: Build, kind: str) -> None:
    def edit(file: h5py.File) -> None:
        del file.attrs["device"]
        if kind == "ragged":
            ragged = np.empty((), object)
            ragged[()] = np.arange(3)
            file.attrs.create("device", ragged, dtype=h5py.vlen_dtype(np.int32))
        elif kind == "reference":
            file.attrs["device"] = file["taps"].ref
        else:
            file.attrs.create("device", np.bytes_(b"x" * 60_000), dtype="S60000")

    message = refused(build("t", edit=edit))
    if kind == "long":
        assert message == "root attribute 'device' is of type bytes_; expected a text"
    else:
        assert message.startswith("attribute 'device' of / is no single value")


@pytest.mark.parametrize("name", ["requested", "float64_missing", "versions", "unmatched"])
def test_attributes_of_our_own_may_be_absent(build: Build, name: str) -> None:
    with open_trace(build("t", attributes={name: None})) as trace:
        assert trace.header.unmatched == {}
        assert trace.header.float64_missing == ""
        if name == "requested":
            assert trace.header.requested == "*"


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        (None, "schema None"),
        ("p2m-parity-trace/3", "schema 'p2m-parity-trace/3'"),
        (1, "schema"),
        (np.bytes_("p2m-parity-trace/2"), "schema np.bytes_(b'p"),
    ],
    ids=str,
)
def test_other_schema_is_refused(build: Build, schema: Any, found: str) -> None:
    message = refused(build("t", attributes={"schema": schema}))
    assert message.startswith(found)
    assert message.endswith("; expected 'p2m-parity-trace/2'")


def test_a_trace_of_the_first_schema_is_to_be_recorded_again(build: Build) -> None:
    message = refused(build("t", attributes={"schema": "p2m-parity-trace/1"}))
    assert message == (
        "schema 'p2m-parity-trace/1', of an earlier version; expected the trace recorded again"
    )


@pytest.mark.parametrize("complete", [None, False, 0, 1, "true"], ids=repr)
def test_unfinished_trace_is_refused(build: Build, complete: Any) -> None:
    message = refused(build("t", attributes={"complete": complete}))
    assert message == ("an incomplete trace: its recording did not finish; expected a complete one")


@pytest.mark.parametrize("name", ["versions", "unmatched"])
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{", "is no JSON;"),
        ("", "is no JSON;"),
        ("[1]", "is no JSON object;"),
        ("3", "is no JSON object;"),
        ("[" * 20_000, "is no JSON;"),
    ],
    ids=["broken", "empty", "list", "number", "deep"],
)
def test_json_attributes_are_objects(build: Build, name: str, text: str, found: str) -> None:
    assert refused(build("t", attributes={name: text})).startswith(
        f"root attribute {name!r} {found}"
    )


def test_header_is_read_as_written(build: Build) -> None:
    unmatched = {"tap": "fused away"}
    path = build("t", attributes={"unmatched": json.dumps(unmatched), "device": "cuda:0"})
    with open_trace(path) as trace:
        assert trace.header.unmatched == unmatched
        assert trace.side.device == "cuda:0"
        assert trace.side.backend == "t"
        assert trace.side.versions == {"numpy": "2"}


@pytest.mark.parametrize("value", ["first", np.nan, True], ids=repr)
def test_order_that_is_no_number_is_refused(build: Build, value: Any) -> None:
    path = build("t", edit=lambda file: file[f"taps/{LAST}"].attrs.update(order=value))
    message = refused(path)
    assert message.startswith(f"tap {LAST} has order ")
    assert message.endswith("; expected an integer")


@pytest.mark.parametrize("kind", ODD)
def test_order_that_is_no_single_value_is_not_read(build: Build, kind: str) -> None:
    path = build("t", edit=lambda file: file[f"taps/{LAST}"].attrs.update(order=ODD[kind]))
    assert refused(path).startswith(f"attribute 'order' of /taps/{LAST} is no single value")


@pytest.mark.parametrize("order", [3, np.float64(2), np.inf, 2**63, None, -1], ids=repr)
def test_orders_alike_missing_or_odd_still_sort(build: Build, order: Any) -> None:
    def edit(file: h5py.File) -> None:
        for tap in file["taps"].values():
            del tap.attrs["order"]
            if order is not None:
                tap.attrs["order"] = np.uint64(order) if order == 2**63 else order

    path = build("t", edit=edit)
    comparison = compare(path, path)
    assert comparison.verdict.value == "agree"
    assert comparison.taps[0].tap == "graph_conv_blk1_10_layer_10"


def not_there(path: Path) -> None:
    path.unlink()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def no_bytes(path: Path) -> None:
    path.write_bytes(b"")


def a_text(path: Path) -> None:
    path.write_text("not HDF5 at all\n" * 1000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (not_there, "no such file; expected a trace (.h5)"),
        (a_folder, "not a file; expected a trace (.h5)"),
        (no_bytes, "not a readable HDF5 file; expected a trace (.h5)"),
        (a_text, "not a readable HDF5 file; expected a trace (.h5)"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_no_hdf5_file_is_refused(
    build: Build, change: Callable[[Path], None], message: str
) -> None:
    path = build("t")
    change(path)
    assert refused(path) == message


@pytest.mark.parametrize("emptied", ["without the group", "without members"])
def test_trace_without_taps_is_refused(build: Build, emptied: str) -> None:
    def edit(file: h5py.File) -> None:
        del file["taps"]
        if emptied == "without members":
            file.create_group("taps")

    assert refused(build("t", edit=edit)) == "an empty trace: no taps; expected at least one tap"


def test_notes_on_the_inputs_are_handed_on_once(build: Build) -> None:
    first, second = (build(name, attributes={"notes": NOTES[name]}) for name in NOTES)
    notes = compare(first, second).notes
    assert notes[-3:] == ("the same", "of the reference", "of the candidate")


@pytest.mark.parametrize("value", ["{", '{"a": 1}', "3"])
def test_notes_that_are_no_list_are_refused(build: Build, value: str) -> None:
    assert refused(build("t", attributes={"notes": value})).startswith(
        "root attribute 'notes' is no JSON"
    )
