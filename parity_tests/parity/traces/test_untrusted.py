"""Files that lead out of themselves, claim too much, or hold something else than numbers."""

import itertools
import math
import resource
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from parity.traces.untrusted import selections
from parity.verdict.compare import compare
from parity_tests.parity.conftest import LAST, Build, values
from weight_conversion.errors import InputError

GROUPS = ("taps", "float64", "losses", "gradients", "weights", "inputs", "mesh")


def hostile(build: Build, edit: Callable[[h5py.File, str], None], group: str) -> str:
    """The message that the trace with this edit in ``group`` gives."""
    first = build("reference")
    second = build("candidate", edit=lambda file: edit(file, group))
    messages = []
    for pair in ((first, second), (second, first)):
        with pytest.raises(InputError) as caught:
            compare(*pair)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert messages[0].startswith(f"{second}: ")
    assert "\n" not in messages[0]
    return messages[0].removeprefix(f"{second}: ")


def soft_link(file: h5py.File, group: str) -> None:
    file[f"{group}/more"] = h5py.SoftLink(f"/taps/{LAST}")


def dangling_link(file: h5py.File, group: str) -> None:
    file[f"{group}/more"] = h5py.SoftLink("/nowhere")


def external_link(file: h5py.File, group: str) -> None:
    other = Path(file.filename).with_name("secret.h5")
    with h5py.File(other, "w") as secret:
        secret["data"] = np.ones(3)
    file[f"{group}/more"] = h5py.ExternalLink(other.name, "/data")


def link_within_a_group(file: h5py.File, group: str) -> None:
    file.require_group(f"{group}/a/b")["more"] = h5py.SoftLink("/taps")


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("edit", [soft_link, dangling_link, external_link])
def test_links_are_refused(
    build: Build, edit: Callable[[h5py.File, str], None], group: str
) -> None:
    message = hostile(build, edit, group)
    assert message == f"/{group}/more is a link; expected the data itself"


def test_links_are_refused_at_any_depth(build: Build) -> None:
    message = hostile(build, link_within_a_group, "gradients")
    assert message == "/gradients/a/b/more is a link; expected the data itself"


@pytest.mark.parametrize("group", GROUPS)
def test_whole_group_may_not_be_a_link(build: Build, group: str) -> None:
    def edit(file: h5py.File, group: str) -> None:
        if group in file:
            file.move(group, "elsewhere")
        else:
            file.create_group("elsewhere")
        file[group] = h5py.SoftLink("/elsewhere")

    assert hostile(build, edit, group) == f"/{group} is a link; expected the data itself"


def virtual_dataset(file: h5py.File, group: str) -> None:
    layout = h5py.VirtualLayout((156, 3), "f4")
    layout[:] = h5py.VirtualSource(file.filename, f"/taps/{LAST}", (156, 3))
    file.create_virtual_dataset(f"{group}/more", layout)


def external_storage(file: h5py.File, group: str) -> None:
    file.create_dataset(f"{group}/more", (4,), "f4", external=[("/etc/passwd", 0, 16)])


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("edit", [virtual_dataset, external_storage])
def test_data_outside_the_file_is_refused(
    build: Build, edit: Callable[[h5py.File, str], None], group: str
) -> None:
    message = hostile(build, edit, group)
    assert message == f"/{group}/more keeps its data in other files; expected the data itself"


