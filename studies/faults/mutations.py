"""Mutations of what has no layers: cameras, reading maps, scores, losses, gradients, Adam, data.

Each is an operator (drop, swap, sign, constant, epsilon, reduction, order, detach, precision) on
one operand of the part; every operand of the part's functions has at least one.
"""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from inputs.item import DEFAULT_VIEWS
from network.levels import VERTICES
from network.weights import STAGES
from studies.faults import (
    convolutions,
    data,
    graphs,
    optimiser,
    places,
    reasoning,
    terms,
    variations,
    views,
)
from studies.faults.catalogue import (
    FIRST_CONVOLUTION,
    HYPOTHESES,
    IMAGE,
    PROJECTION,
)
from studies.faults.fault import PIPELINE, Fault
from studies.faults.injection import Injection, constant, replacing
from studies.faults.views import CameraModel
from torch_impl import projection
from torch_impl.coarse import layer_name
from torch_impl.projection import VARIANCE_FLOOR, camera_frames

_HIGHEST, _MEAN, _DEVIATION = 0, 1, 2


def _forward(
    name: str, description: str, part: str, operand: str, expected: dict[str, str],
    injection: Injection, probe: str = "sofa", **more: object,
) -> Fault:  # fmt: skip
    rule = ".".join(name.split(".")[:2])
    return Fault(name, description, part, operand, ("forward",), probe, expected, rule, injection,
                 **more)  # type: ignore[arg-type] # fmt: skip


def _projection(*stages: str) -> dict[str, str]:
    return {stage: PROJECTION[stage] for stage in stages}


_BOTH = STAGES
_camera = partial(_forward, part="camera")
_reader = partial(_forward, part="projection")


def _statistic(place: int, function: object) -> Injection:
    """One of the three statistics replaced by ``function`` of the features."""

    def changed(features: Tensor) -> list[Tensor]:
        found = views.official_statistics(features)
        found[place] = function(features)  # type: ignore[operator]
        return found

    return views.statistics(changed)


def _turned(rows: np.ndarray) -> np.ndarray:
    """Elevation where azimuth belongs."""
    return rows[:, [1, 0, 2, 3, 4]]


def _transposed(points: Tensor, cameras: Tensor) -> Tensor:
    """Pixels with the first view's rotation undone by its transpose.

    It is not quite its inverse: the graph's π is a float32, so that "up" is off the plane of the
    camera's position by 4e-15. This was held to be harmless until the verdict found it out.
    """
    at, turn = camera_frames(cameras)
    world = points @ turn[0] + at[0]
    seen = torch.einsum("kvc,krc->kvr", world - at[:, None], turn)
    x, y, z = seen.unbind(dim=2)
    h = y / z * -projection.FOCAL + projection.CENTRE
    w = -x / z * projection.FOCAL + projection.CENTRE
    return torch.stack([h, w], dim=2).clamp(0.0, projection.LAST_PIXEL)


CAMERAS: tuple[Fault, ...] = (
    _camera("transpose.inverse", "the first view's rotation undone by its transpose",
            operand="camera", expected=_projection(*_BOTH),
            injection=replacing("projection.pixels", lambda _: _transposed)),
    _camera("sign.rows", "rows counted upwards", operand="camera",
            expected=_projection("coarse"),
            injection=views.camera(CameraModel(downwards=1.0))),
    _camera("sign.depth", "columns mirrored: depth with its sign", operand="camera",
            expected=_projection("refine"), injection=views.camera(CameraModel(depth=1.0))),
    _camera("drop.position", "every view taken from the first one's place", operand="camera",
            expected=_projection("refine"),
            injection=views.camera(CameraModel(frames=views.first_position))),
    _camera("drop.normalisation", "camera axes not of unit length", operand="camera",
            expected=_projection("coarse"),
            injection=views.camera(CameraModel(frames=views.unnormalised))),
    _camera("transpose.first_rotation", "the first view's rotation applied instead of undone",
            operand="camera", expected=_projection(*_BOTH),
            injection=views.camera(CameraModel(inverse="forward"))),
    _camera("swap.azimuth_elevation", "azimuth and elevation swapped", operand="camera",
            expected=_projection("coarse"), injection=views.cameras(_turned)),
    _camera("swap.views", "the cameras of the second and third image swapped",
            operand="view order", expected=_projection("refine"),
            injection=views.cameras(lambda rows: rows[[0, 2, 1]]), small=True),
    _camera("constant.focal", "focal length 250", operand="constant",
            expected=_projection("coarse"), injection=constant("projection.FOCAL", 250.0)),
    _camera("constant.pi", "pi in double precision where the graph has a float32", probe="sofa",
            operand="constant", expected=_projection("refine"),
            injection=constant("projection.PI", float(np.pi))),
    _camera("constant.clamp", "pixels clamped at 224", operand="constant", probe="border",
            expected=_projection(*_BOTH), injection=constant("projection.LAST_PIXEL", 224.0)),
    _camera("swap.rows_columns", "row and column swapped", operand="index order",
            expected=_projection(*_BOTH),
            injection=views.pixels_through(lambda pixel: pixel.flip(2))),
)  # fmt: skip

