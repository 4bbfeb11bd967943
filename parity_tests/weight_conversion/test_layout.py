import numpy as np
import pytest

from network.layout import Layout

SHAPES = {Layout.CONV: (3, 3, 4, 4), Layout.MATRIX: (6, 6), Layout.VECTOR: (5,)}


def draw(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("layout", Layout, ids=lambda layout: layout.name)
def test_both_ways_give_the_same_bits(layout: Layout) -> None:
    array = draw(SHAPES[layout], 0).astype(np.float32)
    back = layout.to_checkpoint(layout.to_torch(array))
    assert back.tobytes() == array.tobytes()
    assert back.flags.c_contiguous
    assert layout.to_torch(array).flags.c_contiguous
    assert layout.to_torch(array).shape == layout.torch_shape(array.shape)


def test_torch_shape_of_an_oblong_kernel() -> None:
    assert Layout.CONV.torch_shape((5, 3, 16, 32)) == (32, 16, 5, 3)


def test_converted_kernel_convolves_as_the_checkpoints() -> None:
    # All sizes alike, so that no shape would betray a wrong transposition.
    torch = pytest.importorskip("torch")
    images, kernel = draw((2, 6, 6, 4), 1), draw((3, 3, 4, 4), 2)
    expected = np.zeros((2, 4, 4, 4))
    for row, column in np.ndindex(3, 3):
        window = images[:, row : row + 4, column : column + 4]
        expected += np.einsum("nhwi,io->nhwo", window, kernel[row, column])
    weight = torch.from_numpy(Layout.CONV.to_torch(kernel))
    images_first = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    found = torch.nn.functional.conv2d(images_first, weight).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_converted_matrix_multiplies_from_the_right() -> None:
    torch = pytest.importorskip("torch")
    features, matrix = draw((5, 6), 3), draw((6, 6), 4)
    expected = np.einsum("vi,io->vo", features, matrix)
    weight = torch.from_numpy(Layout.MATRIX.to_torch(matrix))
    np.testing.assert_allclose((torch.from_numpy(features) @ weight).numpy(), expected, atol=1e-12)
