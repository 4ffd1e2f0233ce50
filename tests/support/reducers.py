"""Reducers for tests."""

import torch
from torch import Tensor

from sltoolkit.wire.codec import Reducer


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def through(reducer: Reducer, t: Tensor, *, per_sample: bool = True) -> Tensor:
    return reducer.unpack(reducer.pack(t, per_sample=per_sample))