READING: tuple[Fault, ...] = (
    _reader("reduction.round_cells", "cells rounded to the nearest instead of down",
            operand="rounding", expected=_projection("coarse"),
            injection=views.cells_from(lambda pixel: (pixel / 4.0).round().clamp(max=55))),
    _reader("order.levels", "the coarsest map's channels first", operand="channel order",
            expected=_projection("coarse"),
            injection=views.channels_read(views.levels_backwards, "nearest_features")),
    _reader("swap.bilinear_weights", "row and column weights swapped", operand="index order",
            expected=_projection("refine"), injection=views.interpolated(views.weights_swapped)),
    _reader("drop.corner", "the fourth corner left out", operand="interpolation",
            expected=_projection("refine"), injection=views.interpolated(views.three_corners)),
    _reader("constant.ceil", "upper corner at floor + 1, also at integers", probe="integer",
            operand="integer pixels", expected=_projection("refine"),
            injection=views.interpolated(views.floor_plus_one), small=True),
    _reader("constant.border", "corners beyond the border moved onto it", probe="border",
            operand="border pixels", expected=_projection("refine"),
            injection=views.interpolated(views.last_corner_inside)),
    _reader("constant.half_pixel", "coarser maps read with aligned pixel areas",
            operand="constant", expected=_projection("refine"),
            injection=views.interpolated(views.centres_of_pixels)),
    _reader("reduction.nearest", "nearest pixel instead of four corners", operand="interpolation",
            expected=_projection("refine"), injection=views.interpolated(views.nearest_pixel)),
    _reader("reduction.unbiased", "sample deviation, divided by n − 1",
            operand="pooling statistic", expected=_projection("coarse"),
            injection=_statistic(
                _DEVIATION, lambda x: (x.var(dim=0) + VARIANCE_FLOOR).sqrt())),
    _reader("drop.root", "variance instead of deviation", operand="pooling statistic",
            expected=_projection("refine"),
            injection=_statistic(_DEVIATION, lambda x: x.var(dim=0, unbiased=False))),
    _reader("swap.maximum", "minimum instead of maximum", operand="pooling statistic",
            expected=_projection("coarse"),
            injection=_statistic(_HIGHEST, lambda x: x.amin(dim=0))),
    _reader("reduction.median", "median instead of mean", operand="pooling statistic",
            expected=_projection("refine"),
            injection=_statistic(_MEAN, lambda x: x.median(dim=0).values)),
    _reader("order.statistics", "mean before maximum", operand="channel order",
            expected=_projection("refine"),
            injection=views.statistics(
                lambda x: [views.official_statistics(x)[place] for place in (1, 0, 2)])),
    _reader("epsilon.variance", "variance floor 1e-5", operand="epsilon",
            expected=_projection("coarse"), injection=constant("projection.VARIANCE_FLOOR", 1e-5)),
    _reader("drop.epsilon", "no variance floor", operand="epsilon",
            expected=_projection("refine"), injection=constant("projection.VARIANCE_FLOOR", 0.0)),
)  # fmt: skip


def _coarse_join(
    name: str, description: str, operand: str, tap: str, injection: Injection
) -> Fault:
    return _forward(name, description, "mesh", operand, {"coarse": tap}, injection)


