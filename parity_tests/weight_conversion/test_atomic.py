"""Writing: the old result, the new one or none, whatever happens and whoever else writes."""

import errno
import multiprocessing
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from weight_conversion import atomic
from weight_conversion.atomic import replacing, scratch_folder, staging
from weight_conversion.errors import InputError

OLD = {"report.json": "old", "figures/a.png": "old", "figures/old.png": "old"}
NEW = {"report.json": "new", "figures/a.png": "new", "meshes/new.obj": "new"}
REPLACES = ("report.json", "figures/a.png", "figures/old.png", "meshes/new.obj")


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def files(folder: Path) -> dict[str, str]:
    """What people see of a folder."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and ".p2m-parity." not in str(path)
    }


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".p2m-parity.")]


def put(folder: Path, result: dict[str, str]) -> None:
    with staging(folder, REPLACES, "report.json") as new:
        write(new, result)


class TestFile:
    def test_replaces_when_the_block_succeeds(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "file"
        for text in ("one", "two"):
            with replacing(path) as temporary:
                temporary.write_text(text)
                assert temporary.name == path.name
            assert path.read_text() == text
        assert [entry.name for entry in path.parent.iterdir()] == ["file"]

    def test_the_file_follows_the_umask(self, tmp_path: Path) -> None:
        old = os.umask(0o027)
        try:
            with replacing(tmp_path / "file") as temporary:
                temporary.write_text("x")
        finally:
            os.umask(old)
        assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640

    def test_keeps_the_old_one_when_the_block_fails(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("old")
        with pytest.raises(KeyError), replacing(tmp_path / "file") as temporary:
            temporary.write_text("half")
            raise KeyError
        assert (tmp_path / "file").read_text() == "old"
        assert len(list(tmp_path.iterdir())) == 1

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        with (
            pytest.raises(InputError, match="expected a writable folder"),
            replacing(tmp_path / "file" / "x"),
        ):
            pass

    def test_a_folder_in_the_way(self, tmp_path: Path) -> None:
        """Refused at once, not when all that the file is to hold has been computed."""
        (tmp_path / "x").mkdir()
        done = []
        with (
            pytest.raises(InputError, match="x: a folder; expected a file to replace, or nothing"),
            replacing(tmp_path / "x"),
        ):
            done.append("computed")
        assert not done
        assert [entry.name for entry in tmp_path.iterdir()] == ["x"]

    def test_full_disk(self, tmp_path: Path) -> None:
        with (
            pytest.raises(InputError, match=r"x: No space left on device; expected room"),
            replacing(tmp_path / "x"),
        ):
            raise OSError(errno.ENOSPC, "No space left on device")

    def test_what_hdf5_says_of_the_system(self, tmp_path: Path) -> None:
        words = "Can't write data (errno = 28, error message = 'No space left on device', buf = 0)"
        with (
            pytest.raises(InputError, match=r"x: No space left on device; expected room"),
            replacing(tmp_path / "x"),
        ):
            raise OSError(words)

    def test_the_folder_vanishes(self, tmp_path: Path) -> None:
        path = tmp_path / "folder" / "x"
        with pytest.raises(InputError, match="x: the folder vanished"), replacing(path) as other:
            other.write_text("text")
            (tmp_path / "folder").rename(tmp_path / "elsewhere")
        assert not path.parent.exists()


class TestFolder:
    @pytest.mark.parametrize("old", [{}, OLD], ids=["new folder", "old result"])
    def test_a_result_replaces_another_and_other_files_stay(
        self, old: dict[str, str], tmp_path: Path
    ) -> None:
        write(tmp_path / "out", old)
        other = {"figures/mine.png": "mine", "log": "mine"} if old else {}
        write(tmp_path / "out", other)
        put(tmp_path / "out", NEW)
        assert files(tmp_path) == {f"out/{name}": text for name, text in (NEW | other).items()}

    def test_folders_that_are_left_empty_go(self, tmp_path: Path) -> None:
        write(tmp_path, {"figures/old.png": "old", "meshes/new.obj": "old"})
        put(tmp_path, {"report.json": "new", "meshes/new.obj": "new"})
        assert {path.name for path in tmp_path.iterdir()} == {"report.json", "meshes"}

    @pytest.mark.parametrize("there", [False, True])
    def test_nothing_changes_when_the_block_fails(self, there: bool, tmp_path: Path) -> None:
        if there:
            write(tmp_path / "out", OLD)
        with pytest.raises(KeyError), staging(tmp_path / "out", REPLACES) as folder:
            write(folder, NEW)
            raise KeyError
        assert files(tmp_path) == ({f"out/{name}": "old" for name in OLD} if there else {})
        assert [path.name for path in tmp_path.iterdir()] == (["out"] if there else [])

    @pytest.mark.parametrize(
        ("way", "words"),
        [
            ({"figures": "a file"}, r"out/figures: a file; expected a folder to write to"),
            ({"report.json/x": "in a folder"}, r"report\.json: a folder; expected a file"),
        ],
    )
    def test_something_else_is_in_the_way(
        self, way: dict[str, str], words: str, tmp_path: Path
    ) -> None:
        write(tmp_path / "out", way)
        with pytest.raises(InputError, match=words):
            put(tmp_path / "out", NEW)
        assert files(tmp_path / "out") == way

    def test_a_move_that_fails_is_taken_back(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(tmp_path, OLD)
        rename = Path.rename

        def failing(source: Path, target: Path) -> Path:
            if source.name == "new.obj":
                raise OSError(errno.EROFS, "Read-only file system", str(source))
            return rename(source, target)

        monkeypatch.setattr(Path, "rename", failing)
        with pytest.raises(InputError, match="Read-only file system; expected room"):
            put(tmp_path, NEW)
        assert files(tmp_path) == OLD

    def test_errors_about_other_files_are_left_as_they_are(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError), staging(tmp_path / "out"):
            (tmp_path / "a port's own").read_text()

    def test_errors_name_the_folder_that_was_asked_for(self, tmp_path: Path) -> None:
        out = tmp_path / "out"
        with pytest.raises(InputError) as caught, staging(out) as folder:
            raise InputError(folder / "coarse" / "reference.h5", "No space", "room")
        assert str(caught.value) == f"{out}/coarse/reference.h5: No space; expected room"

    @pytest.mark.parametrize("there", [False, True])
    def test_the_folder_vanishes(self, there: bool, tmp_path: Path) -> None:
        out = tmp_path / "some" / "out"
        if there:
            out.mkdir(parents=True)
        with (
            pytest.raises(InputError, match=f"^{out}: the folder vanished while it was written"),
            staging(out) as folder,
        ):
            shutil.rmtree(tmp_path / "some")
            with replacing(folder / "coarse" / "reference.h5") as trace:
                trace.write_text("x")
        assert list(tmp_path.iterdir()) == []

    def test_another_program_holds_the_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(atomic, "_PATIENCE", 0.1)
        with (
            atomic._alone(tmp_path),
            pytest.raises(InputError, match=r"locked by another program for 0\.1 s"),
        ):
            put(tmp_path, NEW)
        assert files(tmp_path) == {}


SYSTEM_CALLS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree")


def killed_at(number: int, folder: Path) -> bool:
    """Write the new result and be killed before a call that changes files; whether it was."""
    child = os.fork()
    if child == 0:
        seen = 0

        def count(event: str, _: object) -> None:
            nonlocal seen
            if event in SYSTEM_CALLS:
                seen += 1
                if seen > number:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        put(folder, NEW)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.parametrize("old", [{}, OLD], ids=["new folder", "old result"])
def test_killed_at_any_moment(old: dict[str, str], tmp_path: Path) -> None:
    seen = set()
    for number in range(200):
        folder = tmp_path / str(number) / "out"
        write(folder, old)
        killed = killed_at(number, folder)
        found = files(folder) if folder.exists() else {}
        if "report.json" in found:
            assert found in (old, NEW)
            seen.add(found["report.json"])
        else:
            assert len(set(found.values())) <= 1
        put(folder, NEW)
        assert files(folder) == NEW
        assert leftovers(folder) == leftovers(folder.parent) == []
        if not killed:
            break
    assert not killed
    assert number > 15
    assert seen == ({"old", "new"} if old else {"new"})


@pytest.fixture
def held(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has a scratch folder in ``tmp_path``, with a file in it."""
    program = (
        "import sys; from pathlib import Path\n"
        "from weight_conversion.atomic import scratch_folder\n"
        "with scratch_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half').write_text('x'); print('ready', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(
    held: subprocess.Popen[str], tmp_path: Path
) -> None:
    with scratch_folder(tmp_path):
        assert len(leftovers(tmp_path)) == 2
    assert len(leftovers(tmp_path)) == 1
    held.kill()
    held.wait()
    assert len(leftovers(tmp_path)) == 1
    with replacing(tmp_path / "x") as temporary:
        temporary.write_text("text")
    assert leftovers(tmp_path) == []


def _put_often(folder: Path, number: int) -> None:
    for round_ in range(20):
        text = f"{number} {round_}"
        names = ("report.json", "figures/a.png", *(["meshes/new.obj"] if number else []))
        put(folder, dict.fromkeys(names, text))


def test_two_processes_write_into_one_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_put_often, args=(tmp_path / "out", each)) for each in (0, 1)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    found = files(tmp_path / "out")
    assert len(set(found.values())) == 1
    assert len(found) == 2 + int(found["report.json"][0])
    assert leftovers(tmp_path / "out") == []


def test_error_is_one_line() -> None:
    assert str(InputError("where", "found\n  much", "other")) == "where: found much; expected other"
    assert str(InputError(Path("a/b"), "gone")) == "a/b: gone"


def test_a_result_can_be_put_into_a_scratch_folder(tmp_path: Path) -> None:
    """The folder's own lock is no other program's."""
    with scratch_folder(tmp_path) as folder:
        start = time.monotonic()
        with staging(folder) as inner:
            (inner / "a").write_text("whole")
        assert time.monotonic() - start < 10
        assert (folder / "a").read_text() == "whole"
    assert not list(tmp_path.iterdir())
