"""Substitute clients of an attacker that doesn't know the client's architecture, and decoders.

All take the shapes of inputs and smashed data alone: the client's stride is the largest power of
two that fits, and what is left was cut off at the borders by convolutions without padding. So a
pilot's cell lies where the client's does; if it were stretched over the whole image, a decoder
would learn to draw everything too large. And it is given inputs as the client is, in [0, 1] (in the
papers both are given [-1, 1]): moved to [-1, 1], a dark background alone would make its codes many
times as large. Maps (C, H, W), signals (C, L) and vectors (d,) are served alike. Initialization
draws from torch's global generator: call them in a `Stream` scope.
"""

from collections.abc import Callable, Sequence
from math import ceil, prod
from typing import final

from torch import Tensor, nn

from sltoolkit.networks.layers import Center, check_shape, doubling, halvings, mixing, normalizing

Activation = Callable[[], nn.Module]
Layers = list[nn.Module]

DENSE_HALVINGS = 2
"""How often sides are halved on the way to or from smashed data that have none."""

DENSE_WIDTH = 64
"""Channels next to such smashed data."""

NARROWEST = 8
"""Channels that no layer of a pilot goes below, however few the client sends."""

HIDDEN = 256
"""Units of the hidden layers between feature vectors and smashed data."""


def strided_substitute(
    input_shape: Sequence[int],
    smashed_shape: Sequence[int],
    *,
    activation: Activation | None = None,
    signed: bool = True,
) -> nn.Module:
    """FSHA's pilot: a strided convolution per halving, each with twice the channels, and one more.

    Pasquini et al. 2021: linear for reconstruction, with activations for property inference.

    Args:
        input_shape: of one input.
        smashed_shape: of one sample's smashed data.
        activation: after every layer but the last; none by default.
        signed: false ends it in a ReLU, for clients whose smashed data are never negative.

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

    Per halving a stage of convolutions and a pooling: two convolutions in the first two stages,
    three in the others (Simonyan and Zisserman 2015).

    Args:
        input_shape: of one input.
        smashed_shape: of one sample's smashed data.
        signed: true appends a plain convolution, for clients whose smashed data can be negative.

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
    """FSHA's and FORA's decoder: transposed convolutions, each with half the channels.

    A plain convolution follows; of more than two doublings FSHA's decoder leaves it out. Images
    end in a sigmoid, which is the papers' tanh moved to [0, 1]; others in nothing.

    Args:
        smashed_shape: of one sample.
        input_shape: of one input.
        width: channels after the first transposed convolution.
        normed: as FORA has it, with BatchNorm and LeakyReLU; FSHA's is linear up to the last.

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
    """The end of a U-shaped network as most have it: a linear layer, of maps pooled to 4 x 4."""
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
    """The tanh in [-1, 1], moved to [0, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return (2 * x).sigmoid()
