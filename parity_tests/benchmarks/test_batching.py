"""The benchmark of several items a pass: its JSON, and that both ways compute the same."""

import json

import torch
from click.testing import CliRunner

from benchmarks import batching
from inputs.seeded import seeded_weights
from inputs.template import build_template
from torch_impl.backend import TorchBackend
from torch_impl.coarse import Coarse


def test_it_prints_a_ratio_for_each_part() -> None:
    done = CliRunner().invoke(batching.main, ["--items", "2", "--rounds", "1"])
    found = json.loads(done.stdout)["one_by_one_over_together"]
    assert set(found) == {"encoder", "graph convolution"}
    for part in found.values():
        assert part["ratio"] > 0 and part["together_s"] > 0


def test_together_computes_what_one_by_one_does() -> None:
    backend = TorchBackend("coarse", "float64", "cpu")
    network = backend.load(seeded_weights("coarse"))
    assert isinstance(network, Coarse)
    support = backend.coarse_graph(build_template()).supports[batching.FINEST]
    with torch.inference_mode():
        for alone, together in (
            batching.encoder(network, 2),
            batching.convolution(network, support, 2),
        ):
            torch.testing.assert_close(together(), torch.stack(alone()))
