"""Items: both layouts, the official image rule, and every way in which a folder can be wrong."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from inputs.item import load_item, network_image
from weight_conversion.errors import InputError


def demo_layout(item: Path, folder: Path) -> Path:
    folder.mkdir()
    for number, view in ((1, 0), (2, 6), (3, 7)):
        shutil.copy(item / "rendering" / f"{view:02d}.png", folder / f"chair{number}.png")
    rows = (item / "rendering" / "rendering_metadata.txt").read_text().splitlines()
    (folder / "cameras.txt").write_text("\n".join(rows[view] for view in (0, 6, 7)))
    return folder


def test_shapes_and_types(item: Path) -> None:
    loaded = load_item(item)
    assert loaded.name == "item"
    assert loaded.images.shape == (3, 224, 224, 3)
    assert loaded.images.dtype == loaded.cameras.dtype == np.float32
    assert 0.0 <= loaded.images.min() < loaded.images.max() <= 1.0
    np.testing.assert_array_equal(loaded.cameras[:, 0], [0, 270, 315])


def test_views_are_taken_in_the_order_asked_for(item: Path) -> None:
    first, second = load_item(item, (0, 6, 7)), load_item(item, (7, 0, 6))
    np.testing.assert_array_equal(second.images, first.images[[2, 0, 1]])
    np.testing.assert_array_equal(second.cameras, first.cameras[[2, 0, 1]])


def test_both_layouts_give_the_same(item: Path, tmp_path: Path) -> None:
    one, other = load_item(item), load_item(demo_layout(item, tmp_path / "demo"))
    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.cameras, other.cameras)
    turned = load_item(tmp_path / "demo", (2, 1, 0))
    np.testing.assert_array_equal(turned.images, one.images[::-1])


class TestImageRule:
    """Against a straightforward second writing of the rule, and against what ports do instead."""

    random = np.random.default_rng(1)
    rendering = random.integers(0, 256, (137, 137, 4), dtype=np.uint8)
    rendering[..., 3] = random.choice(np.array([0, 1, 128, 255], np.uint8), (137, 137))

    def expected(self) -> np.ndarray:
        white = self.rendering.copy()
        white[white[:, :, 3] == 0] = 255
        return cv2.resize(white, (224, 224)).astype("float32")[:, :, :3] / 255.0

    def test_is_the_official_one(self) -> None:
        np.testing.assert_array_equal(network_image(self.rendering), self.expected())

    def test_leaves_its_argument_alone(self) -> None:
        before = self.rendering.copy()
        network_image(self.rendering)
        np.testing.assert_array_equal(self.rendering, before)

    @pytest.mark.parametrize(
        "variant",
        [
            lambda image: network_image(image)[..., ::-1],
            lambda image: network_image(np.maximum(image, [0, 0, 0, 1]).astype(np.uint8)),
            lambda image: network_image(image).astype(np.float16).astype(np.float32),
        ],
        ids=["rgb", "no-white", "half"],
    )
    def test_tells_deviations_apart(self, variant: Callable[[np.ndarray], np.ndarray]) -> None:
        assert not np.array_equal(variant(self.rendering), self.expected())


def remove(name: str) -> Callable[[Path], None]:
    return lambda item: (item / "rendering" / name).unlink()


def metadata(*lines: str) -> Callable[[Path], None]:
    def write(item: Path) -> None:
        (item / "rendering" / "rendering_metadata.txt").write_text("\n".join(lines))

    return write


def view_row(row: str) -> Callable[[Path], None]:
    rows = [f"{45 * view} 27.5 0 0.8 25" for view in range(8)]
    rows[6] = row
    return metadata(*rows)


def write_bytes(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda item: (item / "rendering" / name).write_bytes(content)


def folder_as_image(item: Path) -> None:
    remove("06.png")(item)
    (item / "rendering" / "06.png").mkdir()


def pipe_as_image(item: Path) -> None:
    remove("06.png")(item)
    os.mkfifo(item / "rendering" / "06.png")


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no-folder": (shutil.rmtree, "item: no such folder"),
    "no-rendering": (lambda item: shutil.rmtree(item / "rendering"), "item: is not an item"),
    "no-image": (remove("06.png"), "06.png: no such file"),
    "no-metadata": (remove("rendering_metadata.txt"), "rendering_metadata.txt: no such file"),
    "folder-as-image": (folder_as_image, "06.png: is a folder"),
    "pipe-as-image": (pipe_as_image, "06.png: is not a regular file"),
    "empty-image": (write_bytes("06.png", b""), "06.png: is empty"),
    "text-as-image": (write_bytes("06.png", b"hello"), "06.png: is not a PNG"),
    "endless-image": (write_bytes("06.png", bytes(5 << 20)), "has 5242880 bytes"),
    "empty-metadata": (metadata(""), "rendering_metadata.txt: is empty"),
    "comment-as-metadata": (metadata("# none", " "), "rendering_metadata.txt: has no rows"),
    "binary-metadata": (write_bytes("rendering_metadata.txt", b"\xff\xfe\0"), "is not text"),
    "three-rows": (metadata(*["0 27.5 0 0.8 25"] * 4), "has no view 6; expected views 0 to 3"),
    "four-values": (view_row("0 27.5 0 0.8"), "line 7: 4 values; expected five numbers"),
    "six-values": (view_row("0 27.5 0 0.8 25 1"), "line 7: 6 values"),
    "word": (view_row("0 27.5 0 far 25"), "line 7: 'far' is not a finite number"),
    "comma": (view_row("0,0 27.5 0 0.8 25"), "line 7: '0,0' is not a finite number"),
    "underscore": (view_row("1_0 27.5 0 0.8 25"), "'1_0' is not a finite number"),
    "nan": (view_row("nan 27.5 0 0.8 25"), "line 7: 'nan' is not a finite number"),
    "inf": (view_row("0 27.5 0 inf 25"), "line 7: 'inf' is not a finite number"),
    "overflow": (view_row("1e60 27.5 0 0.8 25"), "beyond float32"),
    "zero-distance": (view_row("0 27.5 0 0 25"), "the distance of view 6 is 0"),
    "negative-distance": (view_row("0 27.5 0 -1 25"), "the distance of view 6 is -1"),
    "endless-word": (view_row("9" * 100000 + "x 27.5 0 0.8 25"), "9…"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_refuses(name: str, item: Path, capfd: pytest.CaptureFixture[str]) -> None:
    spoil, message = SPOILED[name]
    spoil(item)
    with pytest.raises(InputError) as caught:
        load_item(item)
    assert message in str(caught.value)
    assert "expected" in str(caught.value)
    assert len(str(caught.value)) < 500
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "views",
    [
        (),
        (0,),
        (0, 6),
        (0, 6, 7, 1),
        (0, 6, 6),
        (0, 0, 0),
        (0, 6, -1),
        (0, 6, 1.5),
        ("0", "6", "7"),
    ],
    ids=str,
)
def test_refuses_views(views: tuple[int, ...], item: Path) -> None:
    with pytest.raises(InputError, match=r"views: .*three different view numbers"):
        load_item(item, views)


def test_refuses_views_beyond_the_last(item: Path) -> None:
    with pytest.raises(InputError, match=r"has no view 99; expected views 0 to 7"):
        load_item(item, (0, 6, 99))


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000], ids=["null", "long"])
def test_refuses_impossible_names(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected an item"):
        load_item(tmp_path / name)


def test_refuses_a_file(item: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        load_item(item / "rendering" / "00.png")


DEMO_SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no-image": (lambda demo: (demo / "chair2.png").unlink(), "*2.png: no such file"),
    "no-cameras": (lambda demo: (demo / "cameras.txt").unlink(), "cameras.txt: no such file"),
    "two-images": (
        lambda demo: shutil.copy(demo / "chair1.png", demo / "table1.png"),
        "several images end in 1.png: chair1.png, table1.png",
    ),
    "two-rows": (
        lambda demo: (demo / "cameras.txt").write_text("0 27 0 1 25\n1 27 0 1 25\n"),
        "has 2 camera rows; expected 3",
    ),
}


@pytest.mark.parametrize("name", DEMO_SPOILED)
def test_refuses_in_the_demo_layout(name: str, item: Path, tmp_path: Path) -> None:
    spoil, message = DEMO_SPOILED[name]
    demo = demo_layout(item, tmp_path / "demo")
    spoil(demo)
    with pytest.raises(InputError) as caught:
        load_item(demo)
    assert message in str(caught.value)


def test_refuses_views_that_the_demo_layout_lacks(item: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no view 3; expected views 0 to 2"):
        load_item(demo_layout(item, tmp_path / "demo"), (0, 1, 3))


@pytest.mark.parametrize(
    "name", ["shapenet_item/02691156/1a0bc9ab92c915167ae33d942430658c", "demo"]
)
def test_reads_the_official_items(name: str, official: Path) -> None:
    loaded = load_item(official / name)
    assert loaded.images.shape == (3, 224, 224, 3)
    assert (loaded.images[:, 0, 0] == 1.0).all()
    assert ((loaded.cameras[:, 3] > 0.6) & (loaded.cameras[:, 3] < 1.0)).all()