MESHES: tuple[Fault, ...] = (
    _coarse_join("constant.residual", "residual added and not halved", "residual",
                 places.residual_after(layer_name(0, 2)),
                 graphs.residuals(lambda x, last, _: x + last, 0, 2)),
    _coarse_join("swap.residual", "residual with the block's first output, not the last residual",
                 "residual", places.residual_after(layer_name(1, 4)),
                 graphs.residuals(lambda x, _, first: (x + first) * 0.5, 1, 4)),
    _coarse_join("drop.residual", "no residual", "residual",
                 places.residual_after(layer_name(2, 12)),
                 graphs.residuals(lambda x, *_: x, 2, 12)),
    _coarse_join("order.unpooling", "new vertices before their parents", "index order",
                 places.nth("coarse", "unpooling", 0),
                 graphs.unpooled(lambda x, ends: torch.cat([ends.mean(dim=1), x]), VERTICES[0])),
    _coarse_join("reduction.unpooling", "new vertices the sum of two ends", "reduction",
                 places.nth("coarse", "unpooling", 1),
                 graphs.unpooled(lambda x, ends: torch.cat([x, ends.sum(dim=1)]), VERTICES[1])),
    _coarse_join("drop.end", "new vertices copies of one end", "reduction",
                 places.nth("coarse", "unpooling", 0),
                 graphs.unpooled(lambda x, ends: torch.cat([x, ends[:, 0]]), VERTICES[0])),
)  # fmt: skip

_refine = partial(_forward, part="refine")
_variant = reasoning.Reasoning

SCORES: tuple[Fault, ...] = (
    _refine("order.hypotheses", "the centre last while the graph has it first",
            operand="hypothesis order", expected=HYPOTHESES,
            injection=reasoning.hypotheses(reasoning.centre_last)),
    _refine("drop.loops", "local support without its diagonal", operand="support",
            expected={"refine": places.local(1)},
            injection=reasoning.other_support(reasoning.without_loops)),
    _refine("drop.first_residual", "first residual missing", operand="residual",
            expected={"refine": places.nth("refine", "plain_sum", 0)},
            injection=reasoning.reasoning(_variant(first=lambda x, _: x), 0)),
    _refine("swap.second_residual", "second residual from the first layer", operand="residual",
            expected={"refine": places.nth("refine", "plain_sum", 3)},
            injection=reasoning.reasoning(_variant(from_first=True), 1)),
    _refine("swap.softmax_axis", "softmax over vertices", operand="reduction",
            expected={"refine": places.nth("refine", "softmax", 0)},
            injection=reasoning.reasoning(_variant(score=reasoning.over_vertices), 0)),
    _refine("drop.exponential", "weights normalised without an exponential",
            operand="reduction", expected={"refine": places.nth("refine", "softmax", 1)},
            injection=reasoning.reasoning(_variant(score=reasoning.normalised), 1)),
    _refine("reduction.best", "the best hypothesis instead of the weighted mean",
            operand="reduction", expected={"refine": places.block_end(1)},
            injection=reasoning.reasoning(_variant(used=reasoning.best_alone), 0), small=True),
)  # fmt: skip


def _loss(
    name: str, description: str, operand: str, term: str, injection: Injection,
    stages: tuple[str, ...] = ("coarse",), **more: object,
) -> Fault:  # fmt: skip
    expected = dict.fromkeys(stages, f"losses/{term}" if term else "")
    return Fault(name, description, "loss", operand, ("loss", "gradient", "step"), "sofa", expected,
                 name, injection, **more)  # type: ignore[arg-type] # fmt: skip


_norm = terms.computed

