"""The backends ``tf`` and ``metagraph``, as the comparison calls them."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from network.weights import STAGES, WEIGHTS
from tf_reference.coarse import coarse
from tf_reference.gradients import MESH, stage_gradients, stage_losses
from tf_reference.listening import SILENCE, Listener, Listening
from tf_reference.measured import checked_measured
from tf_reference.metagraph import Metagraph, load_metagraph
from tf_reference.parameters import network_inputs, network_weights
from tf_reference.refine import projected_maps, refine, refined
from tf_reference.runtime import device_name, tf, tf_dtype, versions
from tf_reference.tap_gradients import Watch
from tf_reference.training import Adam, AdamState, Samples, Trained, Training, steps
from weight_conversion.errors import InputError

__all__ = ["TensorFlowBackend", "factory", "metagraph_factory", "versions"]

_STAGES = {"coarse": coarse, "refine": refine}


class TensorFlowBackend:
    """The project's own TensorFlow 2 implementation of one stage.

    Args:
        stage: "coarse" or "refine".
        dtype: "float32" or "float64".
        device: "cpu" or "cuda:N".

    Raises:
        InputError: an unknown stage, precision or device.
    """

    def __init__(self, stage: str, dtype: str, device: str) -> None:
        if stage not in STAGES:
            raise InputError("stage", repr(stage), " or ".join(STAGES))
        self.stage = stage
        self._network = _STAGES[stage]
        self._dtype = tf_dtype(dtype)
        self._device = device_name(device)

    def run(
        self, inputs: Mapping[str, Any], weights: Mapping[str, Any], listen: Listener | None = None
    ) -> NDArray[Any]:
        """The stage's output mesh (V, 3), metres, camera frame of view 0.

        Args:
            inputs: as the trace file names them, and ``template``, ``hypotheses``.
            weights: by checkpoint key, in the checkpoint's layout.
            listen: told each tap as soon as it is computed; see ``listening.Listener``.

        Raises:
            InputError: inputs or weights are missing or of another shape.
        """
        taps = SILENCE if listen is None else Listening(listen)
        with tf.device(self._device):
            prepared = network_inputs(self.stage, inputs, self._dtype)
            tensors = network_weights(self.stage, weights, self._dtype)
            mesh: NDArray[Any] = self._network(prepared, tensors, taps)[-1].numpy()
        return mesh

    def by_vertices(
        self, inputs: Mapping[str, Any], weights: Mapping[str, Any], listen: Listener
    ) -> Callable[[slice, Listener], None]:
        """Run the refine stage, which mixes nothing between vertices, on some of them at a time.

        Args:
            inputs: as for ``run``.
            weights: by checkpoint key, in the checkpoint's layout.
            listen: told the taps of the images, which are computed once.

        Returns:
            To be called with some vertices, as a slice of the mesh, and whom to tell their taps.

        Raises:
            InputError: inputs or weights are missing or of another shape.
        """
        with tf.device(self._device):
            prepared = network_inputs(self.stage, inputs, self._dtype)
            tensors = network_weights(self.stage, weights, self._dtype)
            maps = projected_maps(prepared, tensors, Listening(listen))

        def some(vertices: slice, listen: Listener) -> None:
            with tf.device(self._device):
                refined(prepared.mesh[vertices], maps, prepared, tensors, Listening(listen))

        return some

    def losses(self, inputs: Mapping[str, Any], weights: Mapping[str, Any]) -> dict[str, float]:
        """Each loss term by its name in the trace, weighted as in the total.

        Args:
            inputs: as for ``run``, and ``ground_truth``, ``samples`` and ``template``.
            weights: by checkpoint key, in the checkpoint's layout.

        Raises:
            InputError: inputs or weights are missing or of another shape.
        """
        measured = checked_measured(self.stage, inputs)
        with tf.device(self._device):
            prepared = network_inputs(self.stage, inputs, self._dtype)
            tensors = network_weights(self.stage, weights, self._dtype)
            terms = stage_losses(self.stage, prepared, tensors, measured)
        return {name: float(term) for name, term in terms.items()}

    def gradients(
        self, inputs: Mapping[str, Any], weights: Mapping[str, Any], term: str = "total"
    ) -> dict[str, NDArray[Any]]:
        """The gradient of a loss term by checkpoint key, and for the input ``mesh`` (V, 3).

        Args:
            inputs: as for ``losses``.
            weights: by checkpoint key, in the checkpoint's layout.
            term: a name that ``losses`` gives.

        Raises:
            InputError: inputs or weights are missing or of another shape, or no such term.
        """
        return self.losses_and_gradients(inputs, weights, term)[1]

    def losses_and_gradients(
        self,
        inputs: Mapping[str, Any],
        weights: Mapping[str, Any],
        term: str = "total",
        watch: Watch | None = None,
    ) -> tuple[dict[str, float], dict[str, NDArray[Any]]]:
        """``losses`` and ``gradients`` of one and the same forward pass.

        ``watch`` is told the value and the gradient at every tap.

        Raises:
            InputError: see there.
        """
        measured = checked_measured(self.stage, inputs)
        with tf.device(self._device):
            prepared = network_inputs(self.stage, inputs, self._dtype)
            tensors = network_weights(self.stage, weights, self._dtype)
            found = stage_gradients(self.stage, prepared, tensors, measured, term, watch)
        gradients = {row.key: found.gradients[row.torch_key].numpy() for row in WEIGHTS[self.stage]}
        gradients[MESH] = found.gradients[MESH].numpy()
        return {name: float(value) for name, value in found.terms.items()}, gradients

    def watched_gradients(
        self, inputs: Mapping[str, Any], weights: Mapping[str, Any], watch: Watch
    ) -> tuple[dict[str, float], dict[str, NDArray[Any]]]:
        """Losses and the total's gradients; ``watch`` is told value and gradient at every tap.

        Raises:
            InputError: see ``losses``.
        """
        return self.losses_and_gradients(inputs, weights, watch=watch)

    def steps(
        self,
        inputs: Mapping[str, Any],
        weights: Mapping[str, Any],
        state: AdamState,
        n: int,
        lr: float = Adam.lr,
        samples: Samples | None = None,
        frozen: Collection[str] = (),
    ) -> Trained:
        """Take ``n`` training steps with TensorFlow 1's Adam; see ``training.steps``.

        Raises:
            InputError: inputs, weights or state are missing, of another shape or another stage's.
        """
        adam = Adam(lr=lr)
        with tf.device(self._device):
            return steps(self.stage, inputs, weights, state, n, self._dtype, adam, samples, frozen)

    def training(
        self,
        inputs: Mapping[str, Any],
        weights: Mapping[str, Any],
        lr: float = Adam.lr,
        state: AdamState | None = None,
        frozen: Collection[str] = (),
    ) -> Training:
        """Training from ``weights``, a step at a time; see ``training.Training``.

        Raises:
            InputError: inputs, weights or state are missing, of another shape or another stage's.
        """
        start = state or AdamState()
        with tf.device(self._device):
            return Training(self.stage, inputs, weights, start, self._dtype, Adam(lr), frozen)

    def prepared(
        self, inputs: Mapping[str, Any], weights: Mapping[str, Any]
    ) -> Callable[[], NDArray[Any]]:
        """The forward pass alone, for timing: everything is loaded before, nobody listens.

        Raises:
            InputError: inputs or weights are missing or of another shape.
        """
        with tf.device(self._device):
            loaded = network_inputs(self.stage, inputs, self._dtype)
            tensors = network_weights(self.stage, weights, self._dtype)

        def forward() -> NDArray[Any]:
            with tf.device(self._device):
                mesh: NDArray[Any] = self._network(loaded, tensors, SILENCE)[-1].numpy()
            return mesh

        return forward


def factory(stage: str, dtype: str, device: str) -> TensorFlowBackend:
    """The backend ``tf``."""
    return TensorFlowBackend(stage, dtype, device)


def metagraph_factory(path: str | Path) -> Callable[[str, str, str], Metagraph]:
    """The backend ``metagraph`` on the exported graph in ``path``."""

    def make(stage: str, dtype: str, device: str) -> Metagraph:
        return load_metagraph(path, stage, dtype, device)

    return make
