from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from network.taps import TAPS
from network.weights import WEIGHTS, WeightRow
from tf_reference.exported_graph import ancestors, extracted, read_metagraph
from tf_reference.runtime import tf
from weight_conversion.errors import InputError

PathOf = Callable[[str], Path]


def _meta(path: Path) -> Any:
    message = tf.compat.v1.MetaGraphDef()
    message.ParseFromString(path.read_bytes())
    return message


@pytest.mark.parametrize("stage", ["coarse", "refine"])
def test_variables_are_those_of_the_table(metagraph_path: PathOf, stage: str) -> None:
    graph = read_metagraph(metagraph_path(stage), stage)
    assert dict(graph.variables) == {row.key: row.node for row in WEIGHTS[stage]}
    assert graph.producer == "1.12.0"


@pytest.mark.parametrize(
    "row", [*WEIGHTS["coarse"][::37], *WEIGHTS["refine"][::17]], ids=lambda row: row.key
)
def test_shapes_are_those_of_the_table(metagraph_path: PathOf, row: WeightRow) -> None:
    node = read_metagraph(metagraph_path(row.stage), row.stage).nodes[row.node]
    assert tuple(side.size for side in node.attr["shape"].shape.dim) == row.shape


def _damaged(content: bytes) -> Iterator[tuple[str, bytes, str]]:
    yield "empty", b"", "MetaGraph without nodes"
    yield "text", b"model_checkpoint_path: 'x'\n" * 9, "truncated, or not a MetaGraph"
    yield "half", content[: len(content) // 2], "truncated, or not a MetaGraph"
    yield "last byte missing", content[:-1], "truncated, or not a MetaGraph"


@pytest.mark.parametrize("which", range(4))
def test_damaged_files(metagraph_path: PathOf, tmp_path: Path, which: int) -> None:
    name, content, message = list(_damaged(metagraph_path("refine").read_bytes()))[which]
    path = tmp_path / f"{name}.meta"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_metagraph(path, "refine")
    assert str(caught.value).startswith(f"{path}: ")
    assert "expected an exported graph (.meta)" in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.meta: No such file"):
        read_metagraph(tmp_path / "none.meta", "coarse")


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Is a directory"):
        read_metagraph(tmp_path, "coarse")


def test_the_other_stages_graph(metagraph_path: PathOf) -> None:
    with pytest.raises(InputError, match=r"the refine stage's graph; expected the coarse stage's"):
        read_metagraph(metagraph_path("refine"), "coarse")


def test_a_missing_layer_is_named(metagraph_path: PathOf, tmp_path: Path) -> None:
    message = _meta(metagraph_path("refine"))
    gone = TAPS["refine"][27].metagraph_tensor
    kept = [node for node in message.graph_def.node if node.name != gone]
    del message.graph_def.node[:]
    message.graph_def.node.extend(kept)
    path = tmp_path / "gone.meta"
    path.write_bytes(message.SerializeToString())
    with pytest.raises(InputError, match=f"no node {gone}; expected the refine stage's graph"):
        read_metagraph(path, "refine")


def test_a_graph_without_saver(metagraph_path: PathOf, tmp_path: Path) -> None:
    message = _meta(metagraph_path("refine"))
    kept = [node for node in message.graph_def.node if node.op != "SaveV2"]
    del message.graph_def.node[:]
    message.graph_def.node.extend(kept)
    path = tmp_path / "unsaved.meta"
    path.write_bytes(message.SerializeToString())
    with pytest.raises(InputError, match=r"no SaveV2 node names the variables"):
        read_metagraph(path, "refine")


@pytest.fixture(scope="module")
def refine_graph(metagraph_path: PathOf) -> Any:
    return read_metagraph(metagraph_path("refine"), "refine")


def test_inference_needs_neither_losses_nor_training(refine_graph: Any) -> None:
    targets = [row.metagraph_tensor for row in TAPS["refine"]]
    names = ancestors(refine_graph, targets, cut=refine_graph.variables.values())
    kinds = {refine_graph.nodes[name].op for name in names}
    assert kinds & {"Conv2D", "GatherNd", "Placeholder"}
    assert not kinds & {"VariableV2", "PyFunc", "NnDistance", "SaveV2", "ApplyAdam", "Assign"}


def test_ancestors_stop_at_the_cut(refine_graph: Any) -> None:
    block, cut = "graph_drb_blk1_layer_2/graph_drb_blk1_layer_2", "localgconv_1/Relu"
    names = ancestors(refine_graph, [f"{block}/localgconv_2/Relu"], cut=[f"{block}/{cut}"])
    assert f"{block}/localgconv_2/Relu" in names
    assert f"{block}/{cut}" not in names
    assert not any(name.startswith("graph_localproj") for name in names)


def test_extracted_ignores_pixels_outside(refine_graph: Any) -> None:
    definition = extracted(refine_graph, ["graph_localproj_1_layer_1/GatherNd"], "float32")
    assert definition.node[0].attr["bad_indices_policy"].s == b"IGNORE"


def test_widening_leaves_no_float32(refine_graph: Any) -> None:
    targets = [row.metagraph_tensor for row in TAPS["refine"]]
    names = ancestors(refine_graph, targets, cut=refine_graph.variables.values())
    definition = extracted(refine_graph, names, "float64")
    assert "DT_FLOAT" not in str(definition).replace("DT_FLOAT_REF", "").split()
    pi = {node.name: node for node in definition.node}["graph_localproj_1_layer_1/mul/y"]
    assert tf.make_ndarray(pi.attr["value"].tensor) == 3.1415927410125732
    assert tf.make_ndarray(pi.attr["value"].tensor).dtype == "float64"
