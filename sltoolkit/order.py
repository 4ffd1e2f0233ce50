"""The order of reconstructions within a batch, which nobody who hears an update can know."""

from dataclasses import replace

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from sltoolkit.outcomes import Outcome, Reconstruction


def in_best_order(outcome: Outcome, truth: Tensor, batch: int) -> Outcome:
    """Reconstructions, each batch of them in the order with the least squared error to the truth.

    An update tells nothing about the order of its batch, so where targets come in batches, all
    attacks and all baselines are judged like this: one yardstick for all.

    Args:
        outcome: an attack's.
        truth: the targets' inputs, (N, ...).
        batch: targets per batch.
    """
    fits = isinstance(outcome, Reconstruction) and outcome.images.shape == truth.shape
    if batch == 1 or not isinstance(outcome, Reconstruction) or not fits:
        return outcome
    images = outcome.images.to(truth)
    ordered = [
        guess[_best_order(guess, real)]
        for guess, real in zip(images.split(batch), truth.split(batch), strict=True)
    ]
    return replace(outcome, images=torch.cat(ordered))


def _best_order(guess: Tensor, real: Tensor) -> Tensor:
    # as they are scored: features have no bounds
    seen = guess.clamp(0, 1) if guess.dim() > 2 else guess
    errors = (seen[None] - real[:, None]).square().flatten(2).mean(2)
    _, columns = linear_sum_assignment(errors.nan_to_num(nan=1e9, posinf=1e9).cpu().numpy())
    return torch.as_tensor(columns, device=guess.device)
