"""The project's losses and gradients against those of the exported graph."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from network.weights import WEIGHTS
from tf_reference.backend import factory
from tf_reference.exported_losses import decay_nodes, term_nodes
from tf_reference.losses import term_names
from tf_reference.metagraph import load_metagraph
from tf_reference.runtime import tf
from weight_conversion.errors import InputError

Of = Callable[[str], dict[str, Any]]
PathOf = Callable[[str], Path]
COARSE = pytest.param("coarse", "float32", id="coarse.float32")
SLOW = [
    pytest.param("coarse", "float64", id="coarse.float64", marks=pytest.mark.slow),
    pytest.param("refine", "float32", id="refine.float32", marks=pytest.mark.slow),
    pytest.param("refine", "float64", id="refine.float64", marks=pytest.mark.slow),
]
GRADIENT_LIMIT = {"float32": 1e-4, "float64": 1e-10}
# Their gradients cancel where no logit is clipped; what is left has no scale of its own.
CANCELLING = ("localgconv_6_vars/bias", "localgconv_12_vars/bias")


@pytest.fixture(scope="module")
def sides(official_measured_inputs: Of, weights: Of, metagraph_path: PathOf) -> Any:
    """Both backends of a stage and precision, with their losses and gradients; made once."""
    made: dict[tuple[str, str], Any] = {}

    def of(stage: str, dtype: str) -> Any:
        if (stage, dtype) not in made:
            given = official_measured_inputs(stage), weights(stage)
            graph = load_metagraph(metagraph_path(stage), stage, dtype)
            own = factory(stage, dtype, "cpu")
            found = own.losses_and_gradients(*given)
            made[stage, dtype] = own, graph, found, (graph.losses(*given), graph.gradients(*given))
        return made[stage, dtype]

    return of


@pytest.mark.parametrize(("stage", "dtype"), [COARSE, *SLOW])
def test_losses(sides: Any, stage: str, dtype: str) -> None:
    own, graph = (found[0] for found in sides(stage, dtype)[2:])
    assert list(own) == list(graph) == term_names(stage)
    assert own == pytest.approx(graph, rel={"float32": 2e-6, "float64": 1e-12}[dtype])
    assert graph["total"] == pytest.approx(
        # In float32 the graph adds 129 small decays to it one by one.
        sum(value for name, value in graph.items() if name != "total"),
        rel={"float32": 1e-5, "float64": 1e-12}[dtype],
    )


@pytest.mark.parametrize(("stage", "dtype"), [COARSE, *SLOW])
def test_gradients(sides: Any, stage: str, dtype: str) -> None:
    own, graph = (found[1] for found in sides(stage, dtype)[2:])
    assert set(own) == set(graph) == {row.key for row in WEIGHTS[stage]} | {"mesh"}
    far = {}
    for key, expected in graph.items():
        assert own[key].shape == expected.shape
        assert own[key].dtype == expected.dtype == dtype
        scale = np.abs(expected).max()
        error = np.abs(own[key] - expected).max()
        if not any(name in key for name in CANCELLING) and error > GRADIENT_LIMIT[dtype] * scale:
            far[key] = error / scale
    assert far == {}


@pytest.mark.slow
def test_a_single_terms_gradient(sides: Any, official_measured_inputs: Of, weights: Of) -> None:
    own, graph = (
        side.gradients(official_measured_inputs("coarse"), weights("coarse"), "laplace_1")
        for side in sides("coarse", "float32")[:2]
    )
    assert not any(own[key].any() for key in own if "blk2" in key or "blk3" in key)
    assert not any(graph[key].any() for key in graph if "blk2" in key or "blk3" in key)
    np.testing.assert_allclose(own["mesh"], graph["mesh"], atol=1e-5 * np.abs(graph["mesh"]).max())


def test_an_unknown_term(sides: Any, official_measured_inputs: Of, weights: Of) -> None:
    graph = sides("coarse", "float32")[1]
    with pytest.raises(InputError, match=r"term: 'depth'; expected one of chamfer_1, "):
        graph.gradients(official_measured_inputs("coarse"), weights("coarse"), "depth")


def test_missing_ground_truth(sides: Any, official_inputs: Of, weights: Of) -> None:
    for side in sides("coarse", "float32")[:2]:
        with pytest.raises(InputError, match=r"inputs/ground_truth: missing"):
            side.losses(official_inputs("coarse"), weights("coarse"))


@pytest.mark.parametrize("stage", ["coarse", "refine"])
def test_term_nodes_are_scaled_means(metagraph_path: PathOf, stage: str) -> None:
    """Each term's node multiplies by the constant that the term's formula has."""
    message = tf.compat.v1.MetaGraphDef()
    message.ParseFromString(metagraph_path(stage).read_bytes())
    nodes = {node.name: node for node in message.graph_def.node}

    def factor(name: str) -> float:
        constants = [nodes[each] for each in nodes[name].input if nodes[each].op == "Const"]
        (constant,) = constants
        return float(tf.make_ndarray(constant.attr["value"].tensor))

    weigh = {"chamfer": 3000, "normal": 0.5, "laplace": 1500}
    weigh |= {"coarse": {"edge": 350, "move": 50}, "refine": {"edge": 500, "move": 100}}[stage]
    found = {name: factor(node) for name, node in term_nodes(stage).items() if name != "total"}
    assert found == {name: weigh[name.partition("_")[0]] for name in found}
    decays = [factor(node) for node in decay_nodes(stage)[1:]]
    assert decays == [float(np.float32(5e-6))] * {"coarse": 129, "refine": 0}[stage]
