"""Each term against its formula in NumPy, on a mesh small enough to read."""

from typing import Any

import numpy as np
import pytest

from network.weights import WEIGHTS
from tf_reference.losses import decay_parts, loss_terms, nearest, term_names
from tf_reference.measured import Measured, Surface
from tf_reference.runtime import tf

RANDOM = np.random.default_rng(11)
# A tetrahedron, both directions of each edge and the self-loops, as in the second support.
EDGES = np.array([(i, j) for i in range(4) for j in range(4)], np.int32)
FACES = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]], np.int32)
# Vertex 3 pretends to have two neighbours only: the padding must not count.
NEIGHBOURS = np.full((4, 8), 4, np.int32)
NEIGHBOURS[:3, :3] = [[1, 2, 3], [0, 2, 3], [0, 1, 3]]
NEIGHBOURS[3, :2] = [0, 1]
DEGREES = np.array([3, 3, 3, 2], np.int32)
EPSILON = 1e-12


def _surface(samples: int = 6) -> Surface:
    triangles = FACES[RANDOM.integers(0, 4, samples)]
    r1, r2 = RANDOM.random((2, samples, 1)).astype(np.float32)
    return Surface(EDGES, NEIGHBOURS, DEGREES, triangles, r1, r2)


def _measured(blocks: int) -> Measured:
    normals = RANDOM.normal(size=(9, 3)).astype(np.float32) * 3
    normals[::4] = 0
    points = RANDOM.normal(size=(9, 3)).astype(np.float32)
    return Measured(points, normals, tuple(_surface() for _ in range(blocks)))


def _weights(stage: str) -> dict[str, np.ndarray]:
    return {row.torch_key: RANDOM.normal(size=3) for row in WEIGHTS[stage]}


def _formula(before: np.ndarray, mesh: np.ndarray, measured: Measured, surface: Surface) -> Any:
    """Chamfer, edge, normal, Laplace, move, unweighted but for the chamfer's parts."""
    a, b, c = (mesh[surface.triangles[:, corner]] for corner in range(3))
    root, r2 = np.sqrt(surface.r1.astype(np.float64)), surface.r2.astype(np.float64)
    points = np.concatenate([mesh, (1 - root) * a + root * (1 - r2) * b + root * r2 * c])
    truth = measured.points.astype(np.float64)
    squared = ((truth[:, None] - points[None]) ** 2).sum(-1)
    forward, backward = squared.min(1).mean(), squared.min(0).mean()
    edges = mesh[EDGES[:, 0]] - mesh[EDGES[:, 1]]
    normals = measured.normals.astype(np.float64)[squared.argmin(0)][EDGES[:, 0]]
    unit = [v / np.sqrt(np.maximum((v**2).sum(1), EPSILON))[:, None] for v in (normals, edges)]
    normal = np.abs((unit[0] * unit[1]).sum(1)).mean()

    def laplacian(v: np.ndarray) -> np.ndarray:
        around = [v[[n for n in row if n < 4]].sum(0) for row in NEIGHBOURS]
        return v - np.array(around) / DEGREES[:, None]

    laplace = ((laplacian(before) - laplacian(mesh)) ** 2).sum(1).mean()
    move = ((before - mesh) ** 2).sum(1).mean()
    return forward, backward, (edges**2).sum(1).mean(), normal, laplace, move


def _case(stage: str) -> tuple[dict[str, float], Any, Measured, Any]:
    blocks = {"coarse": 3, "refine": 2}[stage]
    measured, weights = _measured(blocks), _weights(stage)
    meshes = [RANDOM.normal(size=(4, 3)) for _ in range(blocks + 1)]
    tensors = [tf.constant(mesh) for mesh in meshes]
    constant = {key: tf.constant(value) for key, value in weights.items()}
    terms = loss_terms(stage, tensors[:-1], tensors[1:], measured, constant)
    return {name: float(term) for name, term in terms.items()}, meshes, measured, weights


