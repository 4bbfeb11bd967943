import os
import stat
from pathlib import Path

import pytest

from weight_conversion.atomic import replacing
from weight_conversion.errors import InputError


def test_replaces_when_the_block_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    for text in ("one", "two"):
        with replacing(path) as temporary:
            temporary.write_text(text)
            assert temporary.parent == path.parent
        assert path.read_text() == text
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_the_file_follows_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        with replacing(tmp_path / "file") as temporary:
            temporary.write_text("x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_keeps_the_old_one_when_the_block_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(KeyError), replacing(tmp_path / "file") as temporary:
        temporary.write_text("half")
        raise KeyError
    assert (tmp_path / "file").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(InputError, match="expected a writable folder"),
        replacing(tmp_path / "file" / "x"),
    ):
        pass


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(InputError, match="expected room to write it"), replacing(tmp_path / "x"):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_full_disk(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No space left on device"), replacing(tmp_path / "x"):
        raise OSError(28, "No space left on device")


def test_error_is_one_line() -> None:
    assert str(InputError("where", "found\n  much", "other")) == "where: found much; expected other"
    assert str(InputError(Path("a/b"), "gone")) == "a/b: gone"
