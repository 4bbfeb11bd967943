"""Meshes to judge: spheres on the project's template, and the networks that make spikes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from inputs.files import Float64, Int64
from inputs.template import Template, build_template, load_template
from parity.meshes.spikes.topology import Topology, topology_of


@dataclass(frozen=True, eq=False)
class Mesh:
    vertices: Float64
    faces: Int64

    @property
    def topology(self) -> Topology:
        return topology_of(self.faces, len(self.vertices))


def ellipsoid(template: Template, level: int) -> Mesh:
    """The template's initial mesh, unpooled and left as it is."""
    vertices = template.coordinates.astype(np.float64)
    for pairs in template.unpooling[:level]:
        vertices = np.concatenate([vertices, vertices[pairs].mean(axis=1)])
    return Mesh(vertices, template.faces[level])


def sphere(template: Template, level: int = 2) -> Mesh:
    """The same, every vertex put on a sphere of radius 0.2 around (0, 0, −0.8)."""
    flat = ellipsoid(template, level)
    centred = flat.vertices - [0.0, 0.0, -0.8]
    around = 0.2 * centred / np.linalg.norm(centred, axis=1, keepdims=True)
    around[:, 2] -= 0.8
    return Mesh(around, flat.faces)


@pytest.fixture(scope="session")
def template() -> Template:
    return build_template()


@pytest.fixture(scope="session")
def official_template(official: Path) -> Template:
    return load_template(official / "template/info_ellipsoid.dat")


@pytest.fixture
def ball(template: Template) -> Mesh:
    return sphere(template)
