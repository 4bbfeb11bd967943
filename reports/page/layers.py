"""The layer graph: where each tap stands in the picture, and which taps it is computed from."""

from collections.abc import Sequence
from dataclasses import dataclass

from network.registry import taps_of
from network.taps import TapRow
from parity.oracle.context import PREFIX
from parity.verdict.result import Status, TapResult
from reports import wording

_WIDTH, _HEIGHT = 124, 18  # of a node
_COLUMN, _LINE = 160, 22  # from one node to the next
_TOP, _LEFT = 28, 14
_IMAGE_NETWORK, _OTHERS = "image network", "others"


@dataclass(frozen=True)
class Node:
    """A tap in the picture; ``entry`` is its index among the comparison's taps, −1 for an input."""

    entry: int
    name: str
    short: str
    status: Status | None
    x: int
    y: int
    width: int = _WIDTH
    height: int = _HEIGHT


@dataclass(frozen=True)
class LayerGraph:
    """The picture: nodes, edges as SVG paths, columns' titles with their x, and its size.

    An edge is (path, index of the parent's node, index of the child's).
    """

    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, int, int], ...]
    columns: tuple[tuple[str, int], ...]
    width: int
    height: int


def layer_graph(stage: str, taps: Sequence[TapResult]) -> LayerGraph:
    """Lay out the compared taps: a column for the image network and for each block, in order.

    Taps that the table of taps does not know stand in a column of their own, without edges.
    """
    rows = {row.name: row for row in taps_of(stage)}
    groups: dict[str, list[tuple[int, str]]] = {}
    found: list[str] = []
    # An input stands above the first layer that reads it.
    for row in rows.values():
        for source in row.parents:
            if source.startswith(PREFIX) and source not in found:
                found.append(source)
                groups.setdefault(group_of(row), []).append((-1, source))
    for index, tap in enumerate(taps):
        group = group_of(rows[tap.tap]) if tap.tap in rows else _OTHERS
        groups.setdefault(group, []).append((index, tap.tap))
    nodes: list[Node] = []
    place: dict[str, int] = {}
    for column, members in enumerate(groups.values()):
        for line, (index, name) in enumerate(members):
            place[name] = len(nodes)
            residual = name in rows and rows[name].is_sum
            short = short_name(rows[name]) if name in rows else _fitting(name)
            nodes.append(
                Node(
                    entry=index,
                    name=wording.printable(name),
                    short=short,
                    status=taps[index].status if index >= 0 else None,
                    x=_LEFT + column * _COLUMN + (12 if residual else 0),
                    y=_TOP + line * _LINE,
                    width=_WIDTH - (12 if residual else 0),
                )
            )
    edges = [
        (_path(nodes[place[parent]], nodes[place[name]]), place[parent], place[name])
        for name, row in rows.items()
        if name in place
        for parent in row.parents
        if parent in place
    ]
    return LayerGraph(
        nodes=tuple(nodes),
        edges=tuple(edges),
        columns=tuple(
            (title, _LEFT + column * _COLUMN + _WIDTH // 2) for column, title in enumerate(groups)
        ),
        width=_LEFT + max(len(groups), 1) * _COLUMN,
        height=_TOP + max((len(members) for members in groups.values()), default=1) * _LINE + 8,
    )


def group_of(row: TapRow) -> str:
    """The column of a tap."""
    return _IMAGE_NETWORK if row.is_map else f"block {row.block}"


def short_name(row: TapRow) -> str:
    """A name that fits a node: without what its column says already."""
    return _fitting(row.short)


def _fitting(name: str) -> str:
    return wording.shortened(wording.printable(name.removeprefix(PREFIX)), 17)


def _path(parent: Node, child: Node) -> str:
    """A line from under the parent to above the child, or around what stands between."""
    if parent.x // _COLUMN == child.x // _COLUMN:
        if 0 < child.y - parent.y <= _LINE:
            x = max(parent.x, child.x) + 20
            return f"M{x} {parent.y + parent.height}V{child.y}"
        side = min(parent.x, child.x) - 2
        bulge = side - min(6 + (child.y - parent.y) // 14, 12)
        y, z = parent.y + parent.height / 2, child.y + child.height / 2
        return f"M{parent.x} {y}C{bulge} {y} {bulge} {z} {child.x} {z}"
    x, y = parent.x + parent.width, parent.y + parent.height / 2
    z = child.y + child.height / 2
    middle = (x + child.x) / 2
    return f"M{x} {y}C{middle} {y} {middle} {z} {child.x} {z}"
