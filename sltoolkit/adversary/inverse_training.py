"""How an attacker trains an inverse network on its own samples, and for how long.

The decoder attack, the white box that starts from a decoder, and the prior-only baseline that is
trained on shuffled pairs do it alike, so that the baseline is what the attack would be if smashed
data said nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from sltoolkit.contracts.defense import Task
from sltoolkit.networks.conditioning import Conditioned, LabelChannel
from sltoolkit.networks.fitting import PATIENCE, Draw, Fit, HeldOut, cross_validated, fit_inverse
from sltoolkit.networks.inverse import inverse_network

FEWEST_STEPS = 1500
"""The steps that even a few samples need."""

PASSES = 30
"""The passes over many samples that a decoder needs (10 understate what NoPeek leaks)."""

LR = 3e-3
"""The initial learning rate."""

HELD_OUT = 0.1
"""The share of samples that chooses the number of steps."""

FEWEST_SAMPLES = 3
"""An inverse network learns from two samples, and one chooses the length."""

FEWEST_TO_REHEARSE = 2 * FEWEST_SAMPLES
"""A rehearsal takes up to half of the samples."""

FEW = 100
"""Below this number of samples, cross-validation chooses the length instead of held-out samples."""


@final
@dataclass(frozen=True, kw_only=True)
class Inverse:
    """Which inverse network to train; the fields are those of `networks.inverse.inverse_network`.

    Attributes:
        design: the family, one of `networks.decoders.FAMILIES`.
        blocks: the family's N.
        width: the family's C.
    """

    design: str = "mirror"
    blocks: int = 1
    width: int = 16

    def network(self, task: Task, *, labels: bool, mean: Tensor | None) -> nn.Module:
        """A fresh network from smashed data (and labels, if they are seen) to inputs."""
        shape = task.smashed_shape
        channel = LabelChannel(shape, task.classes) if labels else None
        body = inverse_network(
            shape if channel is None else channel.out, task.input_shape,
            family=self.design, blocks=self.blocks, width=self.width, mean=mean,
        )  # fmt: skip
        return body if channel is None else Conditioned(channel, body)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """An attacker's own samples, and how they are released.

    Attributes:
        x: the samples, (N, ...).
        y: their labels, (N,), if the network takes labels.
        draw: the smashed data of some of them, drawn anew.
    """

    x: Tensor
    y: Tensor | None
    draw: Draw


def steps_for(samples: int, batch_size: int) -> int:
    """How many steps a decoder needs that learns from so many samples."""
    return max(FEWEST_STEPS, PASSES * math.ceil(samples / batch_size))


def trained_inverse(
    build: Callable[[], nn.Module], pairs: Pairs, *, how: Fit, held_out: float
) -> tuple[nn.Module, float]:
    """An inverse network that learned for as long as samples that it didn't learn from improved.

    With at least `FEW` samples, a share is held out. With fewer, cross-validation finds the length,
    and the network learns from all samples. Initialization and batches are drawn from torch's
    global generator: call this in a `Stream` scope.

    Args:
        build: makes a fresh network.
        pairs: at least `FEWEST_SAMPLES` samples.
        how: length, rate, batches and loss.
        held_out: the share that chooses the length; 0: nothing does, and all steps are made.

    Returns:
        The network, in evaluation mode, and its mean loss on samples that it didn't learn from (for
        a cross-validation that of its sisters; NaN if nothing chooses the length).
    """
    x, y = pairs.x, pairs.y
    if held_out == 0:
        return fit_inverse(build().to(x.device), pairs.draw, x, how=how, y=y), math.nan
    if len(x) < FEW:
        errors = cross_validated(lambda: build().to(x.device), pairs.draw, x, how=how, y=y)
        best = min(errors, key=errors.__getitem__)
        network = build().to(x.device)
        return fit_inverse(network, pairs.draw, x, how=how, y=y, until=best), errors[best]
    return held_out_inverse(build, pairs, how=how, held_out=held_out)


def held_out_inverse(
    build: Callable[[], nn.Module], pairs: Pairs, *, how: Fit, held_out: float,
    patience: int = PATIENCE,
) -> tuple[nn.Module, float]:  # fmt: skip
    """As `trained_inverse`, with a share held out however few samples there are."""
    x, y = pairs.x, pairs.y
    kept = min(max(1, round(held_out * len(x))), len(x) - 2)  # two are the fewest for BatchNorm
    order = torch.randperm(len(x)).to(x.device)
    own, check = order[kept:], order[:kept]
    held = HeldOut(
        pairs.draw(check), x[check], None if y is None else y[check], how.loss, patience=patience
    )
    network = fit_inverse(
        build().to(x.device), lambda rows: pairs.draw(own[rows]), x[own], how=how,
        y=None if y is None else y[own], held_out=held,
    )  # fmt: skip
    return network, held.errors[held.best]
