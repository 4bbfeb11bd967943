"""Reading the authors' exported TensorFlow 1 graph (``.meta``) and cutting out what a run needs.

Nothing is executed here: a ``MetaGraphDef`` goes in, a ``GraphDef`` of the wanted nodes comes
out, in float32 as exported or with every float32 type and constant widened to float64.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from network.taps import TAPS
from network.weights import STAGES, WEIGHTS
from tf_reference.runtime import tf
from weight_conversion.errors import InputError

_MESSAGE = "an exported graph (.meta)"


@dataclass(frozen=True)
class ExportedGraph:
    """An exported graph whose stage has been checked.

    Attributes:
        path: the file.
        stage: "coarse" or "refine".
        nodes: the nodes by name, as exported.
        versions: which versions of the operations they mean.
        variables: checkpoint key to node name.
        producer: the TensorFlow that exported it.
    """

    path: Path
    stage: str
    nodes: Mapping[str, Any]
    versions: Any
    variables: Mapping[str, str]
    producer: str


def node_of(tensor: str) -> str:
    """The node that an input such as ``^a``, ``a`` or ``a:2`` comes from."""
    return tensor.lstrip("^").split(":")[0]


def _parsed(path: Path) -> Any:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(path, error.strerror or str(error), _MESSAGE) from error
    message = tf.compat.v1.MetaGraphDef()
    try:
        message.ParseFromString(content)
    except DecodeError as error:
        raise InputError(path, "truncated, or not a MetaGraph", _MESSAGE) from error
    if not message.graph_def.node:
        raise InputError(path, "a MetaGraph without nodes, or no MetaGraph", _MESSAGE)
    return message


def _variables(path: Path, nodes: Mapping[str, Any]) -> dict[str, str]:
    """Checkpoint keys to nodes, as the last saver in the graph pairs them."""
    savers = [node for node in nodes.values() if node.op == "SaveV2"]
    if not savers:
        raise InputError(path, "no SaveV2 node names the variables", _MESSAGE)
    _, names, _, *saved = savers[-1].input
    if names not in nodes or nodes[names].op != "Const":
        raise InputError(path, f"{savers[-1].name} has no list of names", _MESSAGE)
    keys = tf.make_ndarray(nodes[names].attr["value"].tensor)
    if len(keys) != len(saved):
        found = f"{savers[-1].name} saves {len(saved)} tensors under {len(keys)} names"
        raise InputError(path, found, _MESSAGE)
    return {key.decode(): node_of(tensor) for key, tensor in zip(keys, saved, strict=True)}


def _check_stage(path: Path, stage: str, nodes: Mapping[str, Any], keys: Iterable[str]) -> None:
    complete = [
        other for other in STAGES if all(row.metagraph_tensor in nodes for row in TAPS[other])
    ]
    if stage not in complete:
        if complete:
            raise InputError(path, f"the {complete[0]} stage's graph", f"the {stage} stage's")
        absent = next(row for row in TAPS[stage] if row.metagraph_tensor not in nodes)
        found = f"no node {absent.metagraph_tensor}"
        raise InputError(path, found, f"the {stage} stage's graph, whole")
    missing = sorted({row.key for row in WEIGHTS[stage]} - set(keys))
    if missing:
        raise InputError(path, f"no variable is saved as {missing[0]}", f"the {stage} stage's")


def read_metagraph(path: Path, stage: str) -> ExportedGraph:
    """The exported graph of ``stage``.

    Raises:
        InputError: no such file, truncated, not a MetaGraph, or another stage's.
    """
    message = _parsed(path)
    nodes = {node.name: node for node in message.graph_def.node}
    variables = _variables(path, nodes)
    _check_stage(path, stage, nodes, variables)
    return ExportedGraph(
        path=path,
        stage=stage,
        nodes=nodes,
        versions=message.graph_def.versions,
        variables={row.key: variables[row.key] for row in WEIGHTS[stage]},
        producer=message.meta_info_def.tensorflow_version or "unknown",
    )


def ancestors(graph: ExportedGraph, targets: Iterable[str], cut: Iterable[str]) -> list[str]:
    """The nodes that ``targets`` are computed from, themselves included, in the file's order.

    The search does not pass the nodes of ``cut``, which are left out.

    Raises:
        InputError: the graph refers to a node that it does not have.
    """
    cut = set(cut)
    found: set[str] = set()
    waiting = [target for target in targets if target not in cut]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        if name not in graph.nodes:
            raise InputError(graph.path, f"no node {name}", f"the {graph.stage} stage's graph")
        found.add(name)
        # Control inputs order the training's side effects; values do not depend on them.
        sources = (node_of(source) for source in _data_inputs(graph.nodes[name]))
        waiting.extend(source for source in sources if source not in cut)
    return [name for name in graph.nodes if name in found]


def _data_inputs(node: Any) -> list[str]:
    return [source for source in node.input if not source.startswith("^")]


def _widen(node: Any) -> None:
    """Turn every float32 in a node's types and constants into float64, in place."""
    narrow, wide = tf.float32.as_datatype_enum, tf.float64.as_datatype_enum
    for value in node.attr.values():
        kind = value.WhichOneof("value")
        if kind == "type" and value.type == narrow:
            value.type = wide
        elif kind == "list":
            value.list.type[:] = [wide if each == narrow else each for each in value.list.type]
        elif kind == "tensor" and value.tensor.dtype == narrow:
            array = tf.make_ndarray(value.tensor).astype("float64")
            value.tensor.CopyFrom(tf.make_tensor_proto(array))


