"""The documentation's tables, rendered from the rows: ``python -m weight_conversion.tables``."""

import math
from pathlib import Path

from network.taps import TAPS, TapRow
from network.weights import WEIGHTS, WeightRow
from weight_conversion.atomic import replacing
from weight_conversion.weight_set import shape_text

_SOURCE = (
    "Written by `python -m weight_conversion.tables` from `network/{module}.py`: edit "
    "the rows there."
)
_TITLES = {"coarse": "Coarse stage (MVP2M)", "refine": "Refine stage (P2MPP)"}


def variables_page() -> str:
    """The page that lists every variable of both stages, in Markdown."""
    lines = [
        "# Variables",
        "",
        _SOURCE.format(module="weights"),
        "",
        "Shapes are the checkpoint's. `CONV` kernels are HWIO in a checkpoint and OIHW in a state",
        "dict; `MATRIX` and `VECTOR` are the same in both. The graph's node is the one in the",
        "exported TensorFlow 1.12 graph.",
    ]
    for stage, rows in WEIGHTS.items():
        numbers = sum(math.prod(row.shape) for row in rows)
        lines += [
            "",
            f"## {_TITLES[stage]}",
            "",
            f"{len(rows)} variables, {numbers:,} numbers.",
            "",
        ]
        lines += _table(
            ("checkpoint key", "node", "state-dict key", "shape", "layout"),
            [_variable_cells(row) for row in rows],
        )
    return "\n".join(lines) + "\n"


def taps_page() -> str:
    """The page that lists every tap of both stages, in Markdown."""
    lines = [
        "# Taps",
        "",
        _SOURCE.format(module="taps"),
        "",
        "A tap is a named activation, in the order of computation and in the exported graph's",
        "layout (views first, channels last). The parents are the taps, and the inputs `images`",
        "and `mesh`, that it is computed from with no other tap between; cameras, supports,",
        "unpooling pairs and hypothesis offsets are constants and not listed. The module is the",
        "one of the PyTorch model that computes it.",
    ]
    for stage, rows in TAPS.items():
        lines += ["", f"## {_TITLES[stage]}", "", f"{len(rows)} taps.", ""]
        lines += _table(
            ("order", "tap", "shape", "graph tensor", "module", "parents"),
            [_tap_cells(row) for row in rows],
        )
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """The pages by the names of their files in ``docs``."""
    return {"variables.md": variables_page(), "taps.md": taps_page()}


def write_pages(folder: Path) -> None:
    """Write all pages to ``folder``.

    Raises:
        InputError: the folder cannot be written to.
    """
    for name, text in pages().items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")


def _variable_cells(row: WeightRow) -> tuple[str, ...]:
    names = (f"`{name}`" for name in (row.key, row.node, row.torch_key))
    return (*names, shape_text(row.shape), row.layout.name)


def _tap_cells(row: TapRow) -> tuple[str, ...]:
    parents = ", ".join(f"`{parent}`" for parent in row.parents)
    names = (f"`{row.metagraph_tensor}`", f"`{row.module}`")
    return (str(row.order), f"`{row.name}`", shape_text(row.shape), *names, parents)


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    ruled = [header, ("---",) * len(header), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in ruled]


if __name__ == "__main__":
    write_pages(Path(__file__).resolve().parent.parent / "docs")
