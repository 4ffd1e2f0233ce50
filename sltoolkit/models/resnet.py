"""Residual networks for small images, which can be cut between their blocks (He et al. 2016).

K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016. Both
have the CIFAR stem (a 3x3 convolution of stride 1, no pooling). A residual block is one block of
the `nn.Sequential`: inside it two values would have to cross a cut, the branch and its shortcut.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.models.plain import image_shape
from sltoolkit.parameters.parameter import Parameter

Norm = Callable[[int], nn.Module]


def _group_norm(channels: int) -> nn.Module:
    # At least four channels per group: with one channel it would be instance normalization, which
    # erases each channel's mean.
    return nn.GroupNorm(min(32, channels // 4), channels)


NormName = Annotated[
    Literal["batch", "group"],
    Parameter("normalization: batch, or group (32 groups, fewer in narrow layers) for DP-SGD"),
]
NORMS: dict[str, Norm] = {"batch": nn.BatchNorm2d, "group": _group_norm}


class PadShortcut(nn.Module):
    """The shortcut without parameters: every second pixel, new channels zero (option A).

    Args:
        more: number of channels to add.
    """

    def __init__(self, more: int) -> None:
        super().__init__()
        self.more = more

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C + more, ceil(H / 2), ceil(W / 2))."""
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.more // 2, self.more // 2))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: relu(norm(conv(relu(norm(conv(x))))) + shortcut(x)).

    Args:
        channels: channels of the input.
        wider: channels of the output.
        stride: the stride of the first convolution.
        norm: makes the normalization layer for a number of channels.
        shortcut: fits the input to the output.
    """

    def __init__(
        self, channels: int, wider: int, *, stride: int, norm: Norm, shortcut: nn.Module
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, wider, 3, stride=stride, padding=1, bias=False)
        self.norm1 = norm(wider)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(wider, wider, 3, padding=1, bias=False)
        self.norm2 = norm(wider)
        self.shortcut = shortcut
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, wider, ceil(H / stride), ceil(W / stride))."""
        branch = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x)))))
        out: Tensor = self.relu2(branch + self.shortcut(x))
        return out


def resnet18(*, shape: Sequence[int], classes: int, norm: NormName = "batch") -> nn.Sequential:
    """ResNet-18 with the CIFAR stem: four stages of two blocks, 64 to 512 channels.

    Blocks: `stem`, `norm`, `relu`, `layer1_0`, ..., `layer4_1`, `pool`, `flatten`, `fc`. Where the
    shape changes, the shortcut is a 1x1 convolution (option B).

    Args:
        shape: (C, H, W) of one image.
        classes: number of logits.

    Raises:
        SpecError: if the shape is not that of an image.
    """
    make = NORMS[norm]

    def project(channels: int, wider: int) -> nn.Module:
        return nn.Sequential(
            OrderedDict[str, nn.Module](
                conv=nn.Conv2d(channels, wider, 1, stride=2, bias=False), norm=make(wider)
            )
        )

    channels, _, _ = image_shape(shape, "resnet18")
    return _resnet(channels, classes, (64, 128, 256, 512), depth=2, norm=make, shortcut=project)


def resnet20(*, shape: Sequence[int], classes: int, norm: NormName = "batch") -> nn.Sequential:
    """ResNet-20 of section 4.2: three stages of three blocks, 16 to 64 channels.

    Blocks: `stem`, `norm`, `relu`, `layer1_0`, ..., `layer3_2`, `pool`, `flatten`, `fc`. All
    shortcuts are free of parameters (option A).

    Args:
        shape: (C, H, W) of one image.
        classes: number of logits.

    Raises:
        SpecError: if the shape is not that of an image.
    """
    make = NORMS[norm]

    def pad(channels: int, wider: int) -> nn.Module:
        return PadShortcut(wider - channels)

    channels, _, _ = image_shape(shape, "resnet20")
    return _resnet(channels, classes, (16, 32, 64), depth=3, norm=make, shortcut=pad)


def _resnet(
    channels: int,
    classes: int,
    widths: Sequence[int],
    *,
    depth: int,
    norm: Norm,
    shortcut: Callable[[int, int], nn.Module],
) -> nn.Sequential:
    width = widths[0]
    blocks: OrderedDict[str, nn.Module] = OrderedDict(
        stem=nn.Conv2d(channels, width, 3, padding=1, bias=False), norm=norm(width), relu=nn.ReLU()
    )
    for stage, wider in enumerate(widths, start=1):
        for number in range(depth):
            shrinks = width != wider
            blocks[f"layer{stage}_{number}"] = ResidualBlock(
                width,
                wider,
                stride=2 if shrinks else 1,
                norm=norm,
                shortcut=shortcut(width, wider) if shrinks else nn.Identity(),
            )
            width = wider
    blocks["pool"] = nn.AdaptiveAvgPool2d(1)
    blocks["flatten"] = nn.Flatten()
    blocks["fc"] = nn.Linear(width, classes)
    return nn.Sequential(blocks)
