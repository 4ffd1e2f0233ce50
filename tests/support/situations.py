"""Marks and helpers for tests of users' situations that are not handled yet."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sltoolkit as sl
from sltoolkit.errors import SLToolkitError


def open_fault(reason: str) -> pytest.MarkDecorator:
    """Mark a test of the right behavior, which fails until the fault is fixed.

    Only a failed assertion counts as the fault; any other error fails the test.
    """
    return pytest.mark.xfail(strict=True, raises=AssertionError, reason=reason)


def fault(reason: str, *values: Any, id: str) -> Any:
    """One open fault among the parameters of a test."""
    return pytest.param(*values, id=id, marks=open_fault(reason))


def refusal_of(action: Callable[[], object]) -> str:
    """The message with which the toolkit refuses a request; empty if it accepts it.

    Raises:
        AssertionError: if an error comes from inside another library.
    """
    try:
        action()
    except SLToolkitError as e:
        return str(e)
    except Exception as e:
        raise AssertionError(f"{type(e).__name__} from inside: {e}") from e
    return ""


def made_up(n: int = 300, classes: int = 2, shape: tuple[int, ...] = (1, 8, 8)) -> sl.data.Pool:
    """Random samples with alternating labels."""
    x = np.random.default_rng(0).random((n, *shape), dtype=np.float32)
    return sl.data.from_arrays(x, np.arange(n) % classes)


def parted(pool: sl.data.Pool | None = None) -> sl.data.Split:
    """A small split of a pool; of `made_up()` by default."""
    return sl.data.split(pool or made_up(), train=128, holdout=40, aux=64)


def perceptron(*, classes: int = 2, width: int = 8) -> nn.Sequential:
    """A perceptron for 8x8 images: hidden layer, ReLU, logits; always with the same weights."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, classes))


class AttentionAcrossTokens(nn.Module):
    """Eight rows of an 8x8 image as tokens that attend to each other."""

    def __init__(self, *, width: int = 8, batch_first: bool = True) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.attend = nn.TransformerEncoderLayer(
            width, 2, 2 * width, dropout=0.0, batch_first=batch_first
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.attend(self.embed(x.squeeze(1)))
        return out
