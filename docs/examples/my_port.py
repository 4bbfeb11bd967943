"""A port of the coarse stage as somebody might have written it, with two mistakes in it.

``docs/own-port.md`` finds them. The switches at the top mend them one by one.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from network.taps import TAPS
from parity import ModulePort

SAME_PADDING = False
"""Mistake 1: stride-2 convolutions padded on both sides, as ``nn.Conv2d(padding=…)`` does."""
GCN_BIAS = False
"""Mistake 2: the graph convolutions' bias is declared and loaded, and never added."""

WIDTHS = [16, 16, 32, 32, 32, 64, 64, 64, 128, 128, 128, 256, 256, 256, 512, 512, 512, 512]
STRIDED = {3: 3, 6: 3, 9: 3, 12: 5, 15: 5}
"""Number of the convolution and its kernel size."""
READ = (8, 11, 14, 18)


class Conv(nn.Conv2d):
    def __init__(self, number: int) -> None:
        size = STRIDED.get(number, 3)
        channels = 3 if number == 1 else WIDTHS[number - 2]
        stride = 2 if number in STRIDED else 1
        super().__init__(channels, WIDTHS[number - 1], size, stride, padding=size // 2)

    def forward(self, x: Tensor) -> Tensor:
        if SAME_PADDING and self.stride[0] == 2:
            before, after = self.kernel_size[0] // 2 - 1, self.kernel_size[0] // 2
            x = F.pad(x, (before, after, before, after))
            return F.conv2d(x, self.weight, self.bias, stride=2).relu()
        return super().forward(x).relu()


class GraphConv(nn.Module):
    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.weights_0 = nn.Parameter(torch.empty(channels_in, channels_out))
        self.weights_1 = nn.Parameter(torch.empty(channels_in, channels_out))
        self.bias = nn.Parameter(torch.empty(channels_out))

    def forward(self, x: Tensor, laplacian: Tensor) -> Tensor:
        out = x @ self.weights_0 + laplacian @ (x @ self.weights_1)
        if GCN_BIAS:
            out = out + self.bias
        return out if out.shape[1] == 3 else out.relu()


class Named(nn.Module):
    """Gives a result a name that a hook can find: put one wherever a tap is no module's output."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class MyMVP2M(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.ModuleDict({f"conv2d_{n}": Conv(n) for n in range(1, 19)})
        self.graph, self.named = nn.ModuleDict(), nn.ModuleDict()
        for tap in (row.name for row in TAPS["coarse"]):
            if tap.startswith("cnn."):
                continue
            if tap.startswith("graph_conv") and not tap.endswith(".residual"):
                block, index = int(tap[14]), int(tap.split("_")[3])
                first = 2883 if block == 1 else 3075
                last = index == (15 if block == 3 else 14)
                self.graph[tap] = GraphConv(first if index == 1 else 192, 3 if last else 192)
            else:
                self.named[tap.replace(".", "/")] = Named()

    def forward(self, images, cameras, mesh, laplacians, pairs):
        x, maps = images.permute(0, 3, 1, 2), []
        for number in range(1, 19):
            x = self.cnn[f"conv2d_{number}"](x)
            if number in READ:
                maps.append(x[0])
        hidden = None
        names = [row.name for row in TAPS["coarse"]]
        for block in (1, 2, 3):
            projection = next(n for n in names if n.startswith(f"graph_proj_{block}"))
            features = self.named[projection](self.project(mesh, cameras, maps))
            if hidden is not None:
                features = self.named[f"{projection}/concat"](torch.cat([features, hidden], 1))
                ends = features[pairs[block - 2]]
                features = torch.cat([features, (ends[:, 0] + ends[:, 1]) / 2])
                pool = next(n for n in names if n.startswith(f"graph_pool_{block - 1}to{block}"))
                features = self.named[pool](features)
            layers = [n for n in names if n.startswith(f"graph_conv_blk{block}") and "." not in n]
            x = kept = self.graph[layers[0]](features, laplacians[block - 1])
            for index, layer in enumerate(layers[1:-1], start=1):
                x = self.graph[layer](x, laplacians[block - 1])
                if index % 2 == 0:
                    x = kept = self.named[f"{layer}/residual"]((x + kept) / 2)
            hidden, mesh = kept, self.graph[layers[-1]](x, laplacians[block - 1])
        return mesh

    def project(self, points, cameras, maps):
        pi = float(np.float32(np.pi))
        azimuth, elevation = cameras[:, 0] * pi / 180, cameras[:, 1] * pi / 180
        y, flat = cameras[:, 3] * elevation.sin(), cameras[:, 3] * elevation.cos()
        at = torch.stack([flat * azimuth.cos(), y, flat * azimuth.sin()], 1)
        up = torch.stack([y * (azimuth + pi).cos(), flat, y * (azimuth + pi).sin()], 1)
        axes = torch.stack([torch.linalg.cross(up, at), up, at], 1)
        axes = axes / axes.square().sum(2, keepdim=True).sqrt()
        world = points @ torch.linalg.inv(axes[0].T) + at[0]
        seen = []
        for view in range(3):
            local = (world - at[view]) @ axes[view].T
            h = (248.0 * (-local[:, 1] / -local[:, 2]) + 112).clamp(0, 223)
            w = (248.0 * (local[:, 0] / -local[:, 2]) + 112).clamp(0, 223)
            cells = [((h / s).long(), (w / s).long()) for s in (4, 8, 16, 32)]
            # Every view reads view 0's maps: the official index is divided as a whole.
            seen.append(torch.cat([m[:, i, j].T for m, (i, j) in zip(maps, cells, strict=True)], 1))
        views = torch.stack(seen)
        mean = views.mean(0)
        variance = (views - mean).square().mean(0)
        spread = (variance + float(np.float32(1e-6))).sqrt()
        return torch.cat([points, views.amax(0), mean, spread], 1)


def call(module: MyMVP2M, given: dict[str, Tensor]) -> Tensor:
    laplacians = [given[f"template/support_{level}_1"].to_dense() for level in (1, 2, 3)]
    pairs = [given[f"template/unpooling_{level}"] for level in (1, 2)]
    return module(given["images"], given["cameras"], given["mesh"], laplacians, pairs)


def factory(stage: str, dtype: str, device: str) -> ModulePort:
    """What ``--candidate my_port:factory`` calls."""
    if stage != "coarse":
        raise NotImplementedError("this port has the coarse stage only")
    module = MyMVP2M().to(device, getattr(torch, dtype))
    return ModulePort(stage, module, call, Path(__file__).with_suffix(".toml"))
