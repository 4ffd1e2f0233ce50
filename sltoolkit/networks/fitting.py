"""How an inverse network learns from pairs of smashed data and inputs, and for how long.

The decoder attack, listeners, and the prior-only baseline that is trained on shuffled pairs share
it. The length is counted in steps: a few samples need as many steps as many samples do, but far
more passes over the data. Held-out pairs say when to stop. Where there are too few samples to hold
some out, cross-validation finds the length, and then the network learns from all of them.
"""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from sltoolkit.progress import advance, part

CHECKS = 40
"""How often a network's error on held-out pairs is measured while it learns."""

PATIENCE = 12
"""After how many checks without a smaller error the learning stops."""

FOLDS = 4
"""How many networks a cross-validation trains, each without its own fold of the samples."""

BATCH = 64
"""Pairs per step, if nothing else is said."""

Draw = Callable[[Tensor], Tensor]
"""From the numbers of samples, (B,), to their smashed data, (B, ...), with noise drawn anew."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""From reconstructions and inputs, each (B, ...), to a loss per sample, (B,)."""


@final
@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a network learns: by Adam, at a rate that falls to zero along a cosine.

    Attributes:
        steps: the number of steps.
        loss: what it minimizes.
        lr: the initial learning rate.
        batch_size: pairs per step.
    """

    steps: int
    loss: Loss
    lr: float = 1e-2
    batch_size: int = BATCH

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        return self.lr * (1 + math.cos(math.pi * step / self.steps)) / 2


@final
class HeldOut:
    """Pairs that a network doesn't learn from, and its errors on them while it learns.

    Args:
        z: smashed data, (N, ...).
        x: the inputs that they came from, (N, ...).
        y: labels, (N,), for a network that takes them.
        loss: what the network minimizes.
        patience: after how many checks without a smaller error the learning stops.

    Attributes:
        errors: number of steps -> the mean loss on the pairs.
    """

    def __init__(
        self, z: Tensor, x: Tensor, y: Tensor | None, loss: Loss, *, patience: int = PATIENCE
    ) -> None:
        self._pairs, self._loss, self._patience = (z, x, y), loss, patience
        self._kept: dict[str, Tensor] | None = None
        self.errors: dict[int, float] = {}

    def check(self, network: nn.Module, steps: int) -> bool:
        """Measure the network after some steps, keep it if it is the best, and say if to go on."""
        error = inverse_error(network, *self._pairs, loss=self._loss)
        if error < min(self.errors.values(), default=math.inf):
            self._kept = deepcopy(network.state_dict())
        self.errors[steps] = error
        return len(self.errors) - 1 - list(self.errors).index(self.best) < self._patience

    @property
    def best(self) -> int:
        """The number of steps with the smallest error."""
        return min(self.errors, key=self.errors.__getitem__)

    def restore(self, network: nn.Module) -> None:
        """Put the network back to where it did best."""
        if self._kept is not None:
            network.load_state_dict(self._kept)


def fit_inverse(
    network: nn.Module, draw: Draw, x: Tensor, *, how: Fit, y: Tensor | None = None,
    held_out: HeldOut | None = None, until: int | None = None,
) -> nn.Module:  # fmt: skip
    """Train a network to reconstruct inputs from their smashed data.

    The order of the batches is drawn from torch's global generator: call this in a `Stream` scope.

    Args:
        network: the network, which is trained in place.
        draw: the smashed data of all samples, drawn anew in each pass over them (noise that is the
            same in every pass would be learned by heart).
        x: the inputs that the smashed data came from, (N, ...).
        how: length, rate, batches and loss.
        y: labels, (N,), for a network that takes them as a second input.
        held_out: further pairs. The step that does best on them is kept, and the training stops
            early if that was long ago.
        until: the number of steps after which it ends; by default all of `how`.

    Returns:
        The network, in evaluation mode.
    """
    optimizer = torch.optim.Adam(network.parameters(), lr=how.lr)
    every, last = max(1, how.steps // CHECKS), how.steps if until is None else until
    everything, step = torch.arange(len(x), device=x.device), 0
    while step < last:
        sent = draw(everything)
        for batch in _batches(x, how.batch_size):
            if step >= last:
                break
            optimizer.param_groups[0]["lr"] = how.rate(step)
            network.train()
            _step(network, optimizer, how.loss, sent[batch], x[batch], _rows(y, batch))
            step += 1
            due = held_out is not None and (step % every == 0 or step == last)
            if held_out is not None and due and not held_out.check(network, step):
                last = step
        advance(step, last)
    if held_out is not None:
        held_out.restore(network)
    return network.eval()


def cross_validated(
    build: Callable[[], nn.Module], draw: Draw, x: Tensor, *, how: Fit, y: Tensor | None = None
) -> dict[int, float]:
    """Errors on samples that a network hasn't learned from, by its number of steps.

    `FOLDS` networks learn, each from all samples but those of its own fold. The folds are drawn
    from torch's global generator.

    Args:
        build: makes a fresh network.
        draw: the smashed data of some samples, drawn anew.
        x: the inputs, (N, ...), N at least 3.
        how: length, rate, batches and loss.
        y: labels, (N,), for networks that take them.

    Returns:
        Number of steps -> the mean loss over all samples, for the checks that every network made.
    """
    order = torch.randperm(len(x)).to(x.device)
    folds = order.tensor_split(min(FOLDS, len(x)))
    curves = []
    for number, fold in enumerate(folds):
        rest = torch.cat([other for other in folds if other is not fold])
        held = HeldOut(draw(fold), x[fold], _rows(y, fold), how.loss)
        with part(1 / (len(folds) - number + 1)):
            fit_inverse(
                build(), lambda rows, rest=rest: draw(rest[rows]),  # type: ignore[misc]
                x[rest], how=how, y=_rows(y, rest), held_out=held,
            )  # fmt: skip
        curves.append({step: error * len(fold) / len(x) for step, error in held.errors.items()})
    common = set.intersection(*(set(curve) for curve in curves))
    return {step: sum(curve[step] for curve in curves) for step in sorted(common)}


def decode(network: nn.Module, z: Tensor, y: Tensor | None = None, *, chunk: int = 256) -> Tensor:
    """Reconstructions (N, ...) of smashed data (N, ...), in evaluation mode, without a graph.

    Args:
        network: takes smashed data, or smashed data and labels.
        z: smashed data.
        y: labels (N,), for a network that takes them.
        chunk: targets per pass, for memory.
    """
    network.eval()
    given = (z,) if y is None else (z, y)
    with torch.no_grad():
        parts = zip(*(g.split(chunk) for g in given), strict=True)
        return torch.cat([network(*part) for part in parts])


def inverse_error(
    network: nn.Module, z: Tensor, x: Tensor, y: Tensor | None = None, *, loss: Loss
) -> float:
    """The mean loss of the network's reconstructions of z (N, ...) on x (N, ...)."""
    return float(loss(decode(network, z, y), x).mean())


def _step(
    network: nn.Module, optimizer: torch.optim.Optimizer, loss: Loss, z: Tensor, x: Tensor,
    y: Tensor | None,
) -> None:  # fmt: skip
    given = (z,) if y is None else (z, y)
    error = loss(network(*given), x).mean()
    optimizer.zero_grad(set_to_none=True)
    error.backward()
    optimizer.step()


def _rows(y: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if y is None else y[rows]


def _batches(x: Tensor, size: int) -> list[Tensor]:
    # a last batch of one would have no variance for BatchNorm to divide by
    parts = list(torch.randperm(len(x)).to(x.device).split(size))
    return parts[:-1] if len(parts) > 1 and len(parts[-1]) == 1 else parts
