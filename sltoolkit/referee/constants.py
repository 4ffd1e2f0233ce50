"""The best constant guess for a metric: one for all targets, or one for the targets of a class.

The mean of the attacker's samples is the best constant guess for the squared error and for no other
metric: a mean image is too smooth for SSIM. For any other metric, the guess is optimized on the
attacker's samples (aux), so that a gain isn't overstated.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sltoolkit.data.samples import Samples
from sltoolkit.metrics.losses import dissimilarity
from sltoolkit.metrics.registry import Metric
from sltoolkit.streams import Stream

STEPS = 60
"""Steps of Adam, at a rate that falls to zero along a cosine."""

LR = 0.1
"""The initial rate: images lie in [0, 1]."""

MOST = 1024
"""How many of the attacker's samples, drawn at random, the guesses are optimized on, at most."""


def optimized(metric: Metric) -> bool:
    """Whether the best constant guess for a metric isn't the mean."""
    return metric.name != "mse"


def best_constant(aux: Samples, metric: Metric, *, bounded: bool) -> Tensor:
    """The guess (1, ...) that does best on aux by a metric, one and the same for all samples.

    Args:
        aux: the attacker's samples.
        metric: a metric of reconstructions.
        bounded: whether inputs lie in [0, 1], as images and signals do.
    """
    alike = torch.zeros(len(aux), dtype=torch.int64, device=aux.x.device)
    return _optimized(aux.x, alike, aux.x.mean(0, keepdim=True), metric, bounded)


def best_class_constants(aux: Samples, means: Tensor, metric: Metric, *, bounded: bool) -> Tensor:
    """The guess per class, (classes, ...), that does best on aux by a metric.

    Args:
        aux: the attacker's samples.
        means: where the guesses start, (classes, ...); a class without samples stays there.
        metric: a metric of reconstructions.
        bounded: whether inputs lie in [0, 1].
    """
    return _optimized(aux.x, aux.y, means, metric, bounded)


def _optimized(x: Tensor, kinds: Tensor, start: Tensor, metric: Metric, bounded: bool) -> Tensor:
    """The guesses per kind (K, ...) with the least loss on samples x (N, ...) of kinds (N,)."""
    order = torch.randperm(len(x), generator=Stream(0).fresh("constants").torch())
    rows, loss = order[:MOST].to(x.device), _loss(metric)
    x, kinds = x[rows], kinds[rows]
    scale = 1.0 if bounded else float(x.std().clamp(min=1e-3))
    guess = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([guess], lr=LR * scale)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    best, least = start, math.inf
    for step in range(STEPS + 1):
        reached = loss(guess[kinds], x).mean()
        if (
            now := float(reached.detach())
        ) < least:  # not every step is downhill: PSNR is steep near an exact guess
            best, least = guess.detach().clone(), now
        if step < STEPS:
            optimizer.zero_grad(set_to_none=True)
            reached.backward()
            optimizer.step()
            schedule.step()
            if bounded:
                with torch.no_grad():
                    guess.clamp_(0, 1)
    return best


def _loss(metric: Metric) -> Callable[[Tensor, Tensor], Tensor]:
    """A metric as a loss with a gradient, per target."""
    if metric.name == "ssim":
        return dissimilarity
    sign = -1.0 if metric.higher_is_more_leak else 1.0
    return lambda guess, x: sign * metric.function(guess, x)
