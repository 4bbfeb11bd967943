"""The public names: one import path each, light to import; ``docs/api.md`` runs as it stands."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import network
import parity
import weight_conversion

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "api.md").read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
PROMISED = re.compile(r"(.+)  # (\S.*)")
"""A line of an example whose value the page says."""
PACKAGES = {package.__name__: package for package in (network, parity, weight_conversion)}
NAMES = [(package, name) for package in PACKAGES for name in sorted(PACKAGES[package].__all__)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the examples run, with the files that they take from the clone."""
    made = tmp_path_factory.mktemp("api")
    (made / "docs" / "examples").mkdir(parents=True)
    for name in ("my_port.py", "my_port.toml"):
        shutil.copy(ROOT / "docs" / "examples" / name, made / "docs" / "examples")
    return made


def test_the_examples_run_and_give_what_the_page_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorflow", reason="an example runs the TensorFlow implementation")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    space: dict[str, Any] = {}
    promised = 0
    for code in EXAMPLES:
        exec(compile(code, "docs/api.md", "exec"), space)  # noqa: S102 - the project's own page
        for line in filter(None, map(PROMISED.fullmatch, code.splitlines())):
            assert repr(eval(line[1], space)) == line[2], line[0]  # noqa: S307
            promised += 1
    assert promised >= 5
    assert (folder / "report" / "report.json").is_file()
    html = space["found"]._repr_html_()
    assert "coarse: differ" in html
    assert "<td>cnn.conv2d_3</td><td>differ</td>" in html
    assert "confirmed (padding)" in html


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_every_public_name_is_there_and_on_the_page(package: str, name: str) -> None:
    assert callable(getattr(PACKAGES[package], name))
    assert re.search(rf"from {package} import [^`]*\b{name}\b", PAGE)


@pytest.mark.parametrize("package", PACKAGES)
def test_other_names_are_refused_as_usual(package: str) -> None:
    with pytest.raises(AttributeError, match=f"'{package}' has no attribute 'nothing'"):
        _ = PACKAGES[package].nothing


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import network, parity, weight_conversion", ("numpy", "h5py", "torch", "tensorflow")),
        (
            "from parity import compare, run_pair, judge_module, ModulePort, Comparison; "
            "from weight_conversion import convert",
            ("torch", "tensorflow", "pandas", "matplotlib", "reports"),
        ),
    ],
    ids=["packages", "names"],
)
def test_importing_imports_no_framework(code: str, absent: tuple[str, ...]) -> None:
    code += f"; import sys; print([name for name in {absent} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_function_is_not_hidden_by_a_module_of_its_name() -> None:
    """A submodule that was imported is an attribute of its package, and would come first."""
    code = (
        "import commands.main, commands.actions.demo, commands.actions.compare; "
        "from parity import compare; from weight_conversion import convert; "
        "print(compare.__name__, convert.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["compare", "convert"]
