"""The pages: their links, commands, files and modules are there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from commands.main import MAKERS, cli
from parity.oracle.primitives import RULES

ROOT = Path(__file__).resolve().parents[1]
FILES = (ROOT / "README.md", *sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")]))
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in FILES}
ROOMS = (
    "benchmarks", "cluster", "commands", "docs", "evaluation", "inputs", "network", "parity",
    "parity_tests", "reports", "studies", "tf_reference", "torch_impl", "weight_conversion",
)  # fmt: skip
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
BLOCK = re.compile(r"^```(?:console|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
QUOTED = re.compile(r"`(p2m-parity [^`]+)`")
PLACE = re.compile(r"`((?:" + "|".join(ROOMS) + r")(?:[./]\w+)+)/?`")
"""A file, folder, module or what a module holds."""
RECORDED = {"inputs/images", "inputs/mesh"}
"""Names in a trace that look like paths."""


def anchors(page: str) -> set[str]:
    """The names that a code host gives to the headings of a page."""
    words = (heading.lower().replace("`", "") for heading in HEADING.findall(page))
    return {re.sub(r"[^\w\- ]", "", each).replace(" ", "-") for each in words}


def links(name: str) -> Iterator[tuple[Path, str]]:
    """The files that a page links to, and the heading in each."""
    for target in LINK.findall(PAGES[name]):
        if not target.startswith(("http://", "https://")):
            path, _, anchor = target.partition("#")
            yield ((ROOT / name).parent / path).resolve() if path else ROOT / name, anchor


def typed(page: str) -> Iterator[str]:
    """The lines of a page's blocks for a shell, those that go on below in one."""
    for block in BLOCK.findall(page):
        yield from block.replace("\\\n", " ").splitlines()


def commands(page: str) -> Iterator[list[str]]:
    """The words of every command of ours on a page, from blocks and from running text."""
    found = [" ".join(each.split()) for each in QUOTED.findall(page)]
    found += [line.removeprefix("$ ").removeprefix(".venv/bin/") for line in typed(page)]
    for line in found:
        words = shlex.split(line, comments=True)
        if words[:1] == ["p2m-parity"]:
            yield words[1:]


def is_there(place: str) -> bool:
    """Whether a path exists, or a dotted name is a module, or a name that a module's text holds."""
    if "/" in place:
        return (ROOT / place).exists()
    parts = place.split(".")
    for length in range(len(parts), 0, -1):
        base = ROOT.joinpath(*parts[:length])
        for source in (base.with_suffix(".py"), base / "__init__.py"):
            if source.is_file():
                text = source.read_text("utf-8")
                return all(re.search(rf"\b{each}\b", text) for each in parts[length:])
    return False


COMMANDS = sorted(
    {(name, " ".join(words)) for name, page in PAGES.items() for words in commands(page)}
)


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    for path, anchor in links(name):
        assert path.exists(), path
        if anchor:
            assert anchor in anchors(path.read_text("utf-8")), f"{path.name}#{anchor}"


def test_every_page_is_reached_from_the_readme() -> None:
    seen: set[str] = set()
    queue = ["README.md"]
    while queue:
        name = queue.pop()
        if name in PAGES and name not in seen:
            seen.add(name)
            queue += [path.relative_to(ROOT).as_posix() for path, _ in links(name)]
    assert not set(PAGES) - seen


@pytest.mark.parametrize(("name", "line"), COMMANDS, ids=[line[:60] for _, line in COMMANDS])
def test_commands_and_options_exist(name: str, line: str) -> None:
    """Each option that a page gives to a command is one of the command's own."""
    words = line.split()
    while words[:1] == ["--network"]:  # the program's own option, before a command
        words = words[2:]
    command: click.Command | None = cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        context = click.Context(command)
        if words[0] not in (*command.list_commands(context), *MAKERS):
            words = ["judge", *words]  # `spikes MESH` is short for it, and refused elsewhere
        _, command, words = command.resolve_command(context, words)
    assert command is not None
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    given = {word.partition("=")[0] for word in words if re.match(r"--\w", word)}
    assert not given - known - {"--help", "--version"}, name


@pytest.mark.parametrize("name", PAGES)
def test_files_and_modules_exist(name: str) -> None:
    for place in {*PLACE.findall(PAGES[name])} - RECORDED:
        assert is_there(place), place


@pytest.mark.parametrize(
    ("place", "there"),
    [
        ("parity/verdict/compare.py", True),
        ("parity/verdict/truth.py", False),
        ("parity.verdict.compare.compare", True),
        ("parity.verdict.compare.tolerance", False),
        ("parity.nothing", False),
        ("parity.run_pair", True),
    ],
)
def test_a_place_that_is_not_there_is_seen(place: str, there: bool) -> None:
    assert PLACE.fullmatch(f"`{place}`")
    assert is_there(place) == there


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("`p2m-parity run both\n--out out`", [["run", "both", "--out", "out"]]),
        ("```console\n$ p2m-parity seed \\\n    w.npz  # any\n```\n", [["seed", "w.npz"]]),
        ("```sh\n.venv/bin/p2m-parity demo\nls\n```\n", [["demo"]]),
        ("```text\np2m-parity nothing\n```\n", []),
    ],
    ids=["running text", "console", "shell", "output"],
)
def test_commands_are_found_on_a_page(page: str, found: list[list[str]]) -> None:
    assert list(commands(page)) == found


def test_the_primitives_that_are_described_have_rules() -> None:
    text = PAGES["docs/architecture.md"]
    table = text.partition("| for | primitives |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", table)))
    assert len(named) > 30
    assert named <= set(RULES)
