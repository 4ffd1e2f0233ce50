"""What reconstructions are trained to minimize: losses with a gradient, one number per target.

An attack is judged by its task's primary metric (`registry.primary`), so it should minimize that
metric's loss. SSIM's loss is 1 - SSIM, with the window, constants and borders of `image.ssim`, but
in the images' own precision and with a gradient.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from sltoolkit.metrics.image import SSIM_C1, SSIM_C2, SSIM_MIN_SIDE, band
from sltoolkit.metrics.registry import METRICS, primary
from sltoolkit.shapes import Batch, Images, PerTarget

Objective = Literal["both", "mse", "ssim"]
"""What a reconstruction minimizes: `mse`, `ssim` (1 - SSIM), or `both` (their sum)."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""From guesses and inputs, each (N, ...), to one loss per target, (N,)."""


def squared_error(guess: Batch, x: Batch) -> PerTarget:
    """Mean squared error per target, (N,), of guesses and inputs (N, ...)."""
    return (guess - x).square().flatten(1).mean(1)


def dissimilarity(guess: Images, x: Images) -> PerTarget:
    """1 - SSIM per target, (N,), of guesses and inputs (N, C, H, W) with sides of at least 11.

    Both filters of the separable window are products with a banded matrix.
    """
    n, channels, h, w = x.shape
    down, across = (_band(side, x.dtype, x.device) for side in (h, w))
    u, v = guess + x, guess - x
    maps = torch.stack([u, v, u * u, v * v]).reshape(4, n * channels, h, w)
    mean_u, mean_v, square_u, square_v = (down @ maps @ across.T).unbind(0)
    mu2, mv2 = mean_u.square(), mean_v.square()
    var_u, var_v = square_u - mu2, square_v - mv2
    likeness = ((mu2 - mv2 + 2 * SSIM_C1) / (mu2 + mv2 + 2 * SSIM_C1)) * (
        (var_u - var_v + 2 * SSIM_C2) / (var_u + var_v + 2 * SSIM_C2)
    )
    return 1 - likeness.reshape(n, -1).mean(1)


def both(guess: Images, x: Images) -> PerTarget:
    """MSE + (1 - SSIM) per target, (N,), of guesses and inputs (N, C, H, W)."""
    return squared_error(guess, x) + dissimilarity(guess, x)


LOSSES: Mapping[Objective, Loss] = {"both": both, "mse": squared_error, "ssim": dissimilarity}
"""Losses by the name of the objective."""


def objectives(shape: tuple[int, ...]) -> tuple[Objective, ...]:
    """The objectives that make sense for inputs of a shape, the best guess first.

    Where SSIM is the primary metric, these are all; elsewhere (signals, features, images with a
    side of less than 11 pixels) it is the squared error.

    Args:
        shape: the shape of one input, without the batch.
    """
    return ("both", "mse", "ssim") if primary("reconstruction", shape).name == "ssim" else ("mse",)


def reconstruction_error(guess: Batch, x: Batch) -> PerTarget:
    """What the primary metric of reconstructions says, as an error per target (smaller is better).

    Args:
        guess: what an attack recovered of its own samples, (N, ...); images are clamped to [0, 1],
            as the referee does.
        x: these samples, (N, ...).

    Returns:
        (N,) float64: 1 - SSIM for images, the mean squared error for other inputs.
    """
    metric = primary("reconstruction", tuple(x.shape[1:]))
    if metric.name != "ssim":
        return METRICS["mse"].function(guess, x)
    return 1 - metric.function(guess.clamp(0, 1), x)


@cache
def _band(side: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(side - 10, side): the window slid along a side."""
    return band(side - SSIM_MIN_SIDE + 1, device).to(dtype)
