"""The inverse network, which maps smashed data back to inputs.

The decoder attack, listeners, the prior-only baseline that is trained on shuffled pairs, and
defenses that train against a decoder of their own share it.
"""

from collections import OrderedDict
from collections.abc import Sequence
from math import ceil, prod

import torch
from torch import Tensor, nn

from sltoolkit.errors import lookup
from sltoolkit.networks.decoders import FAMILIES
from sltoolkit.networks.layers import Center, check_shape, halvings


def inverse_network(
    smashed_shape: Sequence[int],
    image_shape: Sequence[int],
    *,
    family: str = "mirror",
    blocks: int = 1,
    width: int = 16,
    mean: Tensor | None = None,
    scaled: bool = True,
) -> nn.Module:
    """A decoder for a client of any depth; the initialization draws from the scope's generator.

    It takes the client's stride to be the largest power of two that fits, pads what convolutions
    without padding cut off (so that cells keep their place), and leaves the rest to the family.
    If smashed data are a vector, or have another rank than the input, they are flattened, and a
    dense layer spreads them over a map whose sides are a quarter of the input's. A learned offset
    per pixel lets the network express the mean image. Without it, convolutions (which know no
    position) would read the position off the smashed data; then even a network that is trained on
    shuffled pairs would beat the mean image. A sigmoid comes last. Feature vectors are decoded by
    dense layers, whatever the family, and without bounds.

    Args:
        smashed_shape: the shape of one target's smashed data, (C, H, W), (C, L) or (d,).
        image_shape: the shape of one input, (C, H, W) or (C, L) in [0, 1], or (d,) of any range.
        family: one of `FAMILIES`: `mirror`, `conv_norm` or `res_norm`.
        blocks: the family's N: blocks besides those that change the resolution.
        width: the family's C: channels at full resolution.
        mean: the input that the network starts from; by default 1/2 for images and signals, and the
            random initialization for features.
        scaled: whether smashed data are first put on one scale per channel (or unit). Use false if
            the network learns from smashed data of a substitute: a channel that doesn't vary there
            would be blown up.

    Raises:
        SpecError: for another shape or an unknown family.
    """
    build = lookup(FAMILIES, family, "decoder family")
    check_shape(smashed_shape, "what an inverse network takes")
    check_shape(image_shape, "what an inverse network returns")
    if len(image_shape) == 1:
        return _features(
            prod(smashed_shape), image_shape[0], hidden=16 * width, mean=mean, scaled=scaled
        )
    rank, (channels, *size) = len(image_shape), image_shape
    alike = len(smashed_shape) == rank
    doublings = halvings(size, smashed_shape[1:]) if alike else 2
    low = [ceil(side / 2**doublings) for side in size]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if alike:
        entering = smashed_shape[0]
        layers["scale"] = _scale(rank, entering) if scaled else nn.Identity()
        layers["fit"] = Center(low)
    else:
        entering = width * 2**doublings
        layers["spread"] = _spread(prod(smashed_shape), entering, low, scaled=scaled)
    layers.update(build(rank, entering, channels, doublings, blocks, width))
    layers["crop"] = Center(size)
    start = torch.full(tuple(image_shape), 0.5) if mean is None else mean
    layers["offset"] = _Offset(start.logit(eps=1e-3))
    layers["range"] = nn.Sigmoid()
    network = nn.Sequential(layers)
    if rank == 3:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _scale(rank: int, channels: int) -> nn.Module:
    return (nn.BatchNorm2d if rank == 3 else nn.BatchNorm1d)(channels, affine=False)


def _spread(d: int, channels: int, size: Sequence[int], *, scaled: bool) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        _scale(1, d) if scaled else nn.Identity(),
        nn.Linear(d, channels * prod(size)),
        nn.ReLU(),
        nn.Unflatten(1, (channels, *size)),
    )


def _features(
    d: int, out: int, *, hidden: int, mean: Tensor | None, scaled: bool
) -> nn.Module:  # fmt: skip
    last = nn.Linear(hidden, out)
    if mean is not None:
        last.bias.data.copy_(mean)
    return nn.Sequential(
        nn.Flatten(), _scale(1, d) if scaled else nn.Identity(), nn.Linear(d, hidden), nn.ReLU(),
        nn.Linear(hidden, hidden), nn.ReLU(), last,
    )  # fmt: skip


class _Offset(nn.Module):
    """Adds a learned offset to every output's logit."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.start = nn.Parameter(start.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.start