@pytest.mark.parametrize(("stage", "edge", "move"), [("coarse", 350, 50), ("refine", 500, 100)])
def test_terms_are_their_formulas(stage: str, edge: float, move: float) -> None:
    terms, meshes, measured, weights = _case(stage)
    expected = {}
    for block, surface in enumerate(measured.surfaces, start=1):
        f, b, e, n, la, m = _formula(meshes[block - 1], meshes[block], measured, surface)
        expected[f"chamfer_{block}"] = 3000 * (f + 0.55 * b)
        expected[f"edge_{block}"] = edge * e
        expected[f"normal_{block}"] = 0.5 * n
        expected[f"laplace_{block}"] = 1500 * la
        expected[f"move_{block}"] = move * m
    half = {key: (value**2).sum() / 2 for key, value in weights.items()}
    kernels = sum(v for k, v in half.items() if k.startswith("cnn.") and k.endswith(".weight"))
    graph = sum(v for k, v in half.items() if not k.startswith("cnn."))
    expected["decay"] = 0.3 * 1e-5 * kernels + (5e-6 * graph if stage == "coarse" else 0)
    expected["total"] = sum(expected.values())
    assert list(terms) == term_names(stage)
    assert terms == pytest.approx(expected, rel=3e-7)


def test_term_names() -> None:
    assert len(term_names("coarse")) == 17
    assert term_names("refine")[:6] == [
        "chamfer_1",
        "edge_1",
        "normal_1",
        "laplace_1",
        "move_1",
        "chamfer_2",
    ]
    assert term_names("refine")[-2:] == ["decay", "total"]


@pytest.mark.parametrize(("stage", "count"), [("coarse", 129), ("refine", 0)])
def test_graph_variables_that_decay(stage: str, count: int) -> None:
    weights = {row.torch_key: tf.ones(2) for row in WEIGHTS[stage]}
    cnn, graph = decay_parts(stage, weights)
    assert len(graph) == count
    assert float(cnn) == pytest.approx(18 * 0.3 * 1e-5)


@pytest.mark.parametrize("chunk", [1, 7, 1 << 19])
def test_nearest(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr("tf_reference.losses._DISTANCES_AT_ONCE", chunk)
    a, b = RANDOM.normal(size=(31, 3)), RANDOM.normal(size=(17, 3))
    squared = ((a[:, None] - b[None]) ** 2).sum(-1)
    forward, backward = nearest(tf.constant(a), tf.constant(b))
    assert forward.numpy().tolist() == squared.argmin(1).tolist()
    assert backward.numpy().tolist() == squared.argmin(0).tolist()


@pytest.mark.parametrize("chunk", [1, 8, 1 << 19])
def test_the_first_of_equally_near_points_is_taken(
    monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr("tf_reference.losses._DISTANCES_AT_ONCE", chunk)
    a = np.tile([[0.0, 0, 0], [1, 0, 0]], (5, 1))
    b = np.tile([[0.5, 0, 0], [9, 9, 9]], (4, 1))
    forward, backward = nearest(tf.constant(a), tf.constant(b))
    assert forward.numpy().tolist() == [0] * 10
    assert backward.numpy().tolist() == [0, 1] * 4


def test_float32_neighbours_far_from_the_origin() -> None:
    # |a|² + |b|² - 2ab cannot tell these apart: 1000² in float32 has steps of 0.06.
    a = np.array([[1000.0, 0, 0]], np.float32)
    b = np.array([[1000.02, 0, 0], [1000.01, 0, 0]], np.float32)
    forward, _ = nearest(tf.constant(a), tf.constant(b))
    assert forward.numpy().tolist() == [1]


def test_points_that_are_no_numbers_do_not_crash() -> None:
    a = np.array([[np.nan, 0, 0], [0, 0, 0]])
    forward, backward = nearest(tf.constant(a), tf.constant([[1.0, 0, 0]], tf.float64))
    assert forward.numpy().tolist() == [0, 0]
    assert backward.numpy()[0] in (0, 1)


def test_self_loops_and_zero_normals_have_finite_gradients() -> None:
    measured, weights = _measured(2), _weights("refine")
    constant = {key: tf.constant(value) for key, value in weights.items()}
    mesh = tf.constant(RANDOM.normal(size=(4, 3)))
    with tf.GradientTape() as tape:
        tape.watch(mesh)
        terms = loss_terms("refine", [mesh, mesh], [mesh, mesh], measured, constant)
    assert np.isfinite(tf.convert_to_tensor(tape.gradient(terms["total"], mesh)).numpy()).all()
