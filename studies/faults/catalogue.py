"""Every deviation that was read in the sources of public ports, by its name there.

Each can be put into a right implementation; together they are what a judge must find.
"""

from dataclasses import replace
from functools import partial

import torch

from network.registry import network_of
from network.weights import STAGES
from studies.faults import convolutions, data, graphs, optimiser, places, reasoning, terms, views
from studies.faults.convolutions import through
from studies.faults.fault import PIPELINE, Fault
from studies.faults.injection import Injection, constant, every_layer
from studies.faults.views import CameraModel
from torch_impl.graph import GraphConvolution
from torch_impl.losses import LossWeights

PROJECTION = {stage: places.projection(stage) for stage in STAGES}
"""The tap that every fault between vertices and features reaches first."""
IMAGE = dict.fromkeys(STAGES, places.image_layer(1))
"""The tap that every fault of the images reaches first."""
HYPOTHESES = {"refine": places.nth("refine", "hypotheses", 0)}
COARSE, REFINE = {"coarse"}, {"refine"}
FIRST_CONVOLUTION = {stage: network_of(stage).variables[0].key for stage in STAGES}
OTHER_VIEWS = (3, 11, 17)


def _only(expected: dict[str, str], stages: set[str]) -> dict[str, str]:
    return {stage: name for stage, name in expected.items() if stage in stages}


def _of_block(name: str) -> dict[str, str]:
    return {"coarse": f"losses/{name}_1"}


_fault = partial(Fault, source="catalogue", probe="sofa", shows_in=("forward",))


def _half_statistics(features: torch.Tensor) -> list[torch.Tensor]:
    """In bfloat16 where the run is in float32."""
    half = features.to(torch.bfloat16) if features.dtype == torch.float32 else features
    return [each.to(features.dtype) for each in views.official_statistics(half)]


def _coarse_loss(stage: str, given: LossWeights) -> LossWeights:
    return replace(given, edge=359.0, move=50.0) if stage == places.LAST else given


def _both(first: Injection, second: Injection) -> Injection:
    """Two injections that swap different things."""
    return replace(first, around=first.around + second.around)


