"""The rules for data and exported files, each broken once."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from inputs.demo import DEMO_ITEMS
from inputs.template import Template, build_template
from network.levels import VERTICES
from studies.faults.data import Pipeline, check
from studies.faults.fault import PIPELINE
from studies.faults.faults import FAULTS, PIPELINES

Meshes = Mapping[str, np.ndarray]


@pytest.fixture(scope="module")
def template() -> Template:
    return build_template()


@pytest.fixture(scope="module")
def meshes() -> Meshes:
    draw = np.random.default_rng(0)
    return {name: draw.random((VERTICES[2], 3), dtype=np.float32) for name in DEMO_ITEMS}


def test_the_official_pipeline_breaks_no_rule(
    meshes: Meshes, template: Template, tmp_path: Path
) -> None:
    assert check(Pipeline(), meshes, template, tmp_path) is None


@pytest.mark.parametrize("name", PIPELINES)
def test_a_wrong_pipeline_breaks_the_rule_it_says(
    name: str, meshes: Meshes, template: Template, tmp_path: Path
) -> None:
    fault = next(each for each in FAULTS if each.id == name)
    assert check(PIPELINES[name], meshes, template, tmp_path) == fault.expected[PIPELINE]


@pytest.mark.parametrize("order", [[0] * 8, list(range(7)), [1, 0, *range(2, 8)]])
def test_an_epoch_has_every_item_once_and_another_order_than_the_last(
    order: list[int], meshes: Meshes, template: Template, tmp_path: Path
) -> None:
    pipeline = Pipeline(order=lambda *_: order)
    assert check(pipeline, meshes, template, tmp_path) == "data/order"
