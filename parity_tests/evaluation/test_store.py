"""Rows on disk: none is lost, none is there twice, and the finished table is always the same."""

from pathlib import Path
from typing import Any

import pytest

from evaluation import store as store_module
from evaluation.columns import columns
from evaluation.store import Store
from inputs.dataset import Entry
from weight_conversion.errors import InputError

COLUMNS = columns(["coarse"], ["backend", "reference"])
ENTRIES = [Entry("c", str(number)) for number in range(9)]
IDENTITY = {"stages": ["coarse"], "seed": 0}


def row(number: int, status: str = "done") -> dict[str, Any]:
    figures = {name: 0.1 * number for name, kind in COLUMNS.items() if kind is float}
    reason = None if status == "done" else f"broken {number}"
    keys = {"category": "c", "item": str(number), "status": status, "reason": reason}
    return {**figures, **keys, "seconds": number / 7, "cpu_seconds": 1.0, "worker": "w"}


def stored(folder: Path, numbers: list[int], resume: bool = True, retry: bool = False) -> set[str]:
    """Add rows to what is there, as a process that then dies."""
    store = Store(folder, COLUMNS)
    with store.opened(IDENTITY, resume, retry) as there:
        for number in numbers:
            store.add(row(number))
    return there


def finished(folder: Path) -> bytes:
    store = Store(folder, COLUMNS)
    with store.opened(IDENTITY, True, False):
        rows = store.finish(ENTRIES)
    assert [each["item"] for each in rows] == [entry.item for entry in ENTRIES]
    return (folder / "items.parquet").read_bytes()


@pytest.mark.parametrize("merged", [2, 3, 100])
def test_the_table_is_the_same_whatever_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, merged: int
) -> None:
    stored(tmp_path / "calm", list(range(9)), resume=False)
    monkeypatch.setattr(store_module, "MERGED", merged)
    folder = tmp_path / "disturbed"
    assert stored(folder, [8, 3, 4, 1]) == set()
    assert stored(folder, [0, 2]) == {"c/8", "c/3", "c/4", "c/1"}
    # In flight when the first client died, and computed again by the second.
    stored(folder, [4, 5, 6, 7])
    assert finished(folder) == finished(tmp_path / "calm")
    assert not (folder / "parts").exists()
    assert finished(folder) == finished(tmp_path / "calm")


def test_a_death_while_rows_are_merged_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "MERGED", 3)
    unlink = Path.unlink

    def dying(path: Path, missing_ok: bool = False) -> None:
        if path.name == "row-00000002.parquet":
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    with monkeypatch.context() as context:
        context.setattr(Path, "unlink", dying)
        with pytest.raises(KeyboardInterrupt):
            stored(tmp_path, [0, 1, 2])
    assert len(list((tmp_path / "parts").iterdir())) == 3
    assert stored(tmp_path, []) == {"c/0", "c/1", "c/2"}
    stored(tmp_path, [3, 4, 5, 6, 7, 8])
    finished(tmp_path)


def test_results_are_not_mixed(tmp_path: Path) -> None:
    stored(tmp_path, [0], resume=False)
    with pytest.raises(InputError, match="results are there; expected --resume, or another"):
        stored(tmp_path, [1], resume=False)
    with (
        pytest.raises(InputError, match="seed is 0, and now 1; expected the settings"),
        Store(tmp_path, COLUMNS).opened({**IDENTITY, "seed": 1}, True, False),
    ):
        pass
    with (
        Store(tmp_path, COLUMNS).opened(IDENTITY, True, False),
        pytest.raises(InputError, match="another process writes to it"),
        Store(tmp_path, COLUMNS).opened(IDENTITY, True, False),
    ):
        pass


def test_failed_rows_are_kept_or_asked_for_again(tmp_path: Path) -> None:
    store = Store(tmp_path, COLUMNS)
    with store.opened(IDENTITY, False, False):
        for number in range(9):
            store.add(row(number, "failed" if number == 4 else "done"))
        assert store.finish(ENTRIES)[4]["reason"] == "broken 4"
    everything = {entry.name for entry in ENTRIES}
    assert stored(tmp_path, []) == everything
    assert stored(tmp_path, [4], retry=True) == everything - {"c/4"}
    finished(tmp_path)
    assert stored(tmp_path, [], retry=True) == everything


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    stored(tmp_path, [0], resume=False)
    (part,) = (tmp_path / "parts").iterdir()
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"row-00000001.parquet: cannot be read; expected rows"):
        stored(tmp_path, [])
    part.unlink()
    with (
        Store(tmp_path, COLUMNS).opened(IDENTITY, True, False),
        pytest.raises(InputError, match="no row of c/0"),
    ):
        Store(tmp_path, COLUMNS).finish(ENTRIES)
    with (
        pytest.raises(InputError, match="a file; expected a folder"),
        Store(part.parent.parent / "evaluation.json", COLUMNS).opened(IDENTITY, True, False),
    ):
        pass
