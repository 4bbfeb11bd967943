"""The authors' exported graph, run on TensorFlow 2: the reference that everything answers to."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.taps import IMAGES, MESH, TAPS, TapRow
from network.weights import WEIGHTS
from tf_reference.exported_feeds import Fed, item_feeds, measured_feeds
from tf_reference.exported_gradients import CoarseGradients, RefineGradients
from tf_reference.exported_graph import ExportedGraph, extend, node_of, read_metagraph
from tf_reference.exported_losses import loss_tensors
from tf_reference.listening import Listener, Listening
from tf_reference.losses import term_names
from tf_reference.measured import checked_measured
from tf_reference.parameters import checked_arrays, checked_weights
from tf_reference.runtime import device_name, tf, tf_dtype
from tf_reference.tap_gradients import Watch
from weight_conversion.errors import InputError

# Fetching taps in groups of this size bounds the memory; a group holds one tap at least.
_GROUP_BYTES = 256 << 20


def _groups(stage: str, itemsize: int) -> list[list[TapRow]]:
    """The taps in their order, in groups that are fetched together."""
    groups: list[list[TapRow]] = [[]]
    room = _GROUP_BYTES
    for row in TAPS[stage]:
        size = itemsize * int(np.prod(row.shape))
        if groups[-1] and size > room:
            groups.append([])
            room = _GROUP_BYTES
        groups[-1].append(row)
        room -= size
    return groups


class Metagraph:
    """An exported graph, ready to run.

    Weights are held as variables in the graph's session: a run with the weights that are loaded
    already does not feed them again.

    Args:
        graph: the exported graph.
        dtype: "float32", or "float64" for the graph with all types and constants widened.
        device: "cpu" or "cuda:N".

    Attributes:
        stage: "coarse" or "refine".
        producer: the version of TensorFlow that exported the graph.

    Raises:
        InputError: this TensorFlow cannot import the graph.
    """

    def __init__(self, graph: ExportedGraph, dtype: str, device: str) -> None:
        self.stage = graph.stage
        self.producer = graph.producer
        self._rows = TAPS[graph.stage]
        self._tensors = {row.name: f"{row.metagraph_tensor}:0" for row in self._rows}
        self._tensors |= {IMAGES: "img_inp:0", MESH: "features:0"}
        self._graph, self._dtype, self._device = graph, dtype, device_name(device)
        self._real: type[np.floating[Any]] = tf_dtype(dtype).as_numpy_dtype
        self._imported: set[str] = set()
        self._held: dict[str, Any] = {}
        self._assign: list[Any] = []
        self._values: dict[str, Any] = {}
        self._terms: dict[str, Any] = {}
        self._gradients: dict[tuple[str, bool], CoarseGradients | RefineGradients] = {}
        self._loaded: dict[str, NDArray[Any]] | None = None
        try:
            self._session = self._import(graph, dtype, self._device)
        except (ValueError, TypeError, tf.errors.OpError) as error:
            # Shapes or operations that contradict each other: a damaged or foreign file.
            reason = str(error).strip().partition("\n")[0]
            raise InputError(graph.path, f"cannot be imported ({reason})", "it whole") from error

    def _import(self, graph: ExportedGraph, dtype: str, device: str) -> Any:
        """A session on the inference part of the graph, its variables still empty."""
        shapes = {row.key: row.shape for row in WEIGHTS[graph.stage]}
        with tf.Graph().as_default() as self._tf_graph, tf.device(device):
            for key, node in graph.variables.items():
                # Named apart: an unnamed placeholder would take the name of one of the graph's.
                scope, shape = f"held/{len(self._held)}", shapes[key]
                value = tf.compat.v1.placeholder(tf_dtype(dtype), shape, name=f"{scope}/value")
                variable = tf.Variable(tf.zeros(shape, tf_dtype(dtype)), name=scope)
                self._assign.append(variable.assign(value).op)
                self._values[key] = value
                self._held[node] = variable.value()
            held = {f"{node}:0": value for node, value in self._held.items()}
            targets = [row.metagraph_tensor for row in self._rows]
            extend(graph, targets, dtype, self._imported, held)
        self._inference = frozenset(self._imported)
        return tf.compat.v1.Session(graph=self._tf_graph, config=_session_settings())

    def load(self, weights: Mapping[str, Any]) -> None:
        """Put weights (by checkpoint key, checkpoint layout) into the graph's variables.

        Raises:
            InputError: variables are missing, another stage's, or of another shape.
        """
        arrays = checked_weights(self.stage, weights, self._real)
        same = self._loaded is not None and all(
            np.array_equal(self._loaded[key], array) for key, array in arrays.items()
        )
        if not same:
            values = {self._values[key]: array for key, array in arrays.items()}
            self._session.run(self._assign, values)
            self._loaded = {key: array.copy() for key, array in arrays.items()}

    def _feeds(self, inputs: Mapping[str, Any]) -> Fed:
        fed = item_feeds(checked_arrays(self.stage, inputs), self._real)
        missing = sorted(self._placeholders() - set(fed))
        if missing:
            raise InputError(
                self._graph.path, f"reads {', '.join(missing)}", "a graph that does not"
            )
        return fed

    def _placeholders(self) -> set[str]:
        """The tensors that have to be fed for the taps."""
        nodes = self._graph.nodes
        return {f"{name}:0" for name in self._inference if nodes[name].op == "Placeholder"}

    def forward(self, inputs: Mapping[str, Any]) -> NDArray[Any]:
        """The stage's output mesh (V, 3), with the weights loaded last and nothing else fetched.

        Raises:
            InputError: inputs are missing or of another shape, or no weights are loaded.
        """
        if self._loaded is None:
            raise InputError(self._graph.path, "no weights are loaded", "load() before forward()")
        last = self._tensors[self._rows[-1].name]
        mesh: NDArray[Any] = self._session.run(last, self._feeds(inputs))
        return mesh

    def run(
        self, inputs: Mapping[str, Any], weights: Mapping[str, Any], listen: Listener | None = None
    ) -> NDArray[Any]:
        """The stage's output mesh (V, 3), metres, camera frame of view 0.

        Taps are fetched in groups, each group from the taps before it, which are fed. The same
        operations see the same numbers as in one run of the whole graph.

        Args:
            inputs: as the trace file names them, and ``template``, ``hypotheses``.
            weights: by checkpoint key, in the checkpoint's layout.
            listen: told each tap as soon as its group is computed.

        Raises:
            InputError: inputs or weights are missing or of another shape.
        """
        self.load(weights)
        listening = Listening(listen)
        if not any(listening.wanted(row.name) for row in self._rows):
            return self.forward(inputs)
        fed = self._feeds(inputs)
        groups = _groups(self.stage, np.dtype(self._real).itemsize)
        known: Fed = {}
        for number, group in enumerate(groups):
            rest = [row for rows in groups[number + 1 :] for row in rows]
            later = {parent for row in rest for parent in row.parents} or {self._rows[-1].name}
            known = self._step(group, later, fed, known, listening)
        return known[self._rows[-1].name]

    def _step(
        self, group: list[TapRow], later: set[str], fed: Fed, known: Fed, listening: Listening
    ) -> Fed:
        """Compute one group of taps and tell the listener.

        Args:
            group: the taps.
            later: taps that are read after this group.
            fed: the item's feeds.
            known: the taps that this group is computed from.
            listening: who is told.

        Returns:
            The taps known after this group that are read later, by name.
        """
        names = [row.name for row in group if row.name in later or listening.wanted(row.name)]
        boundary = {self._tensors[name]: array for name, array in known.items()}
        taps = self._session.run({name: self._tensors[name] for name in names}, fed | boundary)
        kept = {name: array for name, array in known.items() if name in later}
        for row in group:
            if row.name in taps:
                array = taps.pop(row.name)
                # The next group is fed with it: nobody may change it.
                array.setflags(write=False)
                listening.array(row.name, array)
                if row.name in later:
                    kept[row.name] = array
        return kept

    def losses(self, inputs: Mapping[str, Any], weights: Mapping[str, Any]) -> dict[str, float]:
        """Each loss term of the graph by its name in the trace.

        Args:
            inputs: as for ``run``, and ``ground_truth``, ``samples`` and ``template``.
            weights: by checkpoint key, in the checkpoint's layout.

        Raises:
            InputError: inputs or weights are missing or of another shape.
        """
        fed = self._loss_feeds(inputs, weights)
        wanted = {name: self._terms[name] for name in self._names(inputs)}
        found = self._session.run(wanted, fed)
        return {name: float(value) for name, value in found.items()}

    def gradients(
        self, inputs: Mapping[str, Any], weights: Mapping[str, Any], term: str = "total"
    ) -> dict[str, NDArray[Any]]:
        """The gradient of a loss term by checkpoint key, and for the input ``mesh`` (V, 3).

        TensorFlow differentiates the graph's own operations.

        Raises:
            InputError: inputs or weights are missing or of another shape, or no such term.
        """
        return self._derived(inputs, weights, term, None)

    def watched_gradients(
        self, inputs: Mapping[str, Any], weights: Mapping[str, Any], watch: Watch
    ) -> tuple[dict[str, float], dict[str, NDArray[Any]]]:
        """Losses and the total's gradients; ``watch`` is told value and gradient at every tap.

        Raises:
            InputError: inputs or weights are missing or of another shape.
        """
        gradients = self._derived(inputs, weights, "total", watch)
        return self.losses(inputs, weights), gradients

    def _derived(
        self, inputs: Mapping[str, Any], weights: Mapping[str, Any], term: str, watch: Watch | None
    ) -> dict[str, NDArray[Any]]:
        fed = self._loss_feeds(inputs, weights)
        names = self._names(inputs)
        if term not in names:
            raise InputError("term", repr(term), f"one of {', '.join(names)}")
        key = term, watch is not None
        if key not in self._gradients:
            kind: Callable[..., CoarseGradients | RefineGradients]
            kind = CoarseGradients if self.stage == "coarse" else RefineGradients
            taps = {row.name: self._tensors[row.name] for row in self._rows} if watch else None
            with self._tf_graph.as_default(), tf.device(self._device):
                self._gradients[key] = kind(self._graph, self._terms[term], self._held, taps)
        return self._gradients[key].run(self._session.run, fed, watch)

    def _names(self, inputs: Mapping[str, Any]) -> list[str]:
        """The terms that the ground truth lets be computed."""
        return term_names(self.stage, inputs["ground_truth"].normals is not None)

    def _loss_feeds(self, inputs: Mapping[str, Any], weights: Mapping[str, Any]) -> Fed:
        """Load the weights, import the losses if need be, and tell what they read."""
        self.load(weights)
        measured = checked_measured(self.stage, inputs)
        fed = self._feeds(inputs)
        fed |= measured_feeds(self.stage, measured, inputs["template"], self._real)
        if not self._terms:
            with self._tf_graph.as_default(), tf.device(self._device):
                self._terms = loss_tensors(self._graph, self._dtype, self._imported, self._held)
        names = {operation.name for operation in self._tf_graph.get_operations()}
        return {name: value for name, value in fed.items() if node_of(name) in names}

    def close(self) -> None:
        """Release the session's memory."""
        self._session.close()


def _session_settings() -> Any:
    """The threads set for TensorFlow as a whole, and the graph run as it is written.

    TensorFlow's graph optimiser turns x / 180 into x * (1 / 180), which rounds the cameras
    differently and sends some dozens of hypotheses to other pixels. It would also see another
    graph whenever other taps are fetched. It gains no time here.
    """
    threading = tf.config.threading
    settings = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=threading.get_intra_op_parallelism_threads(),
        inter_op_parallelism_threads=threading.get_inter_op_parallelism_threads(),
        allow_soft_placement=True,
        gpu_options=tf.compat.v1.GPUOptions(allow_growth=True),
    )
    settings.graph_options.rewrite_options.disable_meta_optimizer = True
    return settings


def load_metagraph(
    path: str | Path, stage: str, dtype: str = "float32", device: str = "cpu"
) -> Metagraph:
    """The exported graph in ``path``, ready to run any number of items.

    Raises:
        InputError: no such file, truncated, not a MetaGraph, or another stage's; an unknown
            precision or device.
    """
    tf_dtype(dtype)
    device_name(device)
    return Metagraph(read_metagraph(Path(path), stage), dtype, device)
