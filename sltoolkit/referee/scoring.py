"""Scoring: how close an outcome comes to the truth, as pure functions of the two."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import final

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from sltoolkit.contracts.outcomes import AttributeGuess, LabelGuess, Outcome, Reconstruction
from sltoolkit.errors import SpecError
from sltoolkit.metrics import KINDS, METRICS, applicable
from sltoolkit.referee.truth import Truth
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """An outcome and its scores.

    Attributes:
        outcome: the outcome as it was scored, with reconstructions in the best order of each batch.
        scores: metric -> one number per target, (N,), or () for a metric of the whole set.
    """

    outcome: Outcome
    scores: Mapping[str, Tensor]

    @property
    def listed(self) -> dict[str, list[float]]:
        """Metric -> one number per target, or one alone for a metric of the whole set."""
        return {metric: each.float().flatten().tolist() for metric, each in self.scores.items()}

    @property
    def means(self) -> dict[str, float]:
        """Metric -> mean over the targets."""
        return {metric: float(each.float().mean()) for metric, each in self.scores.items()}


def score(outcome: Outcome, truth: Truth) -> Scored:
    """Score an outcome by every applicable metric, its stolen model and its label guess included.

    An update doesn't tell the order of the samples in its batch. If targets come in batches,
    reconstructions (baselines included) are therefore scored in the order within each batch that
    has the least squared error.

    Raises:
        SpecError: if the outcome doesn't fit the targets, or holds values that are not finite.
    """
    ordered = _in_best_order(outcome, truth)
    scores = _scores(ordered, truth)
    if outcome.model is not None and truth.held_out is not None:
        held = truth.held_out
        (metric,) = KINDS["model"]
        logits = _logits(outcome.model, held.x).to(held.y.device)
        scores[metric] = METRICS[metric].function(logits, held.y).cpu()
    if outcome.guess is not None:
        guess = outcome.guess.to(truth.y.device)
        scores["label_accuracy"] = METRICS["label_accuracy"].function(guess, truth.y).cpu()
    return Scored(outcome=ordered, scores=scores)


def progress(outcome: Outcome, truth: Truth) -> dict[int, dict[str, float]]:
    """Step -> metric -> mean score of what the attack had after that step."""
    if not isinstance(outcome, Reconstruction):
        return {}
    return {
        step: score(Reconstruction(images=images), truth).means
        for step, images in sorted(outcome.trace.items())
    }


def _scores(outcome: Outcome, truth: Truth) -> dict[str, Tensor]:
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
    bounded = _in_range(got) if kind == "reconstruction" else got
    return {
        m.name: m.function(bounded if m.in_range else got, want).cpu()
        for m in applicable(kind, tuple(truth.x.shape[1:]))
    }


def _in_range(images: Tensor) -> Tensor:
    """Images and signals clamped to [0, 1]; features stay as they are, since they have no range."""
    return images.clamp(0, 1) if images.dim() > 2 else images


def _in_best_order(outcome: Outcome, truth: Truth) -> Outcome:
    """The outcome with its images in the order within each batch of least squared error."""
    if truth.batch == 1 or not isinstance(outcome, Reconstruction):
        return outcome
    if outcome.images.shape != truth.x.shape:
        return outcome
    images = outcome.images.to(truth.x)
    ordered = [
        guess[_best_order(guess, real)]
        for guess, real in zip(images.split(truth.batch), truth.x.split(truth.batch), strict=True)
    ]
    return replace(outcome, images=torch.cat(ordered))


def _best_order(guess: Tensor, real: Tensor) -> Tensor:
    errors = (_in_range(guess)[None] - real[:, None]).square().flatten(2).mean(2)
    _, columns = linear_sum_assignment(errors.nan_to_num(nan=1e9, posinf=1e9).cpu().numpy())
    return torch.as_tensor(columns, device=guess.device)


def _logits(model: nn.Module, x: Tensor) -> Tensor:
    """A stolen model's logits, (N, classes); a copy computes them and gets copies of the inputs."""
    judged = copy.deepcopy(model).eval()
    with torch.no_grad(), Stream(0).child("stolen").scope():
        return torch.cat([judged(part.clone()) for part in x.split(256)])