LOSSES: tuple[Fault, ...] = (
    _loss("swap.chamfer_factor", "0.55 on the other direction", "constant", "chamfer_1",
          _norm("chamfer_means", terms.chamfer_swapped)),
    _loss("drop.chamfer_square", "distances instead of their squares", "reduction", "chamfer_1",
          _norm("chamfer_means", lambda _: terms.chamfer_of_distances)),
    _loss("reduction.chamfer", "sums instead of means", "reduction", "chamfer_1",
          _norm("chamfer_means", terms.chamfer_summed), ("refine",)),
    _loss("drop.sample_root", "samples without the root of r1", "samples", "chamfer_1",
          _norm("surface_points", lambda _: terms.samples_without_root)),
    # One point of the first block gets another neighbour, as far away to the last bit: terms of
    # distances stay as they are, and what differs first is the normal of another neighbour.
    _loss("precision.expanded_distance", "nearest neighbours by |a|² + |b|² − 2ab", "precision",
          "normal_2", terms.expanded_distances(), dtype="float32"),
    _loss("drop.edge_loops", "edges of length 0 not counted", "reduction", "edge_1",
          _norm("edge_length", terms.without_loops), ("refine",)),
    _loss("drop.edge_square", "lengths instead of their squares", "reduction", "edge_1",
          _norm("edge_length", lambda _: terms.edges_unsquared)),
    _loss("order.normals", "normals of the vertices one further on", "index order", "normal_1",
          _norm("normal_slope", terms.normals_turned)),
    _loss("drop.absolute", "cosines with their sign", "reduction", "normal_1",
          _norm("normal_slope", terms.normals_signed), ("refine",)),
    _loss("epsilon.normal", "squared lengths at least 1e-4", "epsilon", "normal_1",
          constant("losses.SQUARE_FLOOR", 1e-4)),
    _loss("order.laplace_padding", "padding −1 read as the last vertex", "index order",
          "laplace_1", _norm("laplace", terms.laplace_padded_with_last), small=True),
    _loss("constant.laplace_degree", "neighbours' sum divided by eight", "constant", "laplace_1",
          _norm("laplace", terms.laplace_of_eight), ("refine",)),
    _loss("reduction.move", "mean over coordinates instead of vertices", "reduction", "move_1",
          terms.factors(move=50.0 / 3.0)),
    _loss("add.bias_decay", "the convolutions' biases decay too", "decay term", "decay",
          terms.decay(biases=True)),
    _loss("constant.decay_half", "sum of squares without the half", "decay term", "decay",
          terms.decay(halved=False), ("refine",)),
    _loss("drop.term_of_total", "a term computed and left out of the total", "missing term",
          "total", terms.total_without("normal_2"), ("refine",)),
    _loss("swap.truth_frame", "ground truth left in the world's frame", "frame", "chamfer_1",
          terms.ground_truth(data.in_the_world("sofa"))),
    _loss("drop.normal_rotation", "normals left in the object's frame", "frame", "normal_1",
          terms.ground_truth(data.unrotated_normals("sofa"))),
)  # fmt: skip


def _gradient(
    name: str, description: str, operand: str, expected: dict[str, str], injection: Injection,
    **more: object,
) -> Fault:  # fmt: skip
    keys = {stage: f"gradients/{key}" for stage, key in expected.items()}
    return Fault(name, description, "gradient", operand, ("gradient", "step"), "sofa", keys, name,
                 injection, **more)  # type: ignore[arg-type] # fmt: skip


def _first(stage: str, layer: str) -> dict[str, str]:
    return {stage: graphs.variable_key(stage, layer, "weights_0")}


def _detached_deviation(x: Tensor) -> Tensor:
    return (x.var(dim=0, unbiased=False) + VARIANCE_FLOOR).sqrt().detach()


GRADIENTS: tuple[Fault, ...] = (
    _gradient("detach.coarse_layer", "a layer's input passes no gradient on", "detach",
              _first("coarse", layer_name(2, 2)),
              graphs.computed(graphs.detached, layer_name(2, 3))),
    _gradient("detach.local_layer", "a layer's input passes no gradient on", "detach",
              _first("refine", places.local(3)),
              graphs.computed(graphs.detached, places.local(4))),
    _gradient("detach.deviation", "the deviation over views passes no gradient on", "detach",
              {"coarse": convolutions.kernel_key("coarse", 18)},
              _statistic(_DEVIATION, _detached_deviation)),
    _gradient("detach.pixels", "pixel coordinates pass no gradient on", "detach",
              _first("refine", places.local(6)), views.pixels_detached()),
    _gradient("detach.before", "a block's input constant in Laplace and move", "detach",
              _first("coarse", layer_name(1, 13)), terms.before_detached()),
    _gradient("detach.samples", "samples pass no gradient on to the vertices", "detach",
              _first("coarse", layer_name(2, 14)),
              terms.computed("surface_points", terms.samples_detached)),
    _gradient("detach.matched", "the nearest point of the mesh passes no gradient on", "detach",
              _first("coarse", layer_name(2, 14)),
              terms.computed("chamfer_means", terms.matched_detached)),
    _gradient("constant.relu_slope", "a ReLU with the gradient of the identity", "activation",
              _first("coarse", layer_name(2, 9)),
              graphs.computed(graphs.straight_through, layer_name(2, 9))),
    _gradient("constant.kernel_relu_slope", "a ReLU with the gradient of the identity",
              "activation", {"refine": convolutions.kernel_key("refine", 6)},
              convolutions.convolution(convolutions.straight_through, 6)),
)  # fmt: skip


def _step(
    name: str, description: str, operand: str, injection: Injection, number: int = 1,
    **more: object,
) -> Fault:  # fmt: skip
    expected = {"coarse": f"steps/{number}/{FIRST_CONVOLUTION['coarse']}"}
    return Fault(name, description, "optimiser", operand, ("step",), "sofa", expected, name,
                 injection, **more)  # type: ignore[arg-type] # fmt: skip


