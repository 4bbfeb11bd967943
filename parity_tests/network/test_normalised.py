"""Layers that neither stage has, batch normalisation and GELU: proposed, judged, mistakes named."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from network import Network, registered
from parity.traces.module_port import ModulePort
from parity.traces.proposal import propose
from parity.verdict.pair import run_pair
from parity.verdict.result import Comparison, Verdict
from parity_tests.network import normalised

Change = Callable[[normalised.Normalised], None]


@pytest.fixture(autouse=True)
def network() -> Iterator[Network]:
    with registered(normalised.NETWORK) as found:
        yield found


def judged(change: Change) -> Comparison:
    def factory(_stage: str, dtype: str, _device: str) -> ModulePort:
        module = normalised.Normalised()
        change(module)
        return normalised.port(module, dtype)

    return run_pair(
        normalised.weights(), normalised.inputs(), reference=normalised.factory, candidate=factory
    )


def norm(
    forward: Callable[[nn.BatchNorm1d, torch.Tensor], torch.Tensor], eps: float | None = None
) -> Change:
    """Another forward pass of the normalisation, with the same parameters and buffers."""

    class Norm(nn.BatchNorm1d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return forward(self, x)

    def change(module: normalised.Normalised) -> None:
        module.norm = Norm(normalised.WIDTH, eps=normalised.EPSILON if eps is None else eps)

    return change


def activation(function: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    class Activation(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return function(x)

    return lambda module: setattr(module, "gelu", Activation())


def whole(n: nn.BatchNorm1d, x: torch.Tensor) -> torch.Tensor:
    return F.batch_norm(x, n.running_mean, n.running_var, n.weight, n.bias, eps=n.eps)


def by_itself(n: nn.BatchNorm1d, x: torch.Tensor) -> torch.Tensor:
    return F.batch_norm(x, None, None, n.weight, n.bias, training=True, eps=n.eps)


@pytest.mark.parametrize("change", [norm(whole), activation(F.gelu)], ids=["norm", "GELU"])
def test_the_layers_written_otherwise_agree(change: Change) -> None:
    assert judged(change).verdict is Verdict.AGREE


MISTAKES = {
    "tanh": (activation(lambda x: F.gelu(x, approximate="tanh")), "activation", "a GELU by tanh"),
    "sigmoid": (activation(lambda x: x * torch.sigmoid(1.702 * x)), "activation",
                "a GELU by a sigmoid"),
    "ReLU": (activation(torch.relu), "activation", "a ReLU"),
    "leaky": (activation(lambda x: F.leaky_relu(x, 0.2)), "activation", "a ReLU that leaks 0.2"),
    "SiLU": (activation(F.silu), "activation", "a SiLU"),
    "ELU": (activation(F.elu), "activation", "an ELU"),
    "none": (activation(lambda x: x + 0.0), "activation", "no activation"),
    "training": (norm(by_itself), "statistics", "the mean and variance of this run's rows"),
    "layer norm": (norm(lambda n, x: F.layer_norm(x, x.shape[1:], n.weight, n.bias, n.eps)),
                   "statistics", "the mean and variance of each row"),
    "no gamma": (norm(lambda n, x: F.batch_norm(x, n.running_mean, n.running_var, None, n.bias,
                                                eps=n.eps)),
                 "missing factor", "the factor gamma left out"),
    "no beta": (norm(lambda n, x: F.batch_norm(x, n.running_mean, n.running_var, n.weight, None,
                                               eps=n.eps)),
                "missing term", "beta left out"),
    "swapped": (norm(lambda n, x: F.batch_norm(x, n.running_mean, n.running_var, n.bias, n.weight,
                                               eps=n.eps)),
                "weights swapped", "gamma and beta swapped"),
    "epsilon": (norm(whole, eps=1e-5), "epsilon", "1e-05 instead of 0.001"),
    "epsilon outside": (norm(lambda n, x: (x - n.running_mean) / (n.running_var.sqrt() + n.eps)
                             * n.weight + n.bias),
                        "epsilon", "what is added under the root added to the root"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named(name: str) -> None:
    change, operand, words = MISTAKES[name]
    found = judged(change)
    assert found.verdict is Verdict.DIFFER
    layer = "gelu" if operand == "activation" else "norm"
    assert found.first_divergence == layer
    assert found.diagnosis is not None
    assert (found.diagnosis.operand, found.diagnosis.confirmed) == (operand, True)
    assert f"with {words}" in found.diagnosis.explanation


def test_running_statistics_are_proposed_by_value() -> None:
    """They are buffers; gamma, beta, mean and variance have one shape."""
    found = propose(normalised.factory, normalised.inputs())
    assert found.map() == normalised.MAP
    buffers = {f"{normalised.NAME}/norm/{name}" for name in ("mean", "variance")}
    for key, why in found.matches.why.items():
        told = "; a buffer, which no optimiser trains" if key in buffers else ""
        assert why == f"by value{told}"
    assert not found.asked
