import numpy as np
import pytest
import torch

from torch_impl.nearest import Targets, squared_distance

PRECISIONS = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def all_with_all(queries: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Lowest index of the smallest distance, in the arrays' precision."""
    differences = queries[:, None] - targets
    squares = differences * differences
    distances = (squares[..., 0] + squares[..., 1]) + squares[..., 2]
    return distances.argmin(axis=1)


def grid(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Targets on a lattice, queries half way between them: up to eight equally near."""
    return random.integers(0, 9, (400, 3)) / 8, random.integers(0, 17, (300, 3)) / 16


def duplicates(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    points = random.standard_normal((200, 3))
    return points[random.integers(0, 200, 500)], random.standard_normal((300, 3))


def far(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Far from the origin, so that float32 has few values between the points."""
    return 100 + 1e-3 * random.random((500, 3)), 100 + 1e-3 * random.random((300, 3))


CLOUDS = {
    "cloud": lambda random: (random.standard_normal((700, 3)), random.standard_normal((600, 3))),
    "grid": grid,
    "duplicates": duplicates,
    "far": far,
    "a point": lambda random: (np.ones((300, 3)), random.standard_normal((50, 3))),
    "one target": lambda random: (np.ones((1, 3)), random.standard_normal((50, 3))),
    "underflow": lambda random: tuple(1e-22 * random.standard_normal((2, 200, 3))),
    "overflow": lambda random: tuple(1e19 * random.standard_normal((2, 200, 3))),
    "itself": lambda random: (random.standard_normal((300, 3)),) * 2,
}


@PRECISIONS
@pytest.mark.parametrize("cloud", CLOUDS.values(), ids=CLOUDS.keys())
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_the_lowest_index_of_the_smallest_distance_is_found(cloud, dtype):
    precision = str(dtype).removeprefix("torch.")
    targets, queries = (part.astype(precision) for part in cloud(np.random.default_rng(0)))
    found = Targets(torch.from_numpy(targets)).nearest(torch.from_numpy(queries))
    np.testing.assert_array_equal(found.numpy(), all_with_all(queries, targets))


def test_the_clouds_tell_the_expanded_square_apart():
    targets, queries = (part.astype(np.float32) for part in far(np.random.default_rng(0)))
    index = all_with_all(queries, targets)
    expanded = (queries**2).sum(1)[:, None] + (targets**2).sum(1) - 2 * queries @ targets.T
    assert (expanded.argmin(axis=1) != index).mean() > 0.5


def test_of_ties_the_first_is_taken():
    targets = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [5, 0, 0]])
    queries = torch.tensor([[0.0, 0, 0], [0.1, 0, 0], [3, 0, 0], [5, 1, 1]])
    assert Targets(targets).nearest(queries).tolist() == [0, 0, 0, 2]


@pytest.mark.parametrize("tree", [True, False], ids=["tree", "all with all"])
def test_points_that_are_no_numbers(tree):
    targets = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    queries = targets[5:9].clone()
    queries[1, 2] = torch.nan
    if not tree:
        targets[0] = torch.nan
    assert Targets(targets).nearest(queries).tolist() == [5, 0, 7, 8]


def test_no_gradient_flows_through_a_search():
    points = torch.randn(20, 3, requires_grad=True)
    assert not Targets(points).nearest(points).requires_grad


@PRECISIONS
def test_squared_distances_are_summed_in_order(dtype):
    a, b = torch.randn(2, 500, 3, dtype=dtype, generator=torch.Generator().manual_seed(0))
    x, y, z = ((a - b) ** 2).numpy().T
    np.testing.assert_array_equal(squared_distance(a, b).numpy(), (x + y) + z)