STEPS: tuple[Fault, ...] = (
    _step("epsilon.inside_root", "ε after the correction of v, as in torch's Adam", "epsilon",
          optimiser.update(lambda adam, given: optimiser.updated(adam, given, inside=True)),
          small=True),
    _step("epsilon.keras", "ε 1e-7", "epsilon", constant("training.EPSILON", 1e-7)),
    _step("drop.bias_correction", "moments not corrected for starting at zero", "bias correction",
          optimiser.update(lambda adam, given: optimiser.updated(adam, given, corrected=False))),
    _step("order.beta_powers", "powers of β one step ahead", "bias correction",
          optimiser.one_power_ahead()),
    _step("constant.beta_2", "β₂ 0.99", "constant", constant("training.BETA_2", 0.99)),
    _step("add.decoupled_decay", "decay beside the gradient, as AdamW", "decay term",
          optimiser.update(lambda adam, given: optimiser.updated(adam, given, decoupled=0.01))),
    _step("add.clipping", "gradients clipped at 1", "gradient clipping",
          optimiser.gradients(lambda gradient, _: gradient.clamp(-1.0, 1.0))),
    _step("drop.state", "Adam's state lost when the run is resumed", "optimiser state",
          Injection(resumed=1), number=2),
)  # fmt: skip

_image = partial(_forward, part="image", operand="image", expected=IMAGE)

DATA: tuple[Fault, ...] = (
    _image("constant.background", "transparent pixels black", probe="plane",
           injection=data.rendered(data.black_background, "plane")),
    _image("order.resize", "resized in floating point, not as bytes", probe="plane",
           injection=data.rendered(data.resized_in_float, "plane")),
    _image("constant.brightness", "bytes divided by 256", operand="constant",
           expected={"coarse": places.image_layer(1)},
           injection=data.images(lambda images: images * np.float32(255 / 256))),
    _image("add.normalisation", "images shifted and scaled as for ImageNet",
           expected={"refine": places.image_layer(1)},
           injection=data.images(
               data.normalised)),
    Fault("swap.truth_view", "ground truth in another view's frame", "data", "frame", ("data",),
          "sofa", {PIPELINE: "data/ground_truth"}, "swap.truth_view"),
    Fault("swap.fed_views", "views fed in another order", "data", "view order", ("data",),
          "sofa", {PIPELINE: "data/views"}, "swap.fed_views"),
    Fault("order.corners", "triangles written the other way round", "export", "faces",
          ("export",), "sofa", {PIPELINE: "export/faces"}, "order.corners"),
)  # fmt: skip

PIPELINES: dict[str, data.Pipeline] = {
    "swap.truth_view": data.Pipeline(truth_view=6),
    "swap.fed_views": data.Pipeline(
        views=lambda _: (DEFAULT_VIEWS[0], DEFAULT_VIEWS[2], DEFAULT_VIEWS[1])
    ),
    "order.corners": data.Pipeline(faces=lambda template: template.faces[-1][:, ::-1]),
}
"""The pipelines of the faults that lie around the network, by the fault's name."""

EQUIVALENT: tuple[Fault, ...] = (
    _reader("clamp.per_level", "coarse cells clamped on each level, not at pixel 223 before",
            operand="border pixels", probe="border", expected={"coarse": ""},
            injection=views.clamped_cells(),
            equivalent_because="coordinates up to 223 are the same; beyond, 223 / 4 = 55.75 "
            "falls into cell 55, the last of 56, and 55 // 2, 4, 8 = 27, 13, 6 are the last of 28, "
            "14, 7; below 0 both give 0"),
    _camera("swap.later_cameras", "the cameras of the second and third image swapped in the coarse "
            "stage", operand="view order", expected={"coarse": ""},
            injection=views.cameras(lambda rows: rows[[0, 2, 1]]),
            equivalent_because="all views read view 0's maps, and maximum, mean and deviation do "
            "not depend on the order of what they are taken over; the two sums of three numbers "
            "may round differently"),
    _loss("swap.normal_end", "the normal at the other end of an edge", "index order", "",
          _norm("normal_slope", terms.normals_of_second),
          equivalent_because="pairs come in both directions, and |n · e| does not depend on the "
          "sign of e: the same numbers are added up in another order"),
    _coarse_join("order.ends", "the two ends of every edge swapped", "index order", "",
                 variations.pairs_turned()),
)  # fmt: skip

MUTATIONS = CAMERAS + READING + MESHES + SCORES + LOSSES + GRADIENTS + STEPS + DATA + EQUIVALENT
