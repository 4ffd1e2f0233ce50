"""Substitute clients for attackers that don't know the client's architecture, and decoders.

They are made from the shapes of inputs and smashed data alone. The client's stride is taken to be
the largest power of two that fits; the rest is taken for what convolutions without padding cut off
at the borders. So a substitute's cell lies where the client's does. If the substitute were
stretched over the whole image, a decoder would learn to draw everything too large. Substitutes get
inputs in [0, 1], as the client does (in the papers both get inputs in [-1, 1]). If only theirs were
moved to [-1, 1], a dark background alone would make their codes many times as large. All functions
work for maps (C, H, W), signals (C, L) and vectors (d,). The initialization draws from torch's
global generator: call them in a `Stream` scope.
"""

from collections.abc import Callable, Sequence
from math import ceil, prod
from typing import final

from torch import Tensor, nn

from sltoolkit.networks.layers import Center, check_shape, doubling, halvings, mixing, normalizing

Activation = Callable[[], nn.Module]
Layers = list[nn.Module]

DENSE_HALVINGS = 2
"""How often sides are halved on the way to or from smashed data that have no sides."""

DENSE_WIDTH = 64
"""Channels of the last map before smashed data that have no sides."""

NARROWEST = 8
"""The fewest channels of an inner layer of a substitute, however few the client sends."""

HIDDEN = 256
"""Units of the hidden layers between feature vectors and smashed data."""


def strided_substitute(
    input_shape: Sequence[int],
    smashed_shape: Sequence[int],
    *,
    activation: Activation | None = None,
    signed: bool = True,
) -> nn.Module:
    """FSHA's pilot: a strided convolution per halving, which doubles the channels, and a plain one.

    In Pasquini et al. 2021 it is linear for reconstruction, and has activations for property
    inference.

    Args:
        input_shape: the shape of one input.
        smashed_shape: the shape of one sample's smashed data.
        activation: makes the activation after every layer but the last; by default there is none.
        signed: whether smashed data can be negative; if false, it ends in a ReLU.

    Raises:
        SpecError: for shapes that are neither maps nor signals nor vectors.
    """

    def stage(rank: int, channels: int, out: int, stride: int, number: int) -> Layers:
        after = [activation()] if activation else []
        return [mixing(rank, channels, out, stride=stride), *after]

    def end(rank: int, channels: int) -> Layers:
        return [mixing(rank, channels, channels), *([] if signed else [nn.ReLU()])]

    return _substitute(input_shape, smashed_shape, stage, end, signed=signed)


def pooled_substitute(
    input_shape: Sequence[int], smashed_shape: Sequence[int], *, signed: bool = False
) -> nn.Module:
    """The beginning of VGG-16 with BatchNorm, which FORA's code substitutes for the client.

    For each halving it has convolutions and a pooling: two convolutions for each of the first two
    halvings, three for the others (Simonyan and Zisserman 2015).

    Args:
        input_shape: the shape of one input.
        smashed_shape: the shape of one sample's smashed data.
        signed: whether smashed data can be negative; if true, it ends in a plain convolution.

    Raises:
        SpecError: for shapes that are neither maps nor signals nor vectors.
    """

    def stage(rank: int, channels: int, out: int, stride: int, number: int) -> Layers:
        layers: Layers = []
        for width in (channels, *(out,) * (1 if number < 2 else 2)):
            layers += [mixing(rank, width, out), normalizing(rank, out), nn.ReLU()]
        pool = nn.MaxPool2d if rank == 3 else nn.MaxPool1d
        return [*layers, pool(stride, ceil_mode=True)] if stride > 1 else layers

    def end(rank: int, channels: int) -> Layers:
        return [mixing(rank, channels, channels)] if signed else []

    return _substitute(input_shape, smashed_shape, stage, end, signed=signed)


