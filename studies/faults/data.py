"""What surrounds the network: images, ground truth, epochs, exported files; and faults in it.

The network's own backends are given arrays. How these come about, and what becomes of the result,
is the ``Pipeline``: the official one made of the project's functions, and wrong ones. ``check``
holds a pipeline against the official rules.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from inputs.cameras import IMAGE_SIZE, OBJECT_TO_WORLD
from inputs.demo import DEMO_ITEMS, demo_item_path
from inputs.files import Float32, Int64
from inputs.ground_truth import GroundTruth, load_ground_truth
from inputs.item import DEFAULT_VIEWS, RENDERING_SIZE, Item, load_item
from inputs.meshes import load_mesh, save_obj
from inputs.png import read_rgba
from inputs.template import Template
from studies.faults.injection import Injection, Inputs

Order = Callable[[int, int], Sequence[int]]
"""A number of items and an epoch's number to the order in which the epoch goes through them."""


def shuffled(count: int, epoch: int) -> Sequence[int]:
    """The official order: another one each epoch."""
    return [int(each) for each in np.random.default_rng([0, epoch]).permutation(count)]


@dataclass(frozen=True)
class Pipeline:
    """How items come to the network and meshes leave it; the official way by default.

    Attributes:
        order: see ``Order``.
        views: the views used in a step.
        truth_view: the view in whose frame the ground truth stands.
        coarse_mesh: an item's name and all coarse meshes, to the mesh that it is refined from.
        faces: the triangles that are written with a refined mesh.
    """

    order: Order = shuffled
    views: Callable[[int], tuple[int, ...]] = lambda step: DEFAULT_VIEWS  # noqa: ARG005
    truth_view: int | None = None
    coarse_mesh: Callable[[str, Mapping[str, Float32]], Float32] = lambda name, meshes: meshes[name]
    faces: Callable[[Template], Int64] = lambda template: template.faces[-1]

    def item(self, name: str, step: int = 0) -> Item:
        """What a step is fed with."""
        return load_item(demo_item_path(name), self.views(step))

    def ground_truth(self, name: str, step: int = 0) -> GroundTruth:
        """What it is compared with: in the frame of its first view."""
        folder, views = demo_item_path(name), self.views(step)
        if self.truth_view is not None:
            views = (self.truth_view, *(each for each in DEFAULT_VIEWS if each != self.truth_view))
        cameras = load_item(folder, views[:3]).cameras
        return load_ground_truth(folder / "model_normal.xyz", cameras[0])

    def export(self, path: Path, vertices: Float32, template: Template) -> None:
        """Write a refined mesh."""
        save_obj(path, vertices, self.faces(template))


def check(
    pipeline: Pipeline, meshes: Mapping[str, Float32], template: Template, folder: Path
) -> str | None:
    """The first rule that a pipeline breaks, None if it breaks none.

    The rules, in order: ``data/order`` every epoch goes through every item once, and not always in
    the same order; ``data/views`` every step is fed with views 0, 6 and 7; ``data/ground_truth``
    the ground truth stands in the frame of the first view that the step is fed with;
    ``data/coarse_mesh`` every item is refined from its own coarse mesh; ``export/vertices`` and
    ``export/faces`` the file holds the mesh, and the third level's triangles.

    Args:
        pipeline: what is checked.
        meshes: coarse meshes by item.
        template: whose faces are written.
        folder: an empty place for the file.
    """
    epochs = [list(pipeline.order(8, epoch)) for epoch in range(4)]
    if any(sorted(each) != list(range(8)) for each in epochs) or epochs.count(epochs[0]) == 4:
        return "data/order"
    official = Pipeline()
    for name in DEMO_ITEMS:
        for step in range(2):
            cameras = pipeline.item(name, step).cameras
            if not np.array_equal(cameras, official.item(name).cameras):
                return "data/views"
            path = demo_item_path(name) / "model_normal.xyz"
            expected = load_ground_truth(path, cameras[0])
            if not np.array_equal(pipeline.ground_truth(name, step).points, expected.points):
                return "data/ground_truth"
        if not np.array_equal(pipeline.coarse_mesh(name, meshes), meshes[name]):
            return "data/coarse_mesh"
    written = folder / "mesh.obj"
    vertices = meshes[DEMO_ITEMS[0]]
    pipeline.export(written, vertices, template)
    mesh = load_mesh(written)
    if not np.array_equal(mesh.vertices, vertices):
        return "export/vertices"
    if mesh.faces is None or not np.array_equal(mesh.faces, template.faces[-1]):
        return "export/faces"
    return None


def images(edit: Callable[[Float32], np.ndarray]) -> Injection:
    """An edit of the images (3, 224, 224, 3), BGR in [0, 1]."""

    def change(_: str, inputs: Inputs) -> Inputs:
        edited = np.ascontiguousarray(edit(inputs["images"].copy()), dtype=np.float32)
        return {**inputs, "images": edited}

    return Injection(inputs=change)


def rendered(rule: Callable[[np.ndarray], np.ndarray], item: str) -> Injection:
    """A demo item's images made by another rule from renderings (137, 137, 4), BGRA bytes."""

    def remade(_: Float32) -> np.ndarray:
        folder = demo_item_path(item) / "rendering"
        paths = [folder / f"{view:02d}.png" for view in DEFAULT_VIEWS]
        return np.stack([rule(read_rgba(path, RENDERING_SIZE)) for path in paths])

    return images(remade)


def alpha_blended(rendering: np.ndarray) -> np.ndarray:
    """Over white by alpha, resized with another filter."""
    alpha = rendering[..., 3:].astype(np.float32) / 255
    blended = rendering[..., :3] * alpha + 255 * (1 - alpha)
    size = (IMAGE_SIZE, IMAGE_SIZE)
    return cv2.resize(blended.astype(np.uint8), size, interpolation=cv2.INTER_CUBIC) / 255


def black_background(rendering: np.ndarray) -> np.ndarray:
    """Alpha dropped before what is transparent was made white."""
    opaque = np.where(rendering[..., 3:] == 0, np.uint8(0), rendering)
    return cv2.resize(opaque, (IMAGE_SIZE, IMAGE_SIZE))[..., :3] / 255


def resized_in_float(rendering: np.ndarray) -> np.ndarray:
    """Scaled to [0, 1] first and resized afterwards, not rounded to bytes."""
    opaque = np.where(rendering[..., 3:] == 0, np.uint8(255), rendering)
    scaled = opaque[..., :3].astype(np.float32) / 255
    return cv2.resize(scaled, (IMAGE_SIZE, IMAGE_SIZE))


def in_the_world(item: str) -> Callable[[GroundTruth], GroundTruth]:
    """Ground truth of a demo item scaled, and not moved to the first view's frame."""

    def edit(truth: GroundTruth) -> GroundTruth:
        rows = np.loadtxt(demo_item_path(item) / "model_normal.xyz")
        points = (rows[:, :3] * OBJECT_TO_WORLD).astype(np.float32)
        return replace(truth, points=points, normals=rows[:, 3:].astype(np.float32))

    return edit


def unrotated_normals(item: str) -> Callable[[GroundTruth], GroundTruth]:
    """Normals of a demo item left in the object's frame."""

    def edit(truth: GroundTruth) -> GroundTruth:
        return replace(truth, normals=in_the_world(item)(truth).normals)

    return edit


def normalised(images: Float32) -> Float32:
    """Images (…, 3) in BGR shifted and scaled as for networks trained on ImageNet."""
    mean = np.array([0.406, 0.456, 0.485], np.float32)
    deviation = np.array([0.225, 0.224, 0.229], np.float32)
    return (images - mean) / deviation
