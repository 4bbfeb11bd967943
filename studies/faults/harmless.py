"""Variations that compute the same function, and that a judge must therefore let pass."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from network.levels import VERTICES
from network.weights import STAGES
from parity.traces.backends import Factory
from studies.faults import graphs, optimiser, other_backends, places, reasoning, variations, views
from studies.faults.injection import Injection, Mutant
from studies.faults.variations import every_convolution, every_graph_convolution
from torch_impl.projection import VARIANCE_FLOOR

BOTH = STAGES


@dataclass(frozen=True, eq=False)
class Harmless:
    """One variation.

    Attributes:
        id: its name.
        description: what is done otherwise.
        kind: settings, order of sums, memory, library, weights file, autograd or recording.
        factory: makes the candidate.
        stages: where it is tried.
        group: what the judge asks: "forward", "loss", "gradient" or "step".
        probe: see ``studies.faults.probes``.
        dtype: the precision that is run: float32, where sums in another order round otherwise.
        identical: whether every bit is the same, by what is done.
        skipped: why it cannot be tried here; empty where it can.
        small: whether it belongs to the small form that continuous integration runs.
    """

    id: str
    description: str
    kind: str
    factory: Factory
    stages: tuple[str, ...] = BOTH
    group: str = "forward"
    probe: str = "sofa"
    dtype: str = "float32"
    identical: bool = False
    skipped: Callable[[], str] = field(default=lambda: "")
    small: bool = False

    def backend(self, stage: str, dtype: str = "float32", device: str = "cpu") -> Any:
        """The candidate; the form of ``parity.traces.backends.Factory``."""
        return self.factory(stage, dtype, device)


def _injected(injection: Injection) -> Factory:
    return lambda stage, dtype, device: Mutant(injection, stage, dtype, device)


def _torch(name: str, description: str, kind: str, injection: Injection, **more: Any) -> Harmless:
    return Harmless(name, description, kind, _injected(injection), **more)


def _turned_views(x: Tensor) -> list[Tensor]:
    return views.official_statistics(x[[2, 0, 1]])


def _library_statistics(x: Tensor) -> list[Tensor]:
    """The same three by ``torch.max`` and ``torch.var``."""
    deviation = (x.var(dim=0, unbiased=False) + VARIANCE_FLOOR).sqrt()
    return [x.max(dim=0).values, x.sum(dim=0) / len(x), deviation]


_CNN = partial(_torch, kind="order of sums")
_SUMS = partial(_torch, kind="order of sums")
_SETTING = partial(_torch, kind="settings")
_MEMORY = partial(_torch, kind="memory")

SETTINGS: tuple[Harmless, ...] = (
    _SETTING("threads.1", "one thread", injection=variations.threads(1)),
    _SETTING("threads.2", "two threads", injection=variations.threads(2)),
    _SETTING("onednn.off", "torch without oneDNN", injection=variations.without_onednn()),
    _SETTING("deterministic", "torch's deterministic algorithms",
             injection=variations.setting(
                 torch.are_deterministic_algorithms_enabled,
                 torch.use_deterministic_algorithms, True)),
    _SETTING("denormals.flushed", "numbers below float32's normal range become 0",
             injection=variations.setting(lambda: False, torch.set_flush_denormal, True)),
    Harmless("vectors.none", "torch without vector instructions", "settings",
             other_backends.other_process("torch", ATEN_CPU_CAPABILITY="default")),
    Harmless("vectors.128", "oneDNN with 128-bit vectors", "settings",
             other_backends.other_process("torch", ONEDNN_MAX_CPU_ISA="SSE41")),
    Harmless("blas.compatible", "MKL's products in the form that all processors share",
             "settings", other_backends.other_process("torch", MKL_CBWR="COMPATIBLE")),
)  # fmt: skip

SUMS: tuple[Harmless, ...] = (
    _CNN("cnn.unfolded", "convolutions as products with windows",
         injection=every_convolution(variations.unfolded)),
    _CNN("cnn.permuted", "input channels in another order, kernels likewise",
         injection=every_convolution(variations.channels_permuted)),
    _CNN("cnn.split", "sums over two halves of the channels",
         injection=every_convolution(variations.channels_split)),
    _CNN("cnn.bias_last", "bias added afterwards",
         injection=every_convolution(variations.bias_afterwards)),
    _CNN("cnn.by_place", "one product a place of the window",
         injection=every_convolution(variations.window_by_window)),
    _CNN("cnn.dense_stride", "stride 2 as every second output of a dense convolution",
         injection=every_convolution(variations.strided_as_dense)),
    _CNN("cnn.views_together", "the three views as one batch",
         injection=variations.views_together()),
    _SUMS("gcn.apart", "one product a support",
          injection=every_graph_convolution(variations.matrices_apart)),
    _SUMS("gcn.supports_first", "supports applied before the weights",
          injection=every_graph_convolution(variations.supports_first)),
    _SUMS("gcn.einsum", "products by einsum",
          injection=every_graph_convolution(variations.einsum)),
    _SUMS("gcn.permuted", "channels in another order, weights likewise",
          injection=every_graph_convolution(variations.inputs_permuted), small=True),
    _SUMS("gcn.split", "sums over three parts of the channels",
          injection=every_graph_convolution(variations.products_split)),
    _SUMS("gcn.addmm", "sums that begin with the bias",
          injection=every_graph_convolution(variations.bias_first)),
    _SUMS("gcn.dense", "dense supports, the identity multiplied too",
          injection=every_graph_convolution(variations.dense_supports)),
    _SUMS("gcn.compressed", "sparse supports by compressed rows", stages=("coarse",),
          injection=every_graph_convolution(variations.compressed_supports)),
    _SUMS("gcn.shuffled", "sparse values stored in another order", stages=("coarse",),
          injection=variations.supports_shuffled()),
    _SUMS("statistics.order", "views averaged in another order",
          injection=views.statistics(_turned_views)),
    _SUMS("statistics.library", "statistics by torch.max and torch.var",
          injection=views.statistics(_library_statistics)),
    _SUMS("bilinear.apart", "corners weighed view by view and level by level",
          stages=("refine",), injection=views.interpolated(views.official_read)),
    _SUMS("coarse.cameras_swapped", "cameras 1 and 2 swapped: both read view 0's maps",
          stages=("coarse",), injection=views.cameras(lambda rows: rows[[0, 2, 1]])),
    _SUMS("softmax.logarithm", "softmax as the exponential of its logarithm",
          stages=("refine",),
          injection=reasoning.reasoning(reasoning.Reasoning(
              score=lambda logits: logits.log_softmax(dim=1).exp()), 0)),
    _SUMS("softmax.plain", "softmax without taking out the maximum", stages=("refine",),
          injection=reasoning.reasoning(reasoning.Reasoning(
              score=lambda logits: logits.exp() / logits.exp().sum(dim=1, keepdim=True)), 1)),
    _SUMS("unpooling.turned", "the ends of every edge in the other order", stages=("coarse",),
          identical=True, injection=variations.pairs_turned()),
    _SUMS("unpooling.halves", "half of one end and half of the other", stages=("coarse",),
          injection=graphs.unpooled(
              lambda x, ends: torch.cat([x, 0.5 * ends[:, 0] + 0.5 * ends[:, 1]]), VERTICES[0])),
    _SUMS("residual.halves", "half of the sum as a sum of halves", stages=("coarse",),
          injection=graphs.residuals(lambda x, last, _: 0.5 * x + 0.5 * last, 1, 6)),
)  # fmt: skip

MEMORY: tuple[Harmless, ...] = (
    _MEMORY("memory.channels_last", "channels last in memory",
            injection=every_convolution(variations.channels_last)),
    _MEMORY("memory.gaps", "convolutions read rows with gaps",
            injection=every_convolution(variations.not_contiguous)),
    _MEMORY("memory.strided_inputs", "inputs with gaps in memory", identical=True,
            injection=variations.strided_arrays()),
    _MEMORY("memory.column_major", "weights in Fortran's order", identical=True,
            injection=variations.column_major()),
    _MEMORY("memory.widened_inputs", "inputs as float64", identical=True,
            injection=variations.widened_arrays()),
    _MEMORY("memory.few_vertices", "seven vertices at a time", stages=("refine",),
            injection=variations.vertices_at_once(7)),
    _torch("autograd.on", "a forward run with gradients recorded", "autograd",
           variations.with_gradients()),
    Harmless("recording.twice", "run unheard before", "recording", variations.Twice,
             identical=True),
    Harmless("recording.parts", "taps taken from three runs", "recording", variations.Alone,
             identical=True),
)  # fmt: skip

FILES: tuple[Harmless, ...] = tuple(
    Harmless(f"file{suffix or '.checkpoint'}", description, "weights file",
             other_backends.through_file(suffix), identical=True, small=suffix == "")
    for suffix, description in (
        (".safetensors", "weights through .safetensors"),
        (".pt", "weights through .pt"),
        (".npz", "weights through .npz"),
        (".h5", "weights through .h5"),
        ("", "weights through a TensorFlow 1 checkpoint"),
    )
)  # fmt: skip

_COMPILED = (places.local(2), places.local(9))
_NEEDS_TF = other_backends.missing("tensorflow")
LIBRARIES: tuple[Harmless, ...] = (
    Harmless("tf.eager", "TensorFlow, operation by operation", "library",
             other_backends.TensorFlow, skipped=_NEEDS_TF, small=True),
    Harmless("tf.graph", "TensorFlow, as one graph", "library",
             other_backends.tensorflow_graph(), skipped=_NEEDS_TF),
    Harmless("tf.onednn_off", "TensorFlow without oneDNN", "library",
             other_backends.other_process("tf", TF_ENABLE_ONEDNN_OPTS="0"), skipped=_NEEDS_TF),
    Harmless("tf.one_thread", "TensorFlow with one thread", "library",
             other_backends.other_process("tf", TF_NUM_INTRAOP_THREADS="1",
                                     TF_NUM_INTEROP_THREADS="1"), skipped=_NEEDS_TF),
    _torch("compiled.inductor", "two graph convolutions compiled for the processor", "library",
           variations.compiled("inductor", *_COMPILED), stages=("refine",),
           skipped=other_backends.no_compiler),
    _torch("compiled.traced", "two graph convolutions traced with their gradients", "library",
           variations.compiled("aot_eager", *_COMPILED), stages=("refine",)),
)  # fmt: skip


def _trained(
    name: str, description: str, group: str, injection: Injection, stages: tuple[str, ...]
) -> Harmless:
    return _torch(name, description, "order of sums", injection, group=group, stages=stages,
                  dtype="float64")  # fmt: skip


LEARNING: tuple[Harmless, ...] = (
    _trained("losses.compare_all", "nearest neighbours without a tree", "loss",
             variations.searched_directly(), BOTH),
    _trained("losses.pairs_reversed", "edges summed from the last", "loss",
             Injection(around=(variations.reversed_pairs(),)), BOTH),
    _trained("gradients.apart", "one product a support", "gradient",
             every_graph_convolution(variations.matrices_apart), ("coarse",)),
    _trained("gradients.permuted", "channels in another order, weights likewise", "gradient",
             every_graph_convolution(variations.inputs_permuted), ("refine",)),
    _trained("steps.written_out", "Adam's update written out", "step",
             optimiser.update(optimiser.updated), ("coarse",)),
)  # fmt: skip

HARMLESS = SETTINGS + SUMS + MEMORY + FILES + LIBRARIES + LEARNING
