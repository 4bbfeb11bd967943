"""The inputs that faults are looked for with: small, seeded, made from the demo's items.

The refine stage mixes nothing between vertices, so its probes have the vertices of the first
level alone: the first ones of a coarse mesh, which keep that level's triangles. A
probe's template has this level at all three places, so that the losses fit. Every tap then has
fewer vertices than the official shape has (and as many fewer rows in the projections), see
``Probe.shape``.

- ``plane``, ``sofa``: the items as they are.
- ``border``: the sofa 2.2 times as wide and high, so that vertices leave the image on all sides.
- ``integer``: cameras on an axis at distance 1, where projecting does not round, and vertices whose
  pixels are integers, or integers in one direction or on one level only.
- ``eye``: a vertex in the first camera's own place, whose pixel is 0/0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from inputs.demo import demo_item_path
from inputs.files import Float32
from inputs.ground_truth import GroundTruth, load_ground_truth
from inputs.hypotheses import Hypotheses, build_hypotheses
from inputs.item import Item, load_item
from inputs.sampling import Samples, samples_on, step_draws
from inputs.seeded import seeded_weights
from inputs.template import Template, build_template
from network.levels import VERTICES
from network.registry import network_of
from network.taps import TapRow
from weight_conversion.weight_set import WeightSet

PROBES = ("plane", "sofa", "border", "integer", "eye")
ZOOM = 2.2
KEPT = VERTICES[0]
"""Vertices of the refine stage's probes."""
EXACT = ((0.125, 0.25, -1.0), (0.125, 0.0625, -1.0), (0.0625, 0.0625, -1.0))
"""Vertices of ``integer``: with h = 112 − 248 y and w = 112 + 248 x, at (50, 143), (96.5, 143) and
(96.5, 127.5)."""
COARSE_GRID = 2.0**-13
"""Coarse meshes are rounded to multiples of this, 0.1 mm, so that probes do not depend on how many
threads computed them."""


@dataclass(frozen=True, eq=False)
class Probe:
    """One input of one stage, and what is asked of it.

    Attributes:
        name: of ``PROBES``.
        stage: the network's name.
        group: what is asked: "forward", "loss", "gradient" or "step".
        inputs: the ``inputs`` argument of a backend's methods.
        weights: seeded.
        cnn_only: whether a fault can reach no further than the image network's taps.
        dtype: the precision that is asked for.
    """

    name: str
    stage: str
    group: str
    inputs: Mapping[str, Any]
    weights: WeightSet
    cnn_only: bool = False
    dtype: str = "float64"

    def shape(self, row: TapRow) -> tuple[int, ...]:
        """The shape of a tap in this probe."""
        return tap_shape(row)

    def wants(self, tap: str) -> bool:
        """Whether a tap is of interest."""
        return not self.cnn_only or network_of(self.stage).row(tap).is_map


def tap_shape(row: TapRow) -> tuple[int, ...]:
    """The official shape with the probes' number of vertices."""
    if row.rows_per_vertex is None:
        return row.shape
    return (KEPT * row.rows_per_vertex, *row.shape[1:])


@cache
def probe(name: str, stage: str, group: str = "forward") -> Probe:
    """A probe by name; what it is made of is computed once.

    Raises:
        KeyError: there is no such probe.
    """
    if name not in PROBES:
        raise KeyError(name)
    item = _item(name)
    found: dict[str, Any] = {
        "images": item.images,
        "cameras": item.cameras,
        "mesh": _mesh(name, stage),
        "template": small_template(_template()) if _is_small(stage) else _template(),
        "hypotheses": _hypotheses(),
    }
    if group != "forward":
        found["ground_truth"] = _ground_truth(name)
        found["samples"] = _samples(stage)
    return Probe(name, stage, group, found, _weights(stage))


def coarse_mesh(name: str) -> Float32:
    """The coarse stage's mesh (V, 3) of a demo item under seeded weights, on ``COARSE_GRID``."""
    return _coarse_mesh(name)


def small_template(template: Template) -> Template:
    """A template whose third level is its first, for the losses of a refine probe."""
    return replace(
        template,
        faces=(template.faces[0],) * 3,
        supports=(template.supports[0],) * 3,
        laplace=(template.laplace[0],) * 3,
    )


def _mesh(name: str, stage: str) -> Float32:
    mesh = _coarse_mesh(_source(name))[:KEPT] if _is_small(stage) else _template().coordinates
    mesh = mesh.copy()
    if name == "border":
        mesh *= np.array([ZOOM, ZOOM, 1.0], np.float32)
    if name == "integer":
        mesh[: len(EXACT)] = EXACT
    if name == "eye":
        mesh[0] = 0.0
    return mesh


def _is_small(stage: str) -> bool:
    """Whether a probe of a stage has some of its vertices alone: those that no layer mixes."""
    return network_of(stage).vertexwise


def _source(name: str) -> str:
    """The demo item that a probe is made from."""
    return name if name in ("plane", "sofa") else "sofa"


@cache
def _item(name: str) -> Item:
    item = load_item(demo_item_path(_source(name)))
    if name != "integer":
        return item
    cameras = np.tile(np.array([0, 0, 0, 1, 25], np.float32), (3, 1))
    return Item("integer", item.images, cameras)


@cache
def _coarse_mesh(name: str) -> Float32:
    from torch_impl.backend import factory

    inputs = {**probe(name, "coarse").inputs}
    mesh = factory("coarse", "float32", "cpu").run(inputs, _weights("coarse").arrays, None)
    rounded: Float32 = (np.round(mesh / COARSE_GRID) * COARSE_GRID).astype(np.float32)
    return rounded


def _ground_truth(name: str) -> GroundTruth:
    item = _item(name)
    return load_ground_truth(demo_item_path(_source(name)) / "model_normal.xyz", item.cameras[0])


@cache
def _samples(stage: str) -> Samples:
    """Faces drawn by the area they have in the initial mesh, a level's vertices each."""
    template = _template()
    if _is_small(stage):
        template = small_template(template)
        meshes = [template.coordinates] * 2
    else:
        meshes = _levels(template)
    return samples_on(stage, template, meshes, step_draws(stage, 0, 0))


def _levels(template: Template) -> list[np.ndarray]:
    """The initial mesh on all three levels."""
    meshes = [template.coordinates]
    for pairs in template.unpooling:
        meshes.append(np.concatenate([meshes[-1], meshes[-1][pairs].mean(axis=1)]))
    return meshes


@cache
def _template() -> Template:
    return build_template()


@cache
def _hypotheses() -> Hypotheses:
    return build_hypotheses()


@cache
def _weights(stage: str) -> WeightSet:
    return WeightSet(stage, seeded_weights(stage), 0, "seed 0")
