"""The perceptual network: 18 convolutions with TensorFlow's SAME padding, a ReLU after each."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_impl.listening import Listener


@dataclass(frozen=True)
class ConvSpec:
    """One convolution: channels, square kernel and stride."""

    channels_in: int
    channels_out: int
    kernel: int = 3
    stride: int = 1


CONVOLUTIONS: tuple[ConvSpec, ...] = (
    ConvSpec(3, 16),
    ConvSpec(16, 16),
    ConvSpec(16, 32, stride=2),
    ConvSpec(32, 32),
    ConvSpec(32, 32),
    ConvSpec(32, 64, stride=2),
    ConvSpec(64, 64),
    ConvSpec(64, 64),
    ConvSpec(64, 128, stride=2),
    ConvSpec(128, 128),
    ConvSpec(128, 128),
    ConvSpec(128, 256, kernel=5, stride=2),
    ConvSpec(256, 256),
    ConvSpec(256, 256),
    ConvSpec(256, 512, kernel=5, stride=2),
    ConvSpec(512, 512),
    ConvSpec(512, 512),
    ConvSpec(512, 512),
)


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow pads SAME, followed by a ReLU.

    At stride 2 on an even size TensorFlow pads one less before than after (3×3: 0 and 1,
    5×5: 1 and 2), which no symmetric ``padding`` of torch's gives.
    """

    def __init__(self, spec: ConvSpec) -> None:
        same = spec.kernel // 2
        super().__init__(
            spec.channels_in,
            spec.channels_out,
            spec.kernel,
            stride=spec.stride,
            padding=same if spec.stride == 1 else 0,
        )
        self.after = same
        self.before = same - 1

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (views, C_in, H, W) to (views, C_out, H / stride, W / stride)."""
        if self.stride[0] == 2:
            x = F.pad(x, (self.before, self.after, self.before, self.after))
        return super().forward(x).relu_()


class PerceptualCNN(nn.Module):
    """The image encoder that both stages have, each with weights of its own."""

    def __init__(self) -> None:
        super().__init__()
        for number, spec in enumerate(CONVOLUTIONS, start=1):
            self.add_module(f"conv2d_{number}", SameConv2d(spec))

    def forward(
        self,
        images: Tensor,
        wanted: tuple[int, ...],
        views: int,
        listen: Listener | None = None,
    ) -> list[Tensor]:
        """Encode the views.

        Each view is convolved by itself: what is computed for a listener only (views that nobody
        reads, convolutions after the last wanted one) then cannot change the rest by a bit.

        Args:
            images: (3, 224, 224, 3), BGR in [0, 1].
            wanted: numbers of the convolutions whose outputs are returned, ascending.
            views: how many views, from the first, the caller reads.
            listen: takes ``cnn.conv2d_1`` … ``cnn.conv2d_18``, each (3, H, W, C).

        Returns:
            The wanted maps, each (views, H, W, C).
        """
        read = images[:views] if listen is None else images
        last = wanted[-1] if listen is None else len(CONVOLUTIONS)
        encoded = list(read.permute(0, 3, 1, 2).contiguous().split(1))
        maps = []
        for number in range(1, last + 1):
            convolution = self.get_submodule(f"conv2d_{number}")
            encoded = [convolution(view) for view in encoded]
            if listen is not None:
                listen.tap(f"cnn.conv2d_{number}", _channels_last(encoded))
            if number in wanted:
                maps.append(_channels_last(encoded[:views]))
        return maps


def _channels_last(views: list[Tensor]) -> Tensor:
    return torch.cat(views).permute(0, 2, 3, 1)


def float32_constant(value: float) -> float:
    """``value`` rounded to float32, as the graph holds all its constants, in any precision."""
    return torch.tensor(value, dtype=torch.float32).item()