KINDS = {
    "variable texts": (["a", "b"], None),
    "fixed texts": (np.array([b"ab"]), None),
    "truth values": (np.array([True, False]), None),
    "complex": (np.ones(3, np.complex64), None),
    "records": (np.zeros(2, [("a", "f4")]), None),
    "long doubles": (np.ones(3, np.longdouble), None),
    "references": (None, h5py.ref_dtype),
    "ragged arrays": (None, h5py.vlen_dtype(np.float32)),
    "small arrays": (None, np.dtype("(3,)f4")),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("group", ["taps", "gradients", "inputs"])
def test_anything_but_numbers_is_refused(build: Build, kind: str, group: str) -> None:
    data, dtype = KINDS[kind]

    def edit(file: h5py.File, group: str) -> None:
        place = f"{group}/more"
        if dtype is None:
            file.create_dataset(place, data=data)
        else:
            file.create_dataset(place, (2,), dtype)

    message = hostile(build, edit, group)
    if kind == "small arrays":  # which HDF5 may as well take for a further axis
        assert "more" in message
    else:
        assert message.startswith(f"/{group}/more has dtype ")
        assert message.endswith("; expected numbers of at most 64 bits")


def test_dataset_without_a_space_is_refused(build: Build) -> None:
    def edit(file: h5py.File, group: str) -> None:
        file.create_dataset(f"{group}/more", data=h5py.Empty("f4"))

    assert hostile(build, edit, "taps").startswith("/taps/more has shape None")


def test_named_type_is_no_dataset(build: Build) -> None:
    def edit(file: h5py.File, group: str) -> None:
        file[f"{group}/more"] = np.dtype("f4")

    assert hostile(build, edit, "taps") == "/taps/more is not a dataset; expected numbers"


def test_dataset_in_place_of_a_group_is_refused(build: Build) -> None:
    def edit(file: h5py.File, group: str) -> None:
        del file[group]
        file[group] = np.ones(3)

    assert hostile(build, edit, "taps") == "/taps is not a group; expected a group of datasets"


SIZES = [(10**12,), (10**6, 10**6), (2**32, 2**32), (2**63 - 1,), (40_000_001,)]


@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("group", ["taps", "inputs", "weights"])
def test_sizes_that_no_memory_holds_are_refused_at_once(
    build: Build, shape: tuple[int, ...], group: str
) -> None:
    # (2**32)² wraps around to 0 in 64 bits.
    def edit(file: h5py.File, group: str) -> None:
        file.create_dataset(f"{group}/more", shape, "f4", chunks=(1,) * len(shape))

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    message = hostile(build, edit, group)
    assert time.process_time() - start < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
    assert message == (
        f"/{group}/more has shape {shape}; expected at most 40,000,000 numbers in a dataset"
    )


def test_many_datasets_may_not_claim_more_together(build: Build) -> None:
    def edit(file: h5py.File, group: str) -> None:
        for number in range(27):
            file.create_dataset(f"{group}/more{number}", (40_000_000,), "f4")

    message = hostile(build, edit, "taps")
    assert (
        message
        == "/taps declares too much to read; expected 1,073,741,824 numbers or larger chunks"
    )


def test_many_chunks_that_were_never_stored_are_refused(build: Build) -> None:
    def edit(file: h5py.File, group: str) -> None:
        file.create_dataset(f"{group}/more", (2_000_000,), "f4", chunks=(1,))

    assert "declares too much to read" in hostile(build, edit, "taps")


@pytest.mark.parametrize("chunks", [(3, 50), (156, 1), (1, 192), None], ids=str)
def test_packed_taps_are_compared(build: Build, chunks: tuple[int, int] | None) -> None:
    tap = "graph_conv_blk1_1_layer_1"
    first = values(tap, (156, 192))
    second = first.copy()
    second[100, 99] += 1

    def edit(array: np.ndarray) -> Callable[[h5py.File], None]:
        def write(file: h5py.File) -> None:
            del file[f"taps/{tap}"]
            packing = {"compression": "gzip", "shuffle": True, "chunks": chunks} if chunks else {}
            file.create_dataset(f"taps/{tap}", data=array, **packing)

        return write

    paths = [
        build(name, {tap: first}, edit=edit(array))
        for name, array in (("reference", first), ("candidate", second))
    ]
    entry = compare(*paths).taps[0]
    assert (entry.at, entry.mismatched) == ((100, 99), 1)


def test_whole_reads_are_of_small_datasets_only(build: Build) -> None:
    def edit(file: h5py.File) -> None:
        file.create_dataset("inputs/more", (2**25,), "f4", chunks=(2**10,))

    first, second = build("reference", edit=edit), build("candidate", edit=edit)
    with pytest.raises(InputError, match=r"shape .33554432,.; expected at most 16,777,216 numbers"):
        compare(first, second)


def test_groups_within_groups_are_refused(build: Build) -> None:
    def edit(file: h5py.File, group: str) -> None:
        file.create_group("/".join([group] + ["g"] * 100))

    message = hostile(build, edit, "gradients")
    assert message == "/gradients is nested 9 deep with 9 entries; expected at most 8 and 10,000"


def test_group_that_holds_itself_is_refused(build: Build) -> None:
    def edit(file: h5py.File, group: str) -> None:
        inner = file.require_group(f"{group}/inner")
        inner["again"] = inner

    assert "nested 9 deep" in hostile(build, edit, "taps")


def test_links_that_unfold_to_many_entries_are_refused(build: Build) -> None:
    # Seven levels of forty hard links each: 40**7 ways down to one empty group.
    def edit(file: h5py.File, group: str) -> None:
        levels = [file.require_group(group), *(file.create_group(f"level{n}") for n in range(7))]
        for upper, lower in itertools.pairwise(levels):
            for number in range(40):
                upper[f"g{number}"] = lower

    start = time.process_time()
    assert "entries; expected at most 8 and 10,000" in hostile(build, edit, "gradients")
    assert time.process_time() - start < 10


NAMES = ["a/b/c", "x\ny", "<script>alert(1)</script>", "[red]x", "\x1b[31m", "é", "n" * 3000, " "]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("group", ["taps", "gradients"])
def test_any_name_is_compared(build: Build, name: str, group: str) -> None:
    def edit(number: float) -> Callable[[h5py.File], None]:
        return lambda file: file.update({f"{group}/{name}": np.array([0, number], np.float32)})

    label = name if group == "taps" else f"{group}/{name}"
    first, second = build("reference", edit=edit(1)), build("candidate", edit=edit(2))
    found = next(entry for entry in compare(first, second).entries if entry.tap == label)
    # Nothing bounds what rounding makes of what the network does not have.
    assert (found.status.value, found.max_abs, found.at) == ("invalid", 1, (1,))
    assert compare(first, first).verdict.value == "agree"


def test_names_that_are_no_text_are_refused(build: Build) -> None:
    def edit(file: h5py.File, group: str) -> None:
        space = h5py.h5s.create(h5py.h5s.SCALAR)
        parent = file.require_group(group).id
        h5py.h5d.create(parent, b"\xff\xfe", h5py.h5t.IEEE_F32LE, space)

    assert hostile(build, edit, "losses").startswith("/losses cannot be read ('utf-8' codec")


@pytest.mark.parametrize("most", [1, 2, 5, 7, 24, 100])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3, 4), (24, 1), (1, 24), (4, 0, 3)], ids=str)
def test_selections_cover_everything_in_order(shape: tuple[int, ...], most: int) -> None:
    array = np.arange(math.prod(shape)).reshape(shape)
    parts = [array[selection].ravel() for selection in selections(shape, most)]
    assert all(part.size <= most for part in parts)
    assert np.array_equal(np.concatenate([*parts, np.array([], int)]), array.ravel())
