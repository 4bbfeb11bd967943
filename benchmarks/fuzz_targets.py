"""What ``benchmarks.fuzzing`` feeds to each reader: a small corpus of sound files, made by code.

A target is a reader and the files that it is given. Where a format has checksums, arbitrary bytes
are all refused at the first of them; a second target then packs its bytes behind right checksums
(``bundle entries``, ``npz member``, ``pt pickle``, ``png chunks``), so that what is behind them
is read.
"""

import io
import json
import pickle
import struct
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks.damage import SAMPLES
from inputs.demo import demo_item_path
from inputs.ground_truth import load_ground_truth
from inputs.hypotheses import load_hypotheses
from inputs.item import load_item, read_cameras
from inputs.meshes import load_mesh
from inputs.pickles import load_pickle
from inputs.png import read_rgba
from inputs.sampling import COUNT, load_samples
from inputs.template import load_template
from parity.traces.layout import READ_GROUPS
from parity.traces.port_map import read_maps
from parity.traces.probe import probe
from parity.traces.trace import open_trace
from parity.training.overfit import Overfit, read_state
from parity.training.trainers import TrainerSettings
from parity.verdict.result import REPORT_SCHEMA
from reports.tables.runs import read_run, runs_json
from reports.text.runs_text import csv_text, markdown_text, page_text
from weight_conversion.bundle import data_path, index_path
from weight_conversion.errors import InputError
from weight_conversion.formats import load_weights
from weight_conversion.inspect import inspect_weights
from weight_conversion.protos import EntryProto, encode_entry, encode_header
from weight_conversion.sstable import write_table

_ITEM = demo_item_path("plane")
_CAMERA = (0.0, 30.0, 0.0, 0.8, 25.0)
_RUN = Overfit("coarse", "torch", TrainerSettings(1e-5, 0, False, None), "a" * 64, "b" * 64)


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes:
        name: for people, and for ``--target``.
        corpus: sound files of a few kilobytes, as the bytes that ``place`` takes.
        place: writes the bytes into a folder, and what belongs beside them; gives the path to read.
        read: reads the path, to the last number.
        guard: what the program calls first, where a library may crash or hang.
    """

    name: str
    corpus: Callable[[], Iterator[bytes]]
    place: Callable[[Path, bytes], Path]
    read: Callable[[Path], object]
    guard: Callable[[Path], None] | None = None


def _as_file(name: str, folder: Path, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


# Weights.


def _read_weights(path: Path) -> None:
    inspection = inspect_weights(path)
    inspection.to_json()
    load_weights(path)


def _arrays() -> dict[str, np.ndarray]:
    return {"a/W:0": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, np.float32)}


def _ours(name: str) -> bytes:
    """A file as this project writes it, of one path."""
    sample = next(sample for sample in SAMPLES if sample.name == name)
    with tempfile.TemporaryDirectory() as folder:
        sample.write(Path(folder, "x"))
        return Path(folder, "x").read_bytes()


def _safetensors() -> Iterator[bytes]:
    from safetensors.numpy import save

    yield _ours("safetensors")
    yield save(_arrays())
    yield save({"half": np.ones((2, 2), np.float16), "empty": np.ones((0, 3), np.float32)})


def _hdf5() -> Iterator[bytes]:
    yield _ours("HDF5")
    for settings in ({}, {"chunks": True, "compression": "gzip", "fletcher32": True}):
        stream = io.BytesIO()
        with h5py.File(stream, "w") as file:
            for name, array in _arrays().items():
                file.create_dataset(name, data=array, **settings)
            file.attrs["stage"], file.attrs["step"] = "coarse", 3
        yield stream.getvalue()


def _pytorch() -> Iterator[bytes]:
    import torch

    yield _ours("PyTorch")
    state = {name: torch.from_numpy(array) for name, array in _arrays().items()}
    for value, zipped in ((state, False), ({"state_dict": state, "epoch": 3}, True)):
        stream = io.BytesIO()
        torch.save(value, stream, _use_new_zipfile_serialization=zipped)
        yield stream.getvalue()


def _pytorch_pickles() -> Iterator[bytes]:
    for content in _pytorch():
        if content.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                yield archive.read(next(n for n in archive.namelist() if n.endswith("data.pkl")))


def _around_pickle(folder: Path, content: bytes) -> Path:
    """A PyTorch file with this pickle, whose storages are there."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        members = {"data.pkl": content, "version": b"3\n", "byteorder": b"little"}
        members |= {f"data/{number}": bytes(64) for number in range(3)}
        for name, data in members.items():
            archive.writestr(f"archive/{name}", data)
    return _as_file("x.pt", folder, stream.getvalue())


