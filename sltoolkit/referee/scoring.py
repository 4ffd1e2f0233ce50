"""Scores of outcomes, and of what the prior alone would achieve in their place."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from sltoolkit.contracts.attack import AnyAttack
from sltoolkit.contracts.outcomes import AttributeGuess, LabelGuess, Outcome, Reconstruction
from sltoolkit.data.samples import Samples
from sltoolkit.errors import SpecError
from sltoolkit.metrics import applicable


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


def score(outcome: Outcome, truth: Samples) -> dict[str, Tensor]:
    """Every applicable metric of an outcome: per target (N,), or () for the whole set.

    Raises:
        SpecError: if the outcome doesn't fit the targets, or holds values that are no numbers.
    """
    if isinstance(outcome, Reconstruction):
        kind, got, want = "reconstruction", outcome.images, truth.x
        expected = tuple(want.shape)
    elif isinstance(outcome, LabelGuess):
        kind, got, want = "labels", outcome.scores, truth.y
        expected = (len(want), got.shape[-1])
    elif isinstance(outcome, AttributeGuess):
        kind, got, want = "attribute", outcome.scores, truth.y
        expected = (len(want), got.shape[-1])
    else:
        raise SpecError(f"no metrics for {type(outcome).__name__} yet")
    if tuple(got.shape) != expected:
        raise SpecError(
            f"the attack returned shape {tuple(got.shape)} for targets {expected}: "
            "one row per target is expected"
        )
    if not bool(torch.isfinite(got).all()):
        raise SpecError("the attack diverged: its outcome holds values that are no numbers")
    got = got.to(want.device)
    # features have no bounds
    bounded = got.clamp(0, 1) if kind == "reconstruction" and want.dim() > 2 else got
    shape = tuple(truth.x.shape[1:])
    return {
        m.name: m.function(bounded if m.in_range else got, want).cpu()
        for m in applicable(kind, shape)
    }


def attributed(attack: AnyAttack, samples: Samples) -> Samples:
    """The samples with the attribute that the attack is after in place of their labels."""
    attribute = attack.attribute(samples.y)
    if attribute is None:
        raise SpecError(f"{type(attack).__name__} guesses an attribute and doesn't say of which")
    return replace(samples, y=attribute)


def progress(outcome: Outcome, truth: Samples, batch: int) -> dict[int, dict[str, float]]:
    """Step -> metric -> mean score of what the attack had after so many steps."""
    if not isinstance(outcome, Reconstruction):
        return {}
    stages = {
        step: in_best_order(Reconstruction(images=images), truth.x, batch)
        for step, images in sorted(outcome.trace.items())
    }
    return {step: means(score(stage, truth)) for step, stage in stages.items()}


def means(scores: Mapping[str, Tensor]) -> dict[str, float]:
    """Metric -> mean over the targets."""
    return {metric: float(each.float().mean()) for metric, each in scores.items()}
