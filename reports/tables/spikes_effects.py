"""What the study's runs differ by, as tables and as a figure."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reports.figures.differences import STYLE, image

RESPONSES = {
    "irregular_spike_rate": "spike rate, end",
    "irregular_spike_rate_along": "spike rate, along",
    "strength": "strength, end",
    "strength_along": "strength, along",
    "chamfer": "chamfer, end",
}
EFFECT_HEADING = ("switched on", *RESPONSES.values())
DIFFERENCE_HEADING = (
    "comparison", "of", "blocks", "steps", "pairs", "difference", "95 % interval", "sign test p",
)  # fmt: skip
LAYER_HEADING = ("layer", "as trained", "alone", "all others", "up to it")

_HIGHER = "products of three and more"
_INK, _FAINT = "#333333", "#bbbbbb"


def effect_rows(factorial: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row a contrast, then the margins; one star beyond its own margin, two beyond all's."""
    table: dict[str, dict[str, str]] = {}
    margins: dict[str, dict[str, str]] = {"margin (*)": {}, "for all together (**)": {}}
    for effect in factorial["effects"]:
        name = contrast_name(effect)
        table.setdefault(name, {})[effect["response"]] = (
            f"{effect['estimate']:+.3f}{_stars(effect)}"
        )
        margins["margin (*)"][effect["response"]] = f"±{effect['margin']:.3f}"
        margins["for all together (**)"][effect["response"]] = f"±{effect['simultaneous']:.3f}"
    return [
        (name, *(cells[response] for response in RESPONSES))
        for name, cells in {**table, **margins}.items()
    ]


def contrast_name(effect: Mapping[str, Any]) -> str:
    """What a contrast stands for, in words."""
    return " or ".join(effect["factors"]) or _HIGHER


def _stars(effect: Mapping[str, Any]) -> str:
    size = abs(effect["estimate"])
    return "**" if size > effect["simultaneous"] else "*" if size > effect["margin"] else ""


def difference_rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row a comparison of two arms."""
    return [
        (
            f"{each['name']}: {each['more']} − {each['less']}",
            RESPONSES[each["response"]],
            str(each["blocks"]),
            str(each["steps"]),
            str(len(each["pairs"])),
            f"{each['estimate']:+.3f}",
            "one pair" if each["low"] is None else f"{each['low']:+.3f} to {each['high']:+.3f}",
            f"{each['sign_p']:.3f}",
        )
        for each in result["differences"]
    ]


def layer_rows(run: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A run's graph convolutions: the strength where some are levelled afterwards."""
    whole = f"{run['strength']:.2f}"
    return [
        (
            row["layer"],
            whole,
            *(f"{row[key]['strength']:.2f}" for key in ("alone", "others", "up_to")),
        )
        for row in run["by_layer"]
    ]


def effects_figure(factorial: Mapping[str, Any]) -> bytes:
    """A PNG: every contrast of a factorial as a point, Lenth's two margins as bands."""
    names = list(dict.fromkeys(contrast_name(each) for each in factorial["effects"]))
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(11, 1.2 + 0.33 * len(names)), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(RESPONSES), sharey=True)
        for axes, (response, words) in zip(panels, RESPONSES.items(), strict=True):
            effects = [each for each in factorial["effects"] if each["response"] == response]
            margin, together = effects[0]["margin"], effects[0]["simultaneous"]
            axes.axvspan(-together, together, color="#f2f2f2", lw=0)
            axes.axvspan(-margin, margin, color="#e0e0e0", lw=0)
            axes.axvline(0.0, color=_FAINT, lw=0.8)
            for effect in effects:
                place = names.index(contrast_name(effect))
                colour = "#b2182b" if _stars(effect) else _INK
                axes.plot([0, effect["estimate"]], [place, place], color=colour, lw=1)
                filled = colour if effect["main"] else "white"
                axes.plot(effect["estimate"], place, "o", color=colour, ms=4, mfc=filled)
            axes.set_xlabel(words)
        panels[0].set_yticks(range(len(names)), [_short(name) for name in names], fontsize=8)
        panels[0].invert_yaxis()
        figure.suptitle(
            f"{factorial['item']}, seed {factorial['seed']}, {factorial['runs']} runs of "
            f"{factorial['steps']} steps, {blocks_words(factorial['blocks'])}; "
            f"what switching on adds; bands: {factorial['margins']}'s margins, one and all",
            fontsize=9,
        )
        return image(figure, "png")


def blocks_words(count: int) -> str:
    """``1 block``, ``3 blocks``."""
    return f"{count} block" + ("s" if count > 1 else "")


def _short(name: str) -> str:
    """Names of a contrast on lines of at most two pairs."""
    parts: Sequence[str] = name.split(" or ")
    return "\n".join(parts) if len(parts) == 1 else parts[0] + f"\nor {len(parts) - 1} other pairs"
