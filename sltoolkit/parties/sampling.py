"""How a party draws its batches."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sltoolkit.streams import Stream


class Sampler(ABC):
    """Draws batches of a party's samples."""

    @abstractmethod
    def batches(self, n: int, rng: Stream) -> Iterator[Tensor]:
        """One epoch over `n` samples: index batches, (B,) int64 each; a batch may be empty."""


@final
@dataclass(frozen=True, kw_only=True)
class Shuffled(Sampler):
    """Every sample once per epoch in a fresh order; the last batch may be smaller."""

    batch_size: int

    def batches(self, n: int, rng: Stream) -> Iterator[Tensor]:
        """One epoch over `n` samples, in the order of one permutation."""
        yield from torch.randperm(n, generator=rng.torch()).split(self.batch_size)
