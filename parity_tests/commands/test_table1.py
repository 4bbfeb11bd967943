import json
from pathlib import Path

import pytest

from inputs.demo import demo_item_path
from parity_tests.commands.cli import assert_trouble, p2m


def test_one_implementation_twice_is_identical(tmp_path: Path) -> None:
    done = p2m("table1", "--item", f"plane={demo_item_path('plane')}", "--stage", "coarse",
               "--backends", "torch", "torch", "--out", tmp_path / "out", "--json")  # fmt: skip
    assert done.status == 0, done.stderr
    value = json.loads(done.stdout)
    (pair,) = value["pairs"]
    assert pair["difference"]["greatest"] == 0
    assert pair["difference"]["f_scores"] == [1, 1]
    assert pair["ours"]["all"] == pair["original"]["all"]
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"table1.csv", "table1.md", "table1.tex", "table1.json", "figures"}
    assert json.loads((tmp_path / "out" / "table1.json").read_text()) == value


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ours", "w.pt"], "one of --ours and --original; expected both"),
        (["--item", "nowhere"], "nowhere"),
        (["--weights", "none.pt"], "none.pt"),
        (["--backends", "torch"], "--backends"),
    ],
)
def test_trouble(arguments: list[str], words: str, tmp_path: Path) -> None:
    assert_trouble(p2m("table1", *arguments, cwd=tmp_path), words)