def transposed_decoder(
    smashed_shape: Sequence[int],
    input_shape: Sequence[int],
    *,
    width: int = 256,
    normed: bool = False,
) -> nn.Module:
    """FSHA's and FORA's decoder: transposed convolutions, each of which halves the channels.

    A plain convolution follows, which FSHA's decoder leaves out if there are more than two
    doublings. Decoders of images end in a sigmoid, which is the papers' tanh moved to [0, 1];
    decoders of signals and features don't.

    Args:
        smashed_shape: the shape of one sample's smashed data.
        input_shape: the shape of one input.
        width: channels after the first transposed convolution.
        normed: whether there are BatchNorm and LeakyReLU, as in FORA; FSHA's decoder is linear up
            to its end.

    Raises:
        SpecError: for shapes that are neither maps nor signals nor vectors.
    """
    check_shape(smashed_shape, "smashed data")
    check_shape(input_shape, "an input")
    rank, (out, *sides) = len(input_shape), input_shape
    if rank == 1:
        return _dense(prod(smashed_shape), (out,), [])
    maps = len(smashed_shape) == rank
    doublings = halvings(sides, smashed_shape[1:]) if maps else DENSE_HALVINGS
    low = [ceil(side / 2**doublings) for side in sides]
    layers: Layers = [Center(low)] if maps else _spread(prod(smashed_shape), width, low)
    channels = smashed_shape[0] if maps else width
    direct = not normed and doublings > 2
    for i in range(doublings):
        wide = out if direct and i == doublings - 1 else max(width >> i, 1)
        layers.append(doubling(rank, channels, wide))
        layers += [normalizing(rank, wide), nn.LeakyReLU(0.2)] if normed else []
        channels = wide
    layers += [] if direct else [mixing(rank, channels, out)]
    layers += [normalizing(rank, out)] if normed else []
    return nn.Sequential(*layers, Center(sides), *([_Unsigned()] if rank == 3 else []))


def tail_network(features: Sequence[int], classes: int) -> nn.Module:
    """A typical tail of a U-shaped network: maps are pooled to 4 x 4, and a linear layer follows.

    Args:
        features: the shape of one sample's features.
        classes: the number of logits.
    """
    sides = [min(4, side) for side in features[1:]]
    pools: list[nn.Module] = []
    if sides:
        pool: Callable[..., nn.Module] = (
            nn.AdaptiveAvgPool2d if len(sides) == 2 else nn.AdaptiveAvgPool1d
        )
        pools = [pool(sides)]
    return nn.Sequential(*pools, nn.Flatten(), nn.Linear(features[0] * prod(sides), classes))


def _substitute(
    input_shape: Sequence[int],
    smashed_shape: Sequence[int],
    stage: Callable[[int, int, int, int, int], Layers],
    end: Callable[[int, int], Layers],
    *,
    signed: bool,
) -> nn.Module:
    check_shape(input_shape, "an input")
    check_shape(smashed_shape, "smashed data")
    rank, (channels, *sides) = len(input_shape), input_shape
    rectify: Layers = [] if signed else [nn.ReLU()]
    if rank == 1:
        return _dense(channels, smashed_shape, rectify)
    maps = len(smashed_shape) == rank
    times = halvings(sides, smashed_shape[1:]) if maps else DENSE_HALVINGS
    last = smashed_shape[0] if maps else DENSE_WIDTH
    layers: Layers = []
    for i in range(max(times, 1)):
        out = last if i >= times - 1 else max(last >> (times - 1 - i), NARROWEST)
        layers += stage(rank, channels, out, 2 if times else 1, i)
        channels = out
    if maps:
        return nn.Sequential(*layers, Center(smashed_shape[1:]), *end(rank, last))
    low = [ceil(side / 2**times) for side in sides]
    layers += [nn.Flatten(), nn.Linear(last * prod(low), prod(smashed_shape)), *rectify]
    return nn.Sequential(*layers, nn.Unflatten(1, tuple(smashed_shape)))


def _dense(d: int, out: Sequence[int], end: Layers) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(d, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, prod(out)), *end,
        nn.Unflatten(1, tuple(out)),
    )  # fmt: skip


def _spread(d: int, channels: int, sides: Sequence[int]) -> Layers:
    return [
        nn.Flatten(), nn.Linear(d, channels * prod(sides)), nn.Unflatten(1, (channels, *sides))
    ]  # fmt: skip


@final
class _Unsigned(nn.Module):
    """The tanh, moved from [-1, 1] to [0, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return (2 * x).sigmoid()
