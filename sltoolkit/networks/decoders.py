"""The decoder families: networks from a map at low resolution to one at an image's resolution.

A family is a function of (rank, channels that enter, channels that leave, doublings of the
resolution, blocks N, channels C). The rank is 3 for maps (C, H, W) and 2 for signals (C, L).
"""

from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor, nn

from sltoolkit.networks.layers import doubling, mixing, normalizing

Body = OrderedDict[str, nn.Module]
Family = Callable[[int, int, int, int, int, int], Body]


def mirror(rank: int, entering: int, out: int, doublings: int, blocks: int, width: int) -> Body:
    """The mirror image of a convolutional client (He, Zhang and Lee 2019).

    It has C channels at full resolution, and twice as many at each lower one. The resolution
    doubles by moving channels into space. `blocks` further convolutions come before the last one;
    the paper has one of them.
    """
    wide = width * 2**doublings
    layers: Body = OrderedDict(enter=_convolution(rank, entering, wide))
    for stage in range(doublings):
        wide //= 2
        layers[f"double{stage}"] = nn.Sequential(
            _convolution(rank, 2 * wide, wide * 2 ** (rank - 1)), _into_space(rank)
        )
    for number in range(blocks):
        layers[f"refine{number or ''}"] = _convolution(rank, wide, wide)
    layers["leave"] = mixing(rank, wide, out)
    return layers


def conv_norm(rank: int, entering: int, out: int, doublings: int, blocks: int, width: int) -> Body:
    """`conv_normN{N}C{C}` of Li et al. 2022 (ResSFL): N convolutions, all with C channels."""
    return _plain(rank, entering, out, doublings, blocks, width, _convolution)


def res_norm(rank: int, entering: int, out: int, doublings: int, blocks: int, width: int) -> Body:
    """`res_normN{N}C{C}` of Li et al. 2022 (ResSFL): N residual blocks, all with C channels."""

    def block(rank: int, channels: int, wide: int) -> nn.Module:
        return nn.Sequential(Residual(rank, channels, wide), nn.ReLU())

    return _plain(rank, entering, out, doublings, blocks, width, block)


FAMILIES: dict[str, Family] = {"mirror": mirror, "conv_norm": conv_norm, "res_norm": res_norm}


def _plain(
    rank: int, entering: int, out: int, doublings: int, blocks: int, width: int,
    block: Callable[[int, int, int], nn.Module],
) -> Body:  # fmt: skip
    layers: Body = OrderedDict(enter=block(rank, entering, width))
    for number in range(blocks):
        layers[f"block{number}"] = block(rank, width, width)
    for stage in range(doublings):
        layers[f"double{stage}"] = _doubling(rank, width)
    for number in range(doublings, 2):  # the code has two layers here even without a doubling
        layers[f"refine{number}"] = block(rank, width, width)
    layers["leave"] = mixing(rank, width, out)
    layers["norm"] = normalizing(rank, out)
    return layers


class Residual(nn.Module):
    """A residual block: two convolutions, each after normalization and a ReLU."""

    def __init__(self, rank: int, channels: int, out: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            normalizing(rank, channels), nn.ReLU(), mixing(rank, channels, out),
            normalizing(rank, out), nn.ReLU(), mixing(rank, out, out),
        )  # fmt: skip
        self.shortcut: nn.Module = nn.Identity()
        if channels != out:
            project = nn.Conv1d if rank == 2 else nn.Conv2d
            self.shortcut = nn.Sequential(
                project(channels, out, 1, bias=False), normalizing(rank, out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, ...) to (B, out, ...)."""
        out: Tensor = self.main(x) + self.shortcut(x)
        return out


def _convolution(rank: int, channels: int, out: int) -> nn.Module:
    return nn.Sequential(mixing(rank, channels, out, bias=False), normalizing(rank, out), nn.ReLU())


def _doubling(rank: int, width: int) -> nn.Module:
    return nn.Sequential(doubling(rank, width, width), normalizing(rank, width), nn.ReLU())


def _into_space(rank: int) -> nn.Module:
    return nn.PixelShuffle(2) if rank == 3 else _Interleave()


class _Interleave(nn.Module):
    """Pairs of channels become neighbors: (B, 2C, L) to (B, C, 2L)."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x.unflatten(1, (-1, 2)).transpose(2, 3).flatten(2)
        return out