def extracted(graph: ExportedGraph, names: Iterable[str], dtype: str) -> Any:
    """A ``GraphDef`` of the named nodes, in the precision ``dtype``.

    The nodes compute what they did; only where they ran is dropped, and indices outside a map
    give 0 on the CPU as they did on the authors' GPU.

    Raises:
        InputError: this TensorFlow's GatherNd cannot do that.
    """
    _check_gather(graph.path)
    result = tf.compat.v1.GraphDef()
    result.versions.CopyFrom(graph.versions)
    for name in names:
        node = result.node.add()
        node.CopyFrom(graph.nodes[name])
        node.device = ""
        del node.input[:]
        node.input.extend(_data_inputs(graph.nodes[name]))
        for attribute in ("_output_shapes", "_class"):
            if attribute in node.attr:
                del node.attr[attribute]
        if node.op == "GatherNd":
            node.attr["bad_indices_policy"].s = b"IGNORE"
        if dtype == "float64":
            _widen(node)
    return result


def _check_gather(path: Path) -> None:
    if "bad_indices_policy" not in signature(tf.raw_ops.GatherNd).parameters:
        found = f"TensorFlow {tf.__version__} fails at pixels outside a map"
        raise InputError(path, found, "one whose GatherNd has bad_indices_policy")


def tensor(name: str) -> "tf.Tensor":
    """A tensor of TensorFlow's current graph, by its name ``node:0``."""
    return tf.compat.v1.get_default_graph().get_tensor_by_name(name)


def extend(
    graph: ExportedGraph,
    targets: Iterable[str],
    dtype: str,
    imported: set[str],
    stand_ins: Mapping[str, "tf.Tensor"],
) -> None:
    """Import what ``targets`` are computed from into TensorFlow's current graph.

    Args:
        graph: where the nodes come from.
        targets: names of nodes.
        dtype: "float32" or "float64".
        imported: the nodes that were imported before, under their own names; grows.
        stand_ins: tensors to be read in place of the exported graph's (``node:0``), whose nodes
            are not imported.

    Raises:
        InputError: the graph refers to a node that it does not have.
    """
    known = imported | {node_of(name) for name in stand_ins}
    definition = extracted(graph, ancestors(graph, targets, cut=known), dtype)
    new = {node.name for node in definition.node}
    outside = {}
    for node in definition.node:
        for source in node.input:
            if node_of(source) not in new:
                full = source if ":" in source else f"{source}:0"
                outside[source] = stand_ins[full] if full in stand_ins else tensor(full)
    tf.compat.v1.import_graph_def(definition, input_map=outside, name="")
    imported |= new