CATALOGUE: tuple[Fault, ...] = (
    _fault(
        id="half_camera",
        description="points in the world pass through float16",
        part="camera",
        operand="precision",
        expected=PROJECTION,
        injection=views.camera(CameraModel(world=through(torch.float16))),
    ),
    _fault(
        id="half_image",
        description="images pass through float16",
        part="image",
        operand="precision",
        expected=IMAGE,
        injection=data.images(lambda images: images.astype("float16")),
    ),
    _fault(
        id="autocast_cnn",
        description="convolutions and statistics over views in half precision",
        part="cnn",
        operand="precision",
        expected=IMAGE,
        dtype="float32",
        injection=_both(
            convolutions.convolution(convolutions.autocast), views.statistics(_half_statistics)
        ),
    ),
    _fault(
        id="symmetric_pad",
        description="stride 2 padded by (1, 1) and (2, 2) instead of (0, 1) and (1, 2)",
        part="cnn",
        operand="padding",
        expected=dict.fromkeys(STAGES, places.image_layer(3)),
        injection=convolutions.convolution(convolutions.symmetric, 3, 6, 9, 12, 15),
        small=True,
    ),
    _fault(
        id="frozen_cnn",
        description="the image network is not trained",
        part="weights",
        operand="training",
        shows_in=("gradient", "step"),
        expected={"coarse": f"gradients/{convolutions.kernel_key('coarse', 18)}"},
        injection=optimiser.frozen(),
    ),
    _fault(
        id="rgb",
        description="red, green, blue instead of blue, green, red",
        part="image",
        operand="channel order",
        expected=IMAGE,
        injection=data.images(lambda images: images[..., ::-1]),
        small=True,
    ),
    _fault(
        id="no_gcn_bias",
        description="the biases of graph convolutions are declared and never added",
        part="gcn",
        operand="bias",
        expected={
            "coarse": places.nth("coarse", "graph_convolution", 0),
            "refine": places.local(1),
        },
        injection=every_layer(graphs.making(graphs.no_bias), GraphConvolution),
        small=True,
    ),
    _fault(
        id="no_relu",
        description="graph convolutions of the coarse stage without ReLU",
        part="gcn",
        operand="activation",
        expected={"coarse": places.nth("coarse", "graph_convolution", 0)},
        injection=every_layer(graphs.making(graphs.identity), GraphConvolution),
    ),
    _fault(
        id="block1_unregularised",
        description="in block 1 Laplace counts a fifth and move nothing",
        part="loss",
        operand="constant",
        shows_in=("loss", "gradient", "step"),
        expected=_of_block("laplace"),
        injection=terms.scaled({"laplace_1": 0.2, "move_1": 0.0}),
        small=True,
    ),
    _fault(
        id="coarse_loss_in_refine",
        description="the refine stage trained with a coarse loss: edge 359, Laplace a fifth and no "
        "move in block 1, move 50 in block 2",
        part="loss",
        operand="constant",
        shows_in=("loss", "gradient", "step"),
        expected={"refine": "losses/edge_1"},
        injection=_both(
            terms.weighted(_coarse_loss), terms.scaled({"laplace_1": 0.2, "move_1": 0.0})
        ),
    ),
    _fault(
        id="one_coarse_mesh",
        description="one coarse mesh for all items",
        part="data",
        operand="mesh",
        shows_in=("data",),
        expected={PIPELINE: "data/coarse_mesh"},
    ),
    _fault(
        id="no_shuffle",
        description="items always in the same order",
        part="data",
        operand="item order",
        shows_in=("data",),
        expected={PIPELINE: "data/order"},
    ),
    _fault(
        id="clamp_per_level",
        description="coordinates clamped at a map's last pixel after dividing, not at 223 before",
        part="projection",
        operand="border pixels",
        probe="border",
        expected=_only(PROJECTION, REFINE),
        injection=views.interpolated(views.clamped_in_its_level, unclamped=True),
        small=True,
    ),
    _fault(
        id="nan_to_num",
        description="a pixel that is 0/0 becomes pixel 0",
        part="projection",
        operand="not a number",
        probe="eye",
        expected=PROJECTION,
        injection=views.pixels_through(torch.nan_to_num),
    ),
    _fault(
        id="coupled_l2",
        description="the optimiser decays everything by 1e-5 and the losses have no decay",
        part="optimiser",
        operand="decay term",
        shows_in=("loss", "gradient", "step"),
        expected={"coarse": "losses/decay"},
        injection=_both(
            optimiser.gradients(lambda gradient, variable: gradient + 1e-5 * variable),
            terms.factors(decay_cnn=0.0, decay_graph=0.0),
        ),
    ),
    _fault(
        id="refine_lr",
        description="learning rate 1e-6, and Adam's state lost when the run is resumed",
        part="optimiser",
        operand="learning rate",
        shows_in=("step",),
        expected={"refine": f"steps/1/{FIRST_CONVOLUTION['refine']}"},
        injection=replace(optimiser.settings(learning_rate=1e-6), resumed=1),
    ),
    _fault(
        id="nchw_features",
        description="channels-first maps gathered as if their channels came last",
        part="layout",
        operand="channel order",
        expected=PROJECTION,
        injection=views.encoded(lambda maps: [views.as_if_channels_last(each) for each in maps]),
    ),
    _fault(
        id="own_view_maps",
        description="every view of the coarse stage read from its own maps",
        part="projection",
        operand="view order",
        expected=_only(PROJECTION, COARSE),
        injection=views.maps_of_each_view(),
        small=True,
    ),
    _fault(
        id="grid_sample",
        description="torch's grid_sample, border padding, aligned corners",
        part="projection",
        operand="integer pixels",
        probe="integer",
        expected=_only(PROJECTION, REFINE),
        injection=views.interpolated(views.grid_sampled),
    ),
    _fault(
        id="centre_111_5",
        description="principal point 111.5",
        part="camera",
        operand="constant",
        expected=PROJECTION,
        injection=constant("projection.CENTRE", 111.5),
    ),
    _fault(
        id="no_std",
        description="zeros in place of the deviation over views",
        part="pooling",
        operand="pooling statistic",
        expected=PROJECTION,
        injection=views.statistics(
            lambda features: [
                *views.official_statistics(features)[:2],
                torch.zeros_like(features[0]),
            ]
        ),
    ),
    _fault(
        id="linear_logits",
        description="score logits without ReLU",
        part="refine",
        operand="activation",
        expected={"refine": places.local(6)},
        injection=graphs.computed(
            graphs.identity,
            places.local(6),
            places.local(12),
        ),
    ),
    _fault(
        id="no_centre",
        description="42 hypotheses, the vertex itself missing",
        part="refine",
        operand="hypothesis order",
        expected=HYPOTHESES,
        injection=reasoning.centre_missing(),
    ),
    _fault(
        id="shared_block",
        description="the second block is the first one run again",
        part="refine",
        operand="weights of another layer",
        expected={"refine": places.local(7)},
        injection=reasoning.second_block_as_first(),
    ),
    _fault(
        id="no_inverse_camera",
        description="vertices taken for world points, cameras at distance 1",
        part="camera",
        operand="camera",
        expected=PROJECTION,
        injection=views.camera(CameraModel(inverse="none", frames=views.unit_distance)),
    ),
    _fault(
        id="no_sampling",
        description="only vertices are compared with the ground truth",
        part="loss",
        operand="samples",
        shows_in=("loss", "gradient", "step"),
        expected=_of_block("chamfer"),
        injection=terms.vertices_only(),
    ),
    _fault(
        id="no_normal_loss",
        description="the normal term is missing",
        part="loss",
        operand="missing term",
        shows_in=("loss", "gradient", "step"),
        expected=_of_block("normal"),
        injection=terms.factors(normal=0.0),
    ),
    _fault(
        id="no_laplace_refine",
        description="Laplace and move are missing in the refine stage",
        part="loss",
        operand="missing term",
        shows_in=("loss", "gradient", "step"),
        expected={"refine": "losses/laplace_1"},
        injection=terms.factors(laplace=0.0, move=0.0),
    ),
    _fault(
        id="no_cnn_decay",
        description="the image network does not decay",
        part="loss",
        operand="decay term",
        shows_in=("loss", "gradient", "step"),
        expected={"coarse": "losses/decay", "refine": "losses/decay"},
        injection=terms.factors(decay_cnn=0.0),
    ),
    _fault(
        id="wrong_levels",
        description="the refine stage reads coarser maps at the scales of the finest three",
        part="projection",
        operand="map levels",
        expected=_only(PROJECTION, REFINE),
        injection=views.other_maps((8, 11, 14), (16, 32, 64)),
    ),
    _fault(
        id="wrong_faces",
        description="the first level's triangles written with the last one's vertices",
        part="export",
        operand="faces",
        shows_in=("export",),
        expected={PIPELINE: "export/faces"},
        small=True,
    ),
    _fault(
        id="alpha_blend",
        description="images blended by alpha and resized with another filter",
        part="image",
        operand="image",
        expected=IMAGE,
        injection=data.rendered(data.alpha_blended, "sofa"),
    ),
    _fault(
        id="random_views",
        description="images and cameras of random views, the ground truth in view 0's frame",
        part="data",
        operand="view order",
        shows_in=("data",),
        expected={PIPELINE: "data/views"},
    ),
)

PIPELINES: dict[str, data.Pipeline] = {
    "one_coarse_mesh": data.Pipeline(coarse_mesh=lambda _, meshes: next(iter(meshes.values()))),
    "no_shuffle": data.Pipeline(order=lambda count, _: range(count)),
    "wrong_faces": data.Pipeline(faces=lambda template: template.faces[0]),
    "random_views": data.Pipeline(
        views=lambda step: tuple((view + 5 * step) % 24 for view in OTHER_VIEWS), truth_view=0
    ),
}
"""The pipelines of the faults that lie around the network, by the fault's name."""
