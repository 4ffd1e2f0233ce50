"""Critics: networks that tell two kinds of smashed data or images apart, and their losses.

There are two families. `residual_critic` (FSHA, FORA) has neither normalization nor dropout. So
each score depends on its own sample alone, and a gradient penalty per sample makes sense.
`feature_critic` and `image_critic` (SDAR) have both, and may be conditioned on labels. A critic
maps (B, ...) to scores (B, 1), which are logits in the binary losses.
"""

from collections.abc import Callable, Sequence
from math import ceil, prod
from typing import Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.errors import SpecError
from sltoolkit.networks.conditioning import LabelChannel
from sltoolkit.networks.layers import check_shape, mixing, normalizing, strided
from sltoolkit.shapes import Scalar

Layout = tuple[tuple[int, int], ...]
"""The convolutions of a `DropoutCritic`, each as (channels, stride)."""

SMALL = 4
"""The largest side after the strided layers, before the residual blocks."""

FAMILIAR = 8
"""The largest side at which SDAR's feature critic stops doubling its channels."""


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    a: Tensor,
    b: Tensor,
    *,
    over: Literal["sample", "channel"] = "sample",
) -> Scalar:
    """The mean of (|| gradient of the critic || - 1)^2 at random points between pairs.

    With `sample` it takes one norm per sample (Gulrajani et al. 2017, equation 3). With `channel`
    it takes one norm per sample and channel, as FSHA's public code does; then the norm of the whole
    gradient can grow to the square root of the number of channels.
    The points are drawn from torch's global generator: call this in a `Stream` scope.

    Args:
        critic: maps (B, ...) to scores (B, 1) or (B,), each of which depends on its own sample.
        a: one end of each pair, (B, ...); its graph is not used.
        b: the other end of each pair, (B, ...); its graph is not used.
        over: `sample` or `channel`.

    Raises:
        SpecError: if the shapes differ.
    """
    if a.shape != b.shape:
        raise SpecError(f"pairs need equal shapes, got {tuple(a.shape)} and {tuple(b.shape)}")
    share = torch.rand(len(a), *(1,) * (a.dim() - 1), dtype=a.dtype, device=a.device)
    point = torch.lerp(b.detach(), a.detach(), share).requires_grad_()
    slope: Tensor = torch.autograd.grad(critic(point).sum(), point, create_graph=True)[0]
    grouped = slope.flatten(1) if over == "sample" else slope.reshape(*slope.shape[:2], -1)
    excess: Tensor = torch.linalg.vector_norm(grouped, dim=-1) - 1
    return excess.square().mean()


def wasserstein_loss(low: Tensor, high: Tensor) -> Scalar:
    """The loss of a critic that scores one kind (B, 1) low and the other kind (B, 1) high."""
    return low.mean() - high.mean()


def binary_loss(real: Tensor, fake: Tensor) -> Scalar:
    """The loss of a binary critic: cross-entropy of the logits (B, 1), summed over both kinds."""
    return as_real(real) + functional.softplus(fake).mean()


def as_real(scores: Tensor) -> Scalar:
    """Binary cross-entropy of logits (B, 1) with the verdict `real`: the loss of a generator."""
    return functional.softplus(-scores).mean()


class _Residual(nn.Module):
    """x + f(x), where f has two layers, each after a ReLU, and no normalization."""

    def __init__(self, rank: int, width: int) -> None:
        super().__init__()
        self.first = mixing(rank, width, width)
        self.second = mixing(rank, width, width)

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.second(functional.relu(self.first(functional.relu(x))))
        return x + inner


def residual_critic(
    shape: Sequence[int], *, width: int = 256, blocks: int = 6, shrink: bool = True
) -> nn.Module:
    """FSHA's and FORA's discriminator; the initialization draws from the scope's generator.

    Its layers are strided convolutions down to sides of 4 (or one plain convolution if no side is
    larger), residual blocks without normalization, one more strided convolution, and a linear
    score. For vectors, linear layers replace the convolutions.

    Args:
        shape: the shape of one input, (C, H, W), (C, L) or (d,).
        width: channels of the residual blocks.
        blocks: the number of residual blocks.
        shrink: whether there are strided convolutions. FSHA's public code overwrites them by one
            plain convolution (false), which is many times as expensive if sides are large.

    Raises:
        SpecError: for another shape.
    """
    check_shape(shape, "what a critic scores")
    rank, (channels, *sides) = len(shape), shape
    halvings = _halvings(sides, SMALL) if shrink else 0
    widths = [max(1, width >> (halvings - 1 - i)) for i in range(halvings)] or [width]
    layers: list[nn.Module] = []
    for i, wide in enumerate(widths):
        stride = 2 if halvings else 1
        layers += [nn.ReLU()] if i else []
        layers += [mixing(rank, channels, wide, stride=stride)]
        channels, sides = wide, list(strided(sides, stride))
    layers += [_Residual(rank, width) for _ in range(blocks)]
    layers += [mixing(rank, width, width, stride=2), nn.Flatten()]
    layers += [nn.Linear(width * prod(strided(sides, 2)), 1)]
    return nn.Sequential(*layers)


