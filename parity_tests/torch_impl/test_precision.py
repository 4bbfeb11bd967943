"""Settings of products on a GPU, which can be made and read without one."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from parity.traces.backends import BackendChoice
from torch_impl.backend import factory
from torch_impl.precision import full_precision, tf32_places, tf32_products

BACKENDS: Any = torch.backends
OLDER = ((BACKENDS.cudnn, "allow_tf32"), (BACKENDS.cuda.matmul, "allow_tf32"))
NEWER = hasattr(BACKENDS.cudnn, "conv")
CUDNN = ("enabled", "deterministic", "benchmark")


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    before = [getattr(owner, name) for owner, name in OLDER]
    yield
    for (owner, name), value in zip(OLDER, before, strict=True):
        setattr(owner, name, value)


def readings() -> dict[str, Any]:
    found = {name: getattr(BACKENDS.cudnn, name) for name in CUDNN}
    for number, (owner, name) in enumerate(OLDER):
        try:
            found[f"{name} {number}"] = getattr(owner, name)
        except RuntimeError:
            found[f"{name} {number}"] = "contradicted"
    if NEWER:
        found["conv"] = BACKENDS.cudnn.conv.fp32_precision
        found["matmul"] = BACKENDS.cuda.matmul.fp32_precision
    return found


@pytest.mark.parametrize("on", [True, False], ids=["TF32 on", "TF32 off"])
def test_full_precision_turns_tf32_off_and_puts_all_back(on: bool) -> None:
    for owner, name in OLDER:
        setattr(owner, name, on)
    before = readings()
    with full_precision():
        assert tf32_places() == []
        assert [getattr(owner, name) for owner, name in OLDER] == [False, False]
        assert [getattr(BACKENDS.cudnn, name) for name in CUDNN] == [False, True, False]
    assert readings() == before
    assert tf32_places() == (["convolutions", "matrix products"] if on else [])


def test_all_is_put_back_after_an_error() -> None:
    before = readings()
    with pytest.raises(ZeroDivisionError), full_precision():
        raise ZeroDivisionError
    assert readings() == before


def test_tf32_products_are_the_opposite_and_may_be_entered_inside() -> None:
    with full_precision():
        with tf32_products():
            assert tf32_places() == ["convolutions", "matrix products"]
            assert not BACKENDS.cudnn.enabled
        assert tf32_places() == []


@pytest.mark.skipif(not NEWER, reason="PyTorch before 2.9 has one name for it")
def test_settings_under_the_newer_names_count_and_are_put_back() -> None:
    BACKENDS.cudnn.conv.fp32_precision = "ieee"
    BACKENDS.cuda.matmul.fp32_precision = "tf32"
    before = readings()
    assert "contradicted" in before.values()
    assert tf32_places() == ["matrix products"]
    with full_precision():
        assert tf32_places() == []
        assert "contradicted" not in readings().values()
    after = readings()
    assert (after["conv"], after["matmul"]) == ("ieee", "tf32")


@pytest.mark.parametrize("method", ["run", "losses"])
def test_a_run_computes_in_full_precision(
    method: str, small_inputs: Any, seeded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real = torch.nn.Conv2d.forward

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        seen.append((tf32_places(), BACKENDS.cudnn.enabled))
        return real(self, x)

    monkeypatch.setattr(torch.nn.Conv2d, "forward", forward)
    BACKENDS.cudnn.allow_tf32 = BACKENDS.cuda.matmul.allow_tf32 = True
    options = (None,) if method == "run" else ()
    getattr(factory("coarse"), method)(small_inputs["coarse"], seeded["coarse"], *options)
    assert len(seen) == 18
    assert all(each == ([], False) for each in seen)


@pytest.mark.parametrize(
    ("name", "device", "on", "expected"),
    [
        ("port:factory", "cuda:0", (True, True), "convolutions, matrix products"),
        ("port:factory", "cuda:0", (True, False), "convolutions"),
        ("port:factory", "cuda:0", (False, False), None),
        ("port:factory", "cpu", (True, True), None),
        ("torch", "cuda:0", (True, True), None),
    ],
    ids=["port", "port, torch's default", "port, off", "port, CPU", "torch"],
)
def test_the_header_names_tf32_where_it_is_on(
    name: str, device: str, on: tuple[bool, bool], expected: str | None
) -> None:
    for (owner, attribute), value in zip(OLDER, on, strict=True):
        setattr(owner, attribute, value)
    assert BackendChoice(name).versions(device).get("TF32") == expected


def test_the_cpu_computes_the_same_bits(small_inputs: Any, seeded: Any) -> None:
    inputs, backend = small_inputs["coarse"], factory("coarse")
    network = backend.load(seeded["coarse"])
    with torch.no_grad():
        plain = backend.forward(network, inputs)[-1].after.numpy()
    np.testing.assert_array_equal(backend.run(inputs, seeded["coarse"], None), plain)


@pytest.mark.skipif(not NEWER, reason="PyTorch before 2.9 has one name for it")
@pytest.mark.parametrize("asked", ["highest", "high", "medium"])
def test_less_precise_products_on_the_cpu_count_too(asked: str) -> None:
    """``medium`` may multiply bfloat16 numbers, on a CPU as on a GPU."""
    try:
        torch.set_float32_matmul_precision(asked)
        before = readings()
        with full_precision():
            assert BACKENDS.mkldnn.matmul.fp32_precision == "ieee"
        assert torch.get_float32_matmul_precision() == asked
        assert readings() == before
    finally:
        torch.set_float32_matmul_precision("highest")
