"""What a GPU would wait for or could not do, told on the CPU by the operations that are called."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from torch_impl.backend import factory
from torch_impl.graph import GraphConvolution, LocalGraphConvolution

WAITING = (
    "_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "_unique2",
    "unique_dim", "_linalg_check_errors", "repeat_interleave.Tensor",
)  # fmt: skip
"""Operations whose result or its shape the host reads back."""


class Waits(TorchDispatchMode):
    """Lists the operations for which the host would wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.name().removeprefix("aten::")
        masks = name.startswith("index") and any(
            each is not None and each.dtype == torch.bool
            for each in (args[1] if isinstance(args[1], list | tuple) else ())
        )
        if masks or any(name == each or name.startswith(f"{each}.") for each in WAITING):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: x.sum().item(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: torch.linalg.inv(x),
        lambda x: bool((x > 0).any()),
        lambda x: x.masked_select(x > 0),
    ],
    ids=["item", "mask", "nonzero", "inverse", "truth", "masked_select"],
)
def test_what_waits_is_noticed(operation: Callable[[Tensor], Any]) -> None:
    with Waits() as waits:
        operation(torch.eye(3))
    assert waits.found


@pytest.mark.parametrize("listening", [True, False], ids=["listening", "silent"])
@pytest.mark.parametrize("graded", [True, False], ids=["gradients", "forward"])
@pytest.mark.parametrize("stage", ["coarse", "refine"])
def test_the_forward_pass_waits_for_nothing(
    stage: str, graded: bool, listening: bool, small_inputs: Any, seeded: Any
) -> None:
    backend = factory(stage)
    network, feeds = backend.load(seeded[stage]), backend.feeds(small_inputs[stage])
    heard = []

    class Listener:
        def tap(self, name: str, _: Tensor) -> None:
            heard.append(name)

    with torch.set_grad_enabled(graded), Waits() as waits:
        network(*feeds, Listener() if listening else None)
    assert waits.found == []
    assert bool(heard) == listening


def test_reading_again_saves_no_random_state(
    small_inputs: Any, seeded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_rng_state", lambda: pytest.fail("the random state was read"))
    backend = factory("refine")
    network, feeds = backend.load(seeded["refine"]), backend.feeds(small_inputs["refine"])
    meshes = network(*feeds)
    torch.autograd.grad(meshes[-1].after.sum(), network.cnn.conv2d_1.weight)


@pytest.mark.parametrize(
    "narrow",
    # Which processors compute in slowly.
    [torch.bfloat16, pytest.param(torch.float16, marks=pytest.mark.slow)],
    ids=str,
)
@pytest.mark.parametrize("stage", ["coarse", "refine"])
def test_autocast_runs_and_is_narrow(
    stage: str, narrow: torch.dtype, small_inputs: Any, seeded: Any
) -> None:
    inputs, backend = small_inputs[stage], factory(stage)
    taps: dict[str, np.ndarray] = {}
    exact: dict[str, np.ndarray] = {}
    backend.run(inputs, seeded[stage], lambda tap, value: exact.update({tap: value.copy()}))
    with torch.autocast("cpu", narrow):
        backend.run(inputs, seeded[stage], lambda tap, value: taps.update({tap: value.copy()}))
    for tap in ("cnn.conv2d_2", "cnn.conv2d_8"):
        error = np.abs(taps[tap] - exact[tap]).max() / np.abs(exact[tap]).max()
        assert 1e-5 < error < 5e-2, tap
    assert all(np.isfinite(value).all() for value in taps.values())


def test_a_sparse_product_stays_float32_under_autocast() -> None:
    matrix = torch.eye(5).flip(0).to_sparse_coo().coalesce()
    layer = GraphConvolution(4, 3)
    for variable in layer.parameters():
        torch.nn.init.ones_(variable)
    x = torch.arange(20, dtype=torch.float32).reshape(5, 4)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x, (None, matrix), relu=False)
    assert found.dtype == torch.float32
    plain = layer(x, (None, matrix), relu=False)
    np.testing.assert_allclose(found.detach(), plain.detach(), rtol=1e-2)


def test_gradients_flow_through_a_local_convolution_under_autocast() -> None:
    layer = LocalGraphConvolution(4, 3)
    for variable in layer.parameters():
        torch.nn.init.ones_(variable)
    x = torch.rand(2, 5, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x, (None, torch.full((5, 5), 0.5)))
    assert found.dtype == torch.bfloat16
    (gradient,) = torch.autograd.grad(found.float().sum(), x)
    # Each of 3 outputs of 5 rows: its own row once, and half of every row.
    np.testing.assert_allclose(gradient, np.full((2, 5, 4), 3 * (1 + 5 * 0.5)), rtol=1e-2)