def feature_critic(
    shape: Sequence[int], *, classes: int | None = None, width: int = 32, normed: bool = True
) -> "DropoutCritic":
    """SDAR's critic of smashed data; the initialization draws from the scope's generator.

    The layout continues the paper's layouts for sides of 32, 16 and 8: it begins with `width`
    channels at sides of 32, 2 `width` at 16 and 4 `width` at 8, doubles them down to sides of 8,
    and then has 8 `width` channels.

    Args:
        shape: the shape of one input, (C, H, W), (C, L) or (d,).
        classes: the number of labels, for a critic that is conditioned on them.
        width: the width; 16, 32 and 64 are the paper's narrow, standard and wide critics.
        normed: whether there is BatchNorm.
    """
    halvings = min(_halvings(shape[1:], FAMILIAR), 2)
    first = 4 * width >> halvings
    entry = [(first << i, 2 if i else 1) for i in range(halvings + 1)]
    layout = (*entry, *((8 * width, 1),) * 3, (8 * width, 2))
    return DropoutCritic(shape, layout, classes=classes, normed=normed, leaves_raw=True)


def image_critic(
    shape: Sequence[int], *, classes: int | None = None, width: int = 64
) -> "DropoutCritic":
    """SDAR's critic of inputs; the initialization draws from the scope's generator.

    Args:
        shape: the shape of one input, (C, H, W), (C, L) or (d,).
        classes: the number of labels, for a critic that is conditioned on them.
        width: channels at full resolution.
    """
    layout = ((width, 1), (2 * width, 2), (2 * width, 2), (4 * width, 2))
    return DropoutCritic(shape, layout, classes=classes)


@final
class DropoutCritic(nn.Module):
    """Convolutions with LeakyReLU 0.2 and BatchNorm (not in the first and the last), dropout 0.4.

    Args:
        shape: the shape of one input, (C, H, W), (C, L) or (d,).
        layout: its convolutions.
        classes: the number of labels, if it is conditioned on them.
        normed: whether there is BatchNorm.
        leaves_raw: whether the last convolution has no activation.

    Raises:
        SpecError: for another shape.
    """

    def __init__(
        self, shape: Sequence[int], layout: Layout, *, classes: int | None = None,
        normed: bool = True, leaves_raw: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        check_shape(shape, "what a critic scores")
        self.labels = None if classes is None else LabelChannel(shape, classes)
        rank, (channels, *sides) = len(shape), shape if self.labels is None else self.labels.out
        layers: list[nn.Module] = []
        for i, (wide, stride) in enumerate(layout):
            last = i == len(layout) - 1
            layers.append(mixing(rank, channels, wide, stride=stride))
            layers += [normalizing(rank, wide)] if normed and i > 0 and not last else []
            layers += [] if last and leaves_raw else [nn.LeakyReLU(0.2)]
            channels, sides = wide, list(strided(sides, stride))
        layers += [nn.Flatten(), nn.Dropout(0.4), nn.Linear(channels * prod(sides), 1)]
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Logits (B, 1) of inputs (B, ...) and, if the critic is conditioned, their labels (B,).

        Raises:
            SpecError: if labels are missing, or if the critic isn't conditioned on labels.
        """
        if (y is None) != (self.labels is None):
            raise SpecError("a critic takes labels if and only if it was made for classes")
        scores: Tensor = self.body(x if self.labels is None or y is None else self.labels(x, y))
        return scores


def _halvings(sides: Sequence[int], target: int) -> int:
    """How often the longest side must be halved to be at most `target`."""
    longest = max(sides, default=1)
    return 0 if longest <= target else 1 + _halvings([ceil(longest / 2)], target)
