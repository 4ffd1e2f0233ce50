"""Random channel pruning: the baseline that learned pruning has to beat.

Adversary: any receiver of smashed data, in training and from the deployed client. Which channels
are zero is visible, so the mask is a message too.

Idea: set floor(ratio * C) channels of the smashed data, chosen at random, exactly to 0. For
vectors every feature is a channel.

Symbols: z (B, C, ...), ratio = the fraction of channels removed.

Source: the random baseline of DISCO (Singh et al. 2021) as in its authors' benchmark. As there,
every batch gets a fresh mask, which its examples share. An attacker that sees the same example in
several releases sees other channels each time and can merge them, so pruning hides little from an
attacker that may query often, or that listens for many epochs.

Departures from the benchmark's code:

1. Pruned entries are positive zeros, put in by selection: multiplying by a 0/1 mask would send
   -0.0 for negative entries, and so reveal their signs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, final

import torch
from torch import Tensor

from sltoolkit.contracts.defense import Defense
from sltoolkit.defenses.smashed._channels import per_channel, pruned_count, zero_channels
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.wire.turn import Turn


@final
@dataclass(kw_only=True, eq=False)
class RandomPruning(Defense):
    """A fresh random channel mask per batch."""

    citation: ClassVar[str] = (
        "Singh et al. 2021, DISCO: dynamic and invariant sensitive channel obfuscation for deep "
        "neural networks (CVPR, arXiv:2012.11025), random baseline"
    )
    strength: ClassVar[str] = "ratio"
    post_processes: ClassVar[bool] = True
    per_batch: ClassVar[bool] = True

    ratio: Annotated[float, Parameter("fraction of channels set to 0", least=0, below=1)] = 0.5

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """Zero a fresh random choice of channels."""
        channels = z.shape[1]
        order = torch.randperm(channels, generator=turn.rng.torch(z.device), device=z.device)
        pruned = order < pruned_count(self.ratio, channels)
        return z.masked_fill(per_channel(pruned, z), 0)

    def evidence(self, clean: Tensor, sent: Tensor) -> Mapping[str, float]:
        """`zero_channels`: the fraction of zero channels as sent; `_clean`: before the mask."""
        return {
            **super().evidence(clean, sent),
            "zero_channels": zero_channels(sent),
            "zero_channels_clean": zero_channels(clean),
        }
