import numpy as np
import pytest

from inputs.sampling import draw
from inputs.template import build_template
from parity.meshes.difference import MeshDifference, mesh_difference
from parity.meshes.losses import Surface, surface_of
from weight_conversion.errors import InputError

TEMPLATE = build_template()


@pytest.fixture(scope="module")
def surface() -> Surface:
    return surface_of("a mesh", 156, TEMPLATE.faces[0], TEMPLATE, given=False)


def between(surface: Surface, move: np.ndarray) -> MeshDifference:
    mesh = np.asarray(TEMPLATE.coordinates, np.float64)
    return mesh_difference(mesh, mesh + move, surface, draw(np.random.default_rng(0)))


def test_identical_meshes(surface: Surface) -> None:
    found = between(surface, np.zeros(3))
    assert (found.greatest, found.mean, found.chamfer) == (0, 0, 0)
    assert found.f_scores == (1, 1)


def test_one_vertex_moved(surface: Surface) -> None:
    move = np.zeros((156, 3))
    move[7] = [0.003, 0, 0.004]
    found = between(surface, move)
    mesh = np.asarray(TEMPLATE.coordinates, np.float64)
    edges = np.unique(
        np.sort(TEMPLATE.faces[0][:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0
    )
    edge = np.linalg.norm(mesh[edges[:, 0]] - mesh[edges[:, 1]], axis=1).mean()
    assert found.edge == pytest.approx(edge, rel=1e-12)
    assert found.greatest == pytest.approx(0.005 / edge, rel=1e-9)
    assert found.mean == pytest.approx(0.005 / edge / 156, rel=1e-9)


@pytest.mark.parametrize(("step", "scores"), [(0.009, (1, 1)), (0.0125, (None, 1)), (9.0, (0, 0))])
def test_f_scores_count_squared_distances(
    surface: Surface, step: float, scores: tuple[float | None, ...]
) -> None:
    found = between(surface, np.array([step, 0, 0]))
    for got, expected in zip(found.f_scores, scores, strict=True):
        assert got == expected if expected is not None else 0 < got < 1
    # No point is nearer to the moved surface than the surfaces are, nor farther than the step.
    assert 0 < found.chamfer <= 1.55 * step**2


def test_shapes_that_differ_are_trouble(surface: Surface) -> None:
    mesh = np.asarray(TEMPLATE.coordinates)
    with pytest.raises(InputError, match="one shape"):
        mesh_difference(mesh, mesh[:5], surface, draw(np.random.default_rng(0)))
