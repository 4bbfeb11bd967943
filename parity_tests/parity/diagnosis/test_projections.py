"""Projections with one thing wrong, computed by torch, and what is said of them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from parity.diagnosis.diagnosis import diagnose
from torch_impl import projection as network

VERTICES = {"coarse": 12, "refine": 1}
SHAPES = {
    "coarse": ((56, 64), (28, 128), (14, 256), (7, 512)),
    "refine": ((224, 16), (112, 32), (56, 64)),
}


@dataclass
class Parts:
    """What a projection is made of; each may be replaced."""

    pixels: Callable[[Tensor, Tensor], Tensor] = network.pixels
    maps: Callable[[list[Tensor]], list[Tensor]] = lambda maps: maps
    cells: Callable[[Tensor], Tensor] = network.nearest_cells
    statistics: Callable[[Tensor], Tensor] = network.view_statistics
    points: Callable[[Tensor], Tensor] = lambda points: points


def project(
    stage: str, points: Tensor, maps: list[Tensor], cameras: Tensor, parts: Parts
) -> Tensor:
    at, maps = parts.pixels(points, cameras), parts.maps(maps)
    if stage == "coarse":
        features = network.nearest_features([each[:1] for each in maps], parts.cells(at))
    else:
        bordered = [network.with_border(each) for each in maps]
        features = network.bilinear_features(bordered, at, network.bilinear_corners(at))
    return torch.cat([points, parts.statistics(features)], dim=1)


def constant(name: str, value: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The camera with another constant, before its coordinates are clamped."""

    def pixels(points: Tensor, cameras: Tensor) -> Tensor:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(network, name, value)
            return network.pixels(points, cameras)

    return pixels


def parts_of(features: Tensor) -> list[Tensor]:
    return list(network.view_statistics(features).chunk(3, dim=1))


def statistics(edit: Callable[[list[Tensor], Tensor], list[Tensor]]) -> Callable[[Tensor], Tensor]:
    return lambda features: torch.cat(edit(parts_of(features), features), dim=1)


def other_floor(features: Tensor) -> Tensor:
    top, mean, _ = parts_of(features)
    return torch.cat([top, mean, (features.var(dim=0, unbiased=False) + 1e-4).sqrt()], dim=1)


def channels_first(maps: list[Tensor]) -> list[Tensor]:
    return [each.permute(0, 3, 1, 2).reshape(each.shape) for each in maps]


FAULTS: dict[str, tuple[str, Parts]] = {
    "centre": ("constant", Parts(pixels=constant("CENTRE", 111.5))),
    "focal": ("constant", Parts(pixels=constant("FOCAL", 251.5))),
    "rows and columns": ("index order", Parts(pixels=lambda p, c: network.pixels(p, c).flip(2))),
    "mirrored": ("camera", Parts(pixels=constant("FOCAL", -248.0))),
    "cameras": ("view order", Parts(pixels=lambda p, c: network.pixels(p, c[[1, 0, 2]]))),
    "elevation": (
        "camera",
        Parts(pixels=lambda p, c: network.pixels(p, c * torch.tensor([1.0, -1, 1, 1, 1]))),
    ),
    "channels first": ("channel order", Parts(maps=channels_first)),
    "no deviation": (
        "pooling statistic",
        Parts(statistics=statistics(lambda s, _: [s[0], s[1], 0 * s[2]])),
    ),
    "unbiased": (
        "pooling statistic",
        Parts(
            statistics=statistics(
                lambda s, f: [*s[:2], (f.var(dim=0) + network.VARIANCE_FLOOR).sqrt()]
            )
        ),
    ),
    "order": ("channel order", Parts(statistics=statistics(lambda s, _: [s[1], s[0], s[2]]))),
    "floor": ("epsilon", Parts(statistics=other_floor)),
    "half maps": (
        "precision",
        Parts(maps=lambda maps: [each.half().double() for each in maps]),
    ),
}
SAME = {
    "coarse": ("rows and columns", "mirrored", "cameras", "elevation"),
    "refine": ("no deviation", "unbiased", "order", "floor", "half maps"),
}
"""What the stages compute alike is tried in the other stage; in both in the slow form."""


@pytest.fixture(params=SHAPES)
def layer(request, context, tap, rng):
    """Row, context, parents and torch's arguments of a stage's first projection."""
    stage = request.param
    name = {"coarse": "graph_proj_1_layer_0", "refine": "graph_localproj_1_layer_1"}[stage]
    count = VERTICES[stage] if stage == "coarse" else VERTICES[stage] * 43
    points = rng.uniform(-0.3, 0.3, (count, 3)) - np.array([0.0, 0.0, 0.8])
    row, found = tap(stage, name), context(stage)
    maps = [rng.random((3, size, size, channels)) for size, channels in SHAPES[stage]]
    given = points.reshape(-1, 43, 3) if stage == "refine" else points
    parents = dict(zip(row.parents, (given, *maps), strict=True))
    arguments = (
        torch.from_numpy(points),
        [torch.from_numpy(each) for each in maps],
        torch.from_numpy(found.cameras),
    )
    return stage, row, found, parents, arguments


def test_a_right_layer_has_no_diagnosis(layer):
    stage, row, context, parents, arguments = layer
    observed = project(stage, *arguments, Parts()).numpy()
    assert diagnose(row, parents, context, observed) is None


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        pytest.param(stage, name, marks=[pytest.mark.slow] if name in SAME[stage] else [])
        for stage in SHAPES
        for name in FAULTS
    ],
    indirect=["layer"],
)
def test_the_operand_is_named_and_confirmed(name, layer):
    stage, row, context, parents, arguments = layer
    operand, parts = FAULTS[name]
    found = diagnose(row, parents, context, project(stage, *arguments, parts).numpy())
    assert found is not None
    assert (found.operand, found.confirmed) == (operand, True), found


def test_what_fits_no_counterfactual_is_a_hint_only(layer):
    stage, row, context, parents, arguments = layer
    observed = project(stage, *arguments, Parts()).numpy()
    channels = (observed.shape[1] - 3) // 3
    observed[:, -channels:] *= 1.0 + 1e-3 * np.sin(np.arange(channels))
    found = diagnose(row, parents, context, observed)
    assert found is not None
    assert (found.operand, found.confirmed) == ("pooling statistic", False)
    assert "deviation" in found.explanation