def _npz() -> Iterator[bytes]:
    yield _ours("NumPy")
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        save(stream, allow_pickle=False, **_arrays())
        yield stream.getvalue()


def _npy() -> Iterator[bytes]:
    for array in (np.arange(6.0).reshape(2, 3), np.ones((2, 3), ">f4"), np.asfortranarray(
        np.ones((4, 3), np.float32))):  # fmt: skip
        for version in ((1, 0), (2, 0)):
            stream = io.BytesIO()
            np.lib.format.write_array(stream, array, version, allow_pickle=False)
            yield stream.getvalue()


def _around_member(folder: Path, content: bytes) -> Path:
    """An archive with this member."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("b.npy", content)
    return _as_file("x.npz", folder, stream.getvalue())


def _onnx() -> Iterator[bytes]:
    from onnx import helper, numpy_helper

    yield _ours("ONNX")
    tensors = [numpy_helper.from_array(array, name) for name, array in _arrays().items()]
    tensors.append(helper.make_tensor("c", 1, [2], [1.0, 2.0]))
    model = helper.make_model(helper.make_graph([], "g", [], [], tensors))
    yield model.SerializeToString()


def _bundle_data() -> bytes:
    return b"".join(array.tobytes() for array in _arrays().values())


def _bundle_indexes() -> Iterator[bytes]:
    sample = next(sample for sample in SAMPLES if sample.name == "TensorFlow 1 checkpoint")
    with tempfile.TemporaryDirectory() as folder:
        sample.write(Path(folder, "x"))
        yield index_path(Path(folder, "x")).read_bytes()
    yield write_table([(b"", encode_header()), *_entries()])


def _entries() -> list[tuple[bytes, bytes]]:
    offset, entries = 0, []
    for name, array in sorted(_arrays().items()):
        proto = EntryProto("float32", array.shape, 0, offset, array.nbytes, 0)
        entries.append((name.encode(), encode_entry(proto)))
        offset += array.nbytes
    return entries


def _beside_data(folder: Path, content: bytes) -> Path:
    data_path(folder / "x").write_bytes(_bundle_data())
    index_path(folder / "x").write_bytes(content)
    return folder / "x"


def _around_entries(folder: Path, content: bytes) -> Path:
    """A checkpoint whose index has these bytes for its header and its entries, split by NUL-FF."""
    header, *values = content.split(b"\0\xff")
    entries = [(f"v{number}".encode(), value) for number, value in enumerate(values[:9])]
    return _beside_data(folder, write_table([(b"", header), *entries]))


def _entry_texts() -> Iterator[bytes]:
    yield b"\0\xff".join([encode_header(), *(value for _, value in _entries())])


def _states() -> Iterator[bytes]:
    yield b'model_checkpoint_path: "x"\nall_model_checkpoint_paths: "x"\n'
    yield b'model_checkpoint_path: "/a/b\\"c/x"\n'


def _beside_checkpoint(folder: Path, content: bytes) -> Path:
    _beside_data(folder, next(_bundle_indexes()))
    return _as_file("checkpoint", folder, content)


# Traces, training states and reports.


def _read_trace(path: Path) -> None:
    with open_trace(path) as trace:
        for group in READ_GROUPS:
            for name in trace.names(group):
                trace.significand(group, name)
                for _ in trace.slabs(group, name, 1 << 20):
                    pass


def _traces() -> Iterator[bytes]:
    yield _ours("trace")


def _training_states() -> Iterator[bytes]:
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        arrays: dict[str, Any] = {"run": np.array(_RUN.to_json()), "step": np.array(3)}
        arrays["beta_powers"] = np.array([0.9, 0.99])
        arrays |= {f"{part}|v": np.ones(3, np.float32) for part in ("weights", "first", "second")}
        save(stream, **arrays)
        yield stream.getvalue()


def report_json(**changes: object) -> bytes:
    """A small ``report.json``."""
    side = {"backend": "tf", "dtype": "float32", "device": "cpu", "versions": {"numpy": "2"}}
    entry = {"tap": "a", "status": "agree", "shape": [2, 3], "max_abs": 1e-7, "rms_rel": "NaN"}
    value = {
        "schema": REPORT_SCHEMA, "stage": "coarse", "verdict": "agree", "basis": "float64",
        "first_divergence": None, "taps": [entry, {**entry, "tap": "b", "max_abs": None}],
        "losses": [], "gradients": [], "steps": [], "reference": side, "candidate": side,
    }  # fmt: skip
    return json.dumps({**value, **changes}).encode()


def _reports() -> Iterator[bytes]:
    yield report_json()
    entry = {"tap": "a", "status": "differ", "max_abs": "inf", "part": "coarse"}
    part = {"label": "coarse", "stage": "coarse", "verdict": "differ", "first_divergence": "a",
            "report": "report.json"}  # fmt: skip
    yield report_json(verdict="differ", parts=[part], taps=[entry])


def _read_report(path: Path) -> None:
    sound = path.with_name("sound.json")
    sound.write_bytes(report_json())
    runs = [read_run(sound, "sound"), read_run(path, "found")]
    json.dumps(runs_json(runs), allow_nan=False)
    for text in (csv_text(runs), markdown_text(runs), page_text(runs, commands=[])):
        text.encode("utf-8", "backslashreplace")


# Inputs.


def _pickles() -> Iterator[bytes]:
    table = np.arange(12.0, dtype=np.float32).reshape(2, 6)
    for protocol in range(6):
        yield pickle.dumps(table, protocol)
    for protocol in (0, 2, 4):
        yield pickle.dumps({"sample_coord": table[:, :3], "a": [1, (2.5, "x", None)]}, protocol)
    sparse = (np.zeros((1, 2), np.int64), np.ones(1, np.float32), (156, 156))
    yield pickle.dumps((table[:, :3], [sparse, sparse], [], [], [], 5, 6, []), 2)


def _read_all(path: Path, *readers: Callable[[Path], object]) -> None:
    """Have a file read by all of them; raises what the first that refuses it says."""
    failures = []
    for read in readers:
        try:
            read(path)
        except InputError as error:
            failures.append(error)
    if failures:
        raise failures[0]


def _read_pickle(path: Path) -> None:
    truth = partial(load_ground_truth, camera_row=_CAMERA)
    _read_all(path, load_pickle, load_template, load_hypotheses, truth)


def _pictures() -> Iterator[bytes]:
    yield (_ITEM / "rendering" / "02.png").read_bytes()
    yield from _chunked_pictures()


def _chunked_pictures() -> Iterator[bytes]:
    rows = bytes(5 * (1 + 4 * 5))
    passes = bytes(sum(h * (1 + 4 * w) for w, h in ((1, 1), (1, 1), (2, 1), (1, 2), (3, 1), (2, 3),
                                                   (5, 2))))  # fmt: skip
    for interlace, scanlines in ((0, rows), (1, passes)):
        header = struct.pack(">IIBBBBB", 5, 5, 8, 6, 0, 0, interlace)
        chunks = ((b"IHDR", header), (b"tEXt", b"a\0b"), (b"IDAT", zlib.compress(scanlines)),
                  (b"IEND", b""))  # fmt: skip
        yield b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in chunks
        )


def _repaired_chunks(folder: Path, content: bytes) -> Path:
    """A picture whose chunks have right checksums, whatever is in them."""
    repaired, position = bytearray(content), 8
    while position + 12 <= len(repaired):
        end = position + 8 + int.from_bytes(repaired[position : position + 4], "big")
        if end + 4 > len(repaired):
            break
        repaired[end : end + 4] = zlib.crc32(repaired[position + 4 : end]).to_bytes(4, "big")
        position = end + 4
    return _as_file("x.png", folder, bytes(repaired))


def _meshes(*, npy: bool = False) -> Iterator[bytes]:
    if npy:
        yield from _npy()
        return
    yield b"# a mesh\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvn 0 0 1\nvt 0 0\nf 1/1/1 2/1/1 3/1/1\n"
    yield b"v 1e-3 2 -3.5 1.0\nv 0 0 0 0.5 0.5 0.5\nv 1 1 1\nf 1 \\\n 2 -1\n"


def _plys() -> Iterator[bytes]:
    header = (
        "ply\nformat {} 1.0\nelement vertex 3\nproperty float x\nproperty float y\n"
        "property float z\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n"
    )
    yield header.format("ascii").encode() + b"0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"
    rows = struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0) + struct.pack("<B3i", 3, 0, 1, 2)
    yield header.format("binary_little_endian").encode() + rows


def _stls() -> Iterator[bytes]:
    corners = "outer loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\n"
    yield f"solid x\nfacet normal 0 0 1\n{corners}endfacet\nendsolid x\n".encode()
    yield bytes(80) + struct.pack("<I12fH", 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0)


def _offs() -> Iterator[bytes]:
    yield b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"
    yield b"OFF\n# four corners\n4 1 4\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n"


def _port_maps() -> Iterator[bytes]:
    yield b'[coarse.taps]\n"cnn.conv2d_1" = "encoder.0"  # or encoder.1\n'
    yield b'[coarse.unmatched]\n"cnn.conv2d_2" = "fused"\n[refine.taps]\n"cnn.conv2d_1" = ""\n'


def _read_mesh(path: Path) -> None:
    _read_all(path, load_mesh, partial(load_ground_truth, camera_row=_CAMERA))


def _rows(*, columns: int) -> Iterator[bytes]:
    row = " ".join(f"{0.5 + number}" for number in range(columns))
    yield f"{row}\n{row}\n{row}\n".encode()
    yield f"# a comment\n\n{row} # another\r\n".encode()


def _samples() -> Iterator[bytes]:
    generator = np.random.default_rng(1)
    stream = io.BytesIO()
    arrays: dict[str, np.ndarray] = {}
    for block in (1, 2, 3):
        arrays[f"face_{block}"] = np.zeros(COUNT, np.int64)
        arrays[f"r1_{block}"] = np.zeros(COUNT, np.float16)
        arrays[f"r2_{block}"] = generator.random(1).astype(np.float16).repeat(COUNT)
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    yield stream.getvalue()


def _items() -> Iterator[bytes]:
    cameras = b"0 30 0 0.8 25\n90 30 0 0.8 25\n180 30 0 0.8 25\n"
    yield cameras + b"\0" + (_ITEM / "rendering" / "02.png").read_bytes()


def _as_item(folder: Path, content: bytes) -> Path:
    cameras, _, picture = content.partition(b"\0")
    (folder / "cameras.txt").write_bytes(cameras)
    for number in (1, 2, 3):
        (folder / f"view{number}.png").write_bytes(picture)
    return folder


def _weights(name: str, corpus: Callable[[], Iterator[bytes]], file: str) -> Target:
    return Target(name, corpus, partial(_as_file, file), _read_weights)


TARGETS = (
    Target("bundle", _bundle_indexes, _beside_data, _read_weights),
    Target("bundle entries", _entry_texts, _around_entries, _read_weights),
    Target("checkpoint state", _states, _beside_checkpoint, _read_weights),
    _weights("safetensors", _safetensors, "x.safetensors"),
    _weights("h5", _hdf5, "x.h5"),
    _weights("pt", _pytorch, "x.pt"),
    Target("pt pickle", _pytorch_pickles, _around_pickle, _read_weights),
    _weights("npz", _npz, "x.npz"),
    Target("npz member", _npy, _around_member, _read_weights),
    _weights("onnx", _onnx, "x.onnx"),
    Target("trace", _traces, partial(_as_file, "x.h5"), _read_trace, probe),
    Target("training state", _training_states, partial(_as_file, "training-state.npz"),
           lambda path: read_state(path, _RUN)),
    Target("report", _reports, partial(_as_file, "report.json"), _read_report),
    Target("pickle", _pickles, partial(_as_file, "x.dat"), _read_pickle),
    Target("png", _pictures, partial(_as_file, "x.png"), lambda path: read_rgba(path, 137)),
    Target("png chunks", _chunked_pictures, _repaired_chunks, lambda path: read_rgba(path, 5)),
    Target("obj", _meshes, partial(_as_file, "x.obj"), _read_mesh),
    Target("ply", _plys, partial(_as_file, "x.ply"), _read_mesh),
    Target("stl", _stls, partial(_as_file, "x.stl"), _read_mesh),
    Target("off", _offs, partial(_as_file, "x.off"), _read_mesh),
    Target("port map", _port_maps, partial(_as_file, "x.toml"), read_maps),
    Target("npy", _npy, partial(_as_file, "x.npy"), _read_mesh),
    Target("cameras", partial(_rows, columns=5), partial(_as_file, "x.txt"), read_cameras),
    Target("xyz", partial(_rows, columns=6), partial(_as_file, "x.xyz"),
           partial(load_ground_truth, camera_row=_CAMERA)),
    Target("samples", _samples, partial(_as_file, "x.npz"),
           partial(load_samples, stage="coarse")),
    Target("item", _items, _as_item, load_item),
)  # fmt: skip
BY_NAME = {target.name: target for target in TARGETS}


def feed(target: Target, folder: Path, content: bytes) -> str:
    """Give a reader these bytes: "read" or "refused".

    Raises:
        AssertionError: it refused them in more than one line, or without saying what.
        Exception: whatever else the reader lets through.
    """
    path = target.place(folder, content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if target.guard is not None:
                target.guard(path)
            target.read(path)
    except InputError as error:
        message = str(error)
        assert message.isprintable(), "a refusal of more than one line"
        assert message.startswith((str(folder), target.name)), f"no path: {message}"
        assert "; expected " in message, f"nothing said to be expected: {message}"
        return "refused"
    return "read"
