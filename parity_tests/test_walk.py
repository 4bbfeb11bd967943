"""The commands of the pages, in their order, in one folder, as somebody who reads them types them.

Names that stand for something of the reader's own (``ITEM``, ``mesh.obj``) are there. What takes
minutes is in the slow form; long trainings take two steps, a data set has two items.
"""

import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inputs.demo import demo_item_path
from inputs.meshes import save_obj
from inputs.seeded import seeded_weights
from inputs.template import build_template
from parity.meshes.losses import unpooled
from parity_tests.commands.cli import p2m_process
from parity_tests.test_docs import PAGES, ROOT, typed
from weight_conversion.formats import WeightSet, save_weights

WALKED = ("README.md", "docs/commands.md", "docs/own-port.md", "docs/agents.md", "docs/weights.md",
          "docs/trace.md", "docs/training.md", "docs/scale.md", "docs/spikes.md")  # fmt: skip
QUICK = {"seed", "convert", "inspect", "spikes", "losses", "predict"}
LONG = {"demo-network": "half an hour", "sweep": "hours"}
SHORT = {"--steps": "2", "--items": "2"}
OFFICIAL = {"meshnetmvp2m.ckpt-50.meta": "checkpoint_graphs/coarse_mvp2m/meshnetmvp2m.ckpt-50.meta",
            "info_ellipsoid.dat": "template/info_ellipsoid.dat"}  # fmt: skip


def lines(page: str) -> Iterator[str]:
    """The lines of a page's console blocks, in order."""
    for line in typed(PAGES[page]):
        if line.startswith("$ "):
            yield " ".join(line.removeprefix("$ ").partition("  #")[0].split())


def steps() -> list[Any]:
    """Every command of ours: its page, the folder in which it is typed, its words."""
    found = []
    for page in WALKED:
        folder = "."
        for number, line in enumerate(lines(page)):
            words = shlex.split(line)
            if words[0] == "cd":
                folder = words[1]
            if words[0] != "p2m-parity" or "…" in line or words[1] in LONG:
                continue
            quick = words[1] in QUICK and "refine" not in line
            marks = () if quick else (pytest.mark.slow,)
            name = f"{page}:{number}:{words[1]}"
            found.append(pytest.param(page, folder, words[1:], id=name, marks=marks))
    return found


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader has: a clone's inputs, an item, meshes, weights."""
    made = tmp_path_factory.mktemp("kept")
    (made / "inputs").symlink_to(ROOT / "inputs")
    (made / "ITEM").symlink_to(demo_item_path("plane"))
    template = build_template()
    mesh = unpooled(template.coordinates, 2466, template)
    assert mesh is not None
    for name in ("mesh.obj", "mvp2m_prediction.obj"):
        save_obj(made / name, mesh, template.faces[2])
    coarse = "coarse.pt", "coarse.safetensors", "coarse.ckpt-50", "meshnetmvp2m.ckpt-50"
    for stage, names in {"coarse": coarse, "refine": ("refine.pt", "refine.ckpt-10")}.items():
        weights = WeightSet(stage, seeded_weights(stage), 50, "seed 0")
        for name in names:
            save_weights(made / name, weights)
    return made


@pytest.fixture(scope="module")
def places(kept: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder for each page, in which its commands find what the ones before have written."""
    made: dict[str, Path] = {}

    def of(page: str) -> Path:
        if page not in made:
            made[page] = tmp_path_factory.mktemp("walk")
            for each in kept.iterdir():
                (made[page] / each.name).symlink_to(each)
            examples = made[page] / "docs" / "examples"
            examples.mkdir(parents=True)
            for name in ("my_port.py", "my_port.toml"):
                shutil.copy(ROOT / "docs" / "examples" / name, examples)
                shutil.copy(ROOT / "docs" / "examples" / name, made[page])
        return made[page]

    return of


@pytest.mark.parametrize(("page", "folder", "words"), steps())
def test_the_command_does_what_it_says(
    page: str,
    folder: str,
    words: list[str],
    places: Callable[[str], Path],
    request: pytest.FixtureRequest,
) -> None:
    place = places(page)
    words = [SHORT.get(before, word) for before, word in zip(["", *words], words, strict=False)]
    for name, path in OFFICIAL.items():
        if name in words and not (place / name).exists():
            official: Path = request.getfixturevalue("official")
            for each in (official / path).parent.iterdir():
                if each.is_file() and not (place / each.name).exists():
                    (place / each.name).symlink_to(each)
    if ">" in words:
        words = words[: words.index(">")]
    done = p2m_process(*words, cwd=place / folder)
    assert done.status in (0, 1), (done.stdout[-2000:], done.stderr)
    assert "Traceback" not in done.stderr
    # A run that differs says so; the example port does, and nothing else.
    assert done.status == 0 or "my_port:factory" in words, done.stdout[-2000:]


def test_pages_have_commands_to_walk() -> None:
    assert len(steps()) > 20
    assert {each.id.partition(":")[0] for each in steps()} >= {"README.md", "docs/own-port.md"}
    assert not re.search(r"\$ (?!p2m-parity|cd |python|pytest|tensorboard)", "\n".join(
        f"$ {line}" for page in WALKED for line in lines(page)
    ))  # fmt: skip
