"""TensorFlow as the judge of what is read and written without it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from network.weights import WEIGHTS
from weight_conversion.bundle import data_path, index_path, read_bundle, read_index, write_bundle
from weight_conversion.errors import InputError

DTYPES = (
    *("float16", "float32", "float64", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64", "bool", "complex64", "complex128"),
)


@pytest.fixture(scope="module")
def tf() -> Any:
    return pytest.importorskip("tensorflow", reason="TensorFlow judges these checkpoints")


def save(
    tf: Any, prefix: Path, arrays: dict[str, Any], slices: dict[str, str] | None = None
) -> None:
    """Write a checkpoint with TensorFlow's own operation."""
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(arrays),
        shape_and_slices=[(slices or {}).get(name, "") for name in arrays],
        tensors=[tf.constant(array) for array in arrays.values()],
    )


def samples() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(3)
    arrays = {name: generator.integers(0, 2, (2, 3)).astype(name) for name in DTYPES}
    arrays["scalar"] = np.array(2.5, np.float32)
    arrays["empty"] = np.zeros((0, 4), np.float32)
    arrays["edge/values:0"] = np.array([-0.0, 1e-45, np.nan, -np.inf, 3.4e38], np.float32)
    arrays["named/like/ünïcode"] = np.ones((1, 1, 1, 1, 1), np.float32)
    return arrays


def test_tensorflow_reads_what_was_written(tf: Any, tmp_path: Path) -> None:
    arrays = samples()
    write_bundle(tmp_path / "x.ckpt-50", arrays)
    reader = tf.train.load_checkpoint(str(tmp_path / "x.ckpt-50"))
    assert set(reader.get_variable_to_shape_map()) == set(arrays)
    for name, array in arrays.items():
        found = np.asarray(reader.get_tensor(name))
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert found.tobytes() == array.tobytes()


@pytest.mark.parametrize("stage", WEIGHTS)
def test_tensorflow_reads_a_whole_stage(stage: str, tf: Any, tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    arrays = {row.key: generator.standard_normal(row.shape, np.float32) for row in WEIGHTS[stage]}
    write_bundle(tmp_path / "x.ckpt-50", arrays)
    reader = tf.compat.v1.train.NewCheckpointReader(str(tmp_path / "x.ckpt-50"))
    assert reader.get_variable_to_shape_map() == {
        name: list(array.shape) for name, array in arrays.items()
    }
    unequal = [
        name for name in arrays if reader.get_tensor(name).tobytes() != arrays[name].tobytes()
    ]
    assert unequal == []


def test_what_tensorflow_wrote_is_read_and_written_alike(tf: Any, tmp_path: Path) -> None:
    arrays = dict(sorted(samples().items(), key=lambda item: item[0].encode()))
    save(tf, tmp_path / "theirs", arrays)
    found = read_bundle(read_index(tmp_path / "theirs"), arrays)
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()
    write_bundle(tmp_path / "ours", arrays)
    for path in (index_path, data_path):
        assert path(tmp_path / "ours").read_bytes() == path(tmp_path / "theirs").read_bytes()


def test_several_data_files_of_tensorflow(tf: Any, tmp_path: Path) -> None:
    parts: list[dict[str, Any]] = [{"a": np.arange(3.0)}, {"b": np.arange(4.0)}]
    for number, part in enumerate(parts):
        save(tf, tmp_path / f"part{number}", part)
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(tmp_path / f"part{number}") for number in range(2)],
        destination_prefix=str(tmp_path / "whole"),
        delete_old_dirs=False,
    )
    index = read_index(tmp_path / "whole")
    assert index.shards == 2
    found = read_bundle(index, ["a", "b"])
    assert {name: array.tolist() for name, array in found.items()} == {
        "a": [0, 1, 2],
        "b": [0, 1, 2, 3],
    }


def test_index_of_several_blocks(tf: Any, tmp_path: Path) -> None:
    arrays = {f"{'n' * 60}/{number:05d}": np.array([number], np.float32) for number in range(12000)}
    write_bundle(tmp_path / "ours", arrays)
    assert index_path(tmp_path / "ours").stat().st_size > 1 << 18
    reader = tf.train.load_checkpoint(str(tmp_path / "ours"))
    assert len(reader.get_variable_to_shape_map()) == 12000
    assert reader.get_tensor(f"{'n' * 60}/04321").tolist() == [4321]
    save(tf, tmp_path / "theirs", arrays)
    theirs = read_index(tmp_path / "theirs")
    assert theirs.entries == read_index(tmp_path / "ours").entries


def test_partitioned_variable_is_refused(tf: Any, tmp_path: Path) -> None:
    save(tf, tmp_path / "x", {"v": np.zeros(5, np.float32)}, {"v": "10 0,5"})
    with pytest.raises(InputError, match=r"x\.index: variable v: stored in slices"):
        read_index(tmp_path / "x")


def test_text_is_listed_beside_numbers(tf: Any, tmp_path: Path) -> None:
    save(tf, tmp_path / "x", {"text": ["some", "words"], "v": np.ones(2, np.float32)})
    index = read_index(tmp_path / "x")
    assert [(entry.key, entry.dtype, entry.shape) for entry in index.entries] == [
        ("text", "string", (2,)),
        ("v", "float32", (2,)),
    ]
    assert read_bundle(index, ["v"])["v"].tolist() == [1, 1]


def test_tensorflow_2_checkpoint_is_listed(tf: Any, tmp_path: Path) -> None:
    prefix = tf.train.Checkpoint(v=tf.Variable([1.0, 2.0])).write(str(tmp_path / "x"))
    entries = {entry.key: entry.dtype for entry in read_index(Path(prefix)).entries}
    assert entries == {
        "_CHECKPOINTABLE_OBJECT_GRAPH": "string",
        "v/.ATTRIBUTES/VARIABLE_VALUE": "float32",
    }
