"""What each cut of a model means: the size of the smashed data and the client's share."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import prod
from typing import final

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sltoolkit.errors import SpecError
from sltoolkit.models.cut import cut, cut_points
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True)
class CutProfile:
    """Facts of one cut, for one sample in evaluation mode.

    Attributes:
        at: the cut's name.
        shape: the shape of one sample's smashed data, without the batch axis.
        parameters: number of the client's parameters.
        parameter_share: the client's share of all parameters, in [0, 1].
        flops: FLOPs of the client's forward pass: 2 per multiply-add of convolutions and matrix
            products; element-wise operations, normalization and pooling are not counted.
        flop_share: the client's share of the FLOPs of the forward pass, in [0, 1].
    """

    at: str
    shape: tuple[int, ...]
    parameters: int
    parameter_share: float
    flops: int
    flop_share: float

    @property
    def numbers(self) -> int:
        """How many numbers cross the cut per sample."""
        return prod(self.shape)


def profile_cuts(module: nn.Module, shape: Sequence[int]) -> list[CutProfile]:
    """The facts of every cut that one tensor crosses, in order of execution.

    A copy of the model runs forward on one sample of zeros, part after part; the model itself, its
    buffers, flags and all random generators stay as they are.

    Args:
        module: the model.
        shape: the shape of one input, without the batch axis.

    Raises:
        SpecError: if the model can't be cut anywhere, or takes no input of that shape.
    """
    replica = deepcopy(module).eval()
    names = cut_points(replica)
    if not names:
        raise SpecError(f"{type(module).__name__} can't be cut anywhere")
    *parts, last = cut(replica, names)
    like = next(replica.parameters(), torch.zeros(()))
    value = torch.zeros(1, *shape, dtype=like.dtype, device=like.device)
    crossed: list[tuple[Tensor, int]] = []
    try:
        with Stream(0).scope(), torch.no_grad(), FlopCounterMode(display=False) as counter:
            for part in parts:
                value = part(value)
                crossed.append((value, counter.get_total_flops()))
            last(value)
    except (RuntimeError, ValueError) as error:
        raise SpecError(f"the model takes no input of shape {tuple(shape)}: {error}") from error
    counts = _running_counts(parts)
    all_parameters = sum(p.numel() for p in replica.parameters())
    all_flops = counter.get_total_flops()
    return [
        CutProfile(
            at=name,
            shape=tuple(smashed.shape[1:]),
            parameters=count,
            parameter_share=count / max(all_parameters, 1),
            flops=flops,
            flop_share=flops / max(all_flops, 1),
        )
        for name, (smashed, flops), count in zip(names, crossed, counts, strict=True)
        if isinstance(smashed, Tensor)
    ]


def _running_counts(parts: Sequence[nn.Module]) -> list[int]:
    """The number of parameters up to and including each part."""
    total = 0
    counts = []
    for part in parts:
        total += sum(p.numel() for p in part.parameters())
        counts.append(total)
    return counts
