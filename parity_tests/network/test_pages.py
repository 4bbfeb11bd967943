"""``docs/network.md``, ``losses.md`` and ``trace.md`` say what the tables say."""

import re
from dataclasses import fields
from itertools import takewhile
from pathlib import Path

import pytest

from network import layers
from network.levels import EDGES, FACES, VERTICES
from network.losses import LOSSES
from network.taps import BLOCK_TAPS, TAPS, TapRow
from network.weights import WEIGHTS
from parity.traces import layout
from parity.traces.trace import TraceHeader

DOCS = Path(__file__).resolve().parents[2] / "docs"
NETWORK, LOSS, TRACE = (
    (DOCS / f"{name}.md").read_text("utf-8") for name in ("network", "losses", "trace")
)
CONVOLUTION = re.compile(r"(\d+)(?: \(([^)]*)\))?")
SHAPES = {stage: {row.key: row.shape for row in rows} for stage, rows in WEIGHTS.items()}


def table(page: str, heading: str) -> list[list[str]]:
    """The rows of the page's table whose first heading this is."""
    lines = iter(page.splitlines())
    next(line for line in lines if line.startswith(f"| {heading} |"))
    next(lines)
    rows = takewhile(lambda line: line.startswith("| "), lines)
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def number(row: TapRow) -> int:
    """A coarse layer's number, which ends its name."""
    return int(re.search(r"layer_(\d+)", row.name)[1])  # type: ignore[index]


def listed(text: str) -> set[int]:
    """Numbers and ranges: "0, 15, 31" or "1–14, 17–30"."""
    found: set[int] = set()
    for part in text.split(", "):
        first, _, last = part.partition("–")
        found |= set(range(int(first), int(last or first) + 1))
    return found


@pytest.mark.parametrize("stage", TAPS)
def test_the_image_network(stage: str) -> None:
    maps = {row.name: row for row in TAPS[stage] if row.is_map}
    seen = set()
    for convolutions, channels, size in table(NETWORK, "convolutions"):
        for at, words in CONVOLUTION.findall(convolutions):
            row = maps[f"cnn.conv2d_{at}"]
            seen.add(row.name)
            assert row.shape == (3, int(size), int(size), int(channels))
            assert row.settings["stride"] == (2 if "stride 2" in words else 1)
            side = 5 if "5×5" in words else 3
            assert SHAPES[stage][row.variables["weight"]][:2] == (side, side)
    assert seen == set(maps)


def test_the_coarse_layers() -> None:
    projections, unpoolings, convolutions, last = (
        listed(row[0]) for row in table(NETWORK, "layers")
    )
    by_kind: dict[str, set[int]] = {}
    for row in TAPS["coarse"]:
        if not row.is_map:
            by_kind.setdefault(row.layer, set()).add(number(row))
    assert by_kind["coarse_projection"] == projections
    assert by_kind["unpooling"] == unpoolings
    assert by_kind["graph_convolution"] | by_kind["coordinates"] == convolutions
    assert by_kind["coordinates"] == last
    residuals = {*range(3, 14, 2), *range(19, 30, 2), *range(35, 46, 2)}
    assert by_kind["halved_sum"] == residuals
    assert "3, 5, …, 13 (19, …, 29; 35, …, 45)" in NETWORK


@pytest.mark.parametrize(
    ("stage", "layer", "words"),
    [
        ("coarse", "coarse_projection", "The maps of convolutions 8, 11, 14 and 18"),
        ("refine", "refine_projection", "the maps of convolutions 2, 5 and 8"),
    ],
)
def test_what_projections_read(stage: str, layer: str, words: str) -> None:
    assert words in " ".join(NETWORK.split())
    expected = [int(each) for each in re.findall(r"\d+", words)]
    for row in TAPS[stage]:
        if row.layer == layer:
            assert [int(each.rpartition("_")[2]) for each in row.parents[1:]] == expected
            assert row.settings["scales"] == ((4, 8, 16, 32) if stage == "coarse" else (1, 2, 4))


@pytest.mark.parametrize(
    "text",
    [
        f"{VERTICES[1]} and {VERTICES[2]:,} vertices",
        f"{FACES[0]}, {FACES[1]:,} and {FACES[2]:,} triangles",
        f"{EDGES[0]}, {EDGES[1]:,} and {EDGES[2]:,} edges",
        f"{layers.FOCAL:.0f}·(−Y)/(−Z) + {layers.CENTRE:.0f}",
        f"each clamped to [0, {layers.LAST_PIXEL:.0f}]",
        "√(population variance + 1e-6)",
        repr(layers.PI),
    ],
)
def test_constants(text: str) -> None:
    assert text in " ".join(NETWORK.split())


@pytest.mark.parametrize("term", ["chamfer", "edge", "normal", "laplace", "move"])
def test_loss_factors(term: str) -> None:
    factors = {row[0]: row[-1] for row in table(LOSS, "term")}
    coarse, refine = (f"{getattr(LOSSES[stage], term):g}" for stage in ("coarse", "refine"))
    assert factors[term] == (coarse if coarse == refine else f"{coarse} coarse, {refine} refine")


def test_decay() -> None:
    formulas = {row[0]: row[1] for row in table(LOSS, "term")}
    first, second = LOSSES["coarse"].decay_cnn
    assert formulas["decay"].startswith(f"{first:.1g} · {second:.0e}".replace("e-05", "e-5"))
    graph = f"{LOSSES['coarse'].decay_graph:.0e}".replace("e-06", "e-6")
    assert formulas["decay, coarse stage only"].startswith(graph)
    assert LOSSES["refine"].decay_graph == 0
    assert f"{LOSSES['coarse'].backward:.2f} · mean over points" in formulas["chamfer"]


@pytest.mark.parametrize("group", layout.READ_GROUPS)
def test_every_group_of_a_trace_is_described(group: str) -> None:
    assert re.search(rf"`/{group}(?:/\w+)?`", TRACE)


@pytest.mark.parametrize("name", [each.name for each in fields(TraceHeader)])
def test_every_attribute_of_a_trace_is_described(name: str) -> None:
    assert re.search(rf"^\| [^|]*`{name}`", TRACE, re.MULTILINE)


def test_the_schema_of_a_trace() -> None:
    assert f"`{layout.TRACE_SCHEMA}`" in TRACE
    assert f"`{layout.CHECKSUM}`" in TRACE


def test_a_stage_has_the_blocks_that_the_page_says() -> None:
    assert [len(BLOCK_TAPS[stage]) for stage in ("coarse", "refine")] == [3, 2]
    assert "Three blocks" in NETWORK
    assert "Two blocks" in NETWORK
