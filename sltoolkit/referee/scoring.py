"""Scores of outcomes, and of what the prior alone would achieve in their place."""

import copy
from collections.abc import Collection, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from sltoolkit.baselines import image_baselines, nearest_aux, prior_scores
from sltoolkit.contracts import AnyAttack, Role
from sltoolkit.data.samples import Samples, Split
from sltoolkit.errors import SpecError
from sltoolkit.knowledge import released_targets
from sltoolkit.metrics import METRICS, Metric, applicable
from sltoolkit.order import in_best_order
from sltoolkit.outcomes import AttributeGuess, LabelGuess, Outcome, Reconstruction
from sltoolkit.protocols.base import Protocol
from sltoolkit.streams import Stream
from sltoolkit.targets import Targets, image_targets
from sltoolkit.victim import Victim

Baselines = tuple[dict[str, dict[str, float]], dict[str, float]]
"""Metric -> prior-only baseline -> mean score; and metric -> score of the retrieval attack."""


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


def model_accuracy(
    model: nn.Module, data: Split
) -> tuple[dict[str, Tensor], dict[str, dict[str, float]]]:
    """Whether an attacker's own copy of the whole model is right, per sample that nobody learned.

    A copy of it is judged: it sees the truth, and what it remembers must not reach the attacker.

    Args:
        model: inputs (B, ...) -> logits (B, C).
        data: of the victim; its private holdout is classified.

    Returns:
        The score, (N,), and that of naming the private training data's most frequent class.
    """
    held, (metric,) = data.private_holdout, applicable("model", data.shape)
    judged = copy.deepcopy(model).eval()
    with torch.no_grad(), Stream(0).child("stolen").scope():
        logits = torch.cat([judged(x.clone()) for x in held.x.split(256)])
    return _beside_the_prior(metric, logits, held.y, data)


def guess_accuracy(
    guess: Tensor, y: Tensor, data: Split
) -> tuple[dict[str, Tensor], dict[str, dict[str, float]]]:
    """Whether labels that were guessed on the way are right, per target.

    Args:
        guess: scores (N, C).
        y: the targets' labels, (N,).
        data: of the victim.

    Returns:
        The score, (N,), and that of naming the private training data's most frequent class.
    """
    return _beside_the_prior(METRICS["label_accuracy"], guess, y, data)


def _beside_the_prior(
    metric: Metric, logits: Tensor, y: Tensor, data: Split
) -> tuple[dict[str, Tensor], dict[str, dict[str, float]]]:
    prior = torch.bincount(data.private_train.y.cpu(), minlength=len(data.classes))
    guess = prior_scores(prior / prior.sum(), len(y)).to(y.device)
    baseline = {"class_prior": float(metric.function(guess, y).mean())}
    return {metric.name: metric.function(logits.to(y.device), y).cpu()}, {metric.name: baseline}


def attributed(attack: AnyAttack, samples: Samples) -> Samples:
    """The samples with the attribute that the attack is after in place of their labels."""
    attribute = attack.attribute(samples.y)
    if attribute is None:
        raise SpecError(f"{type(attack).__name__} guesses an attribute and doesn't say of which")
    return replace(samples, y=attribute)


def prior_baseline(
    victim: Victim, attack: AnyAttack, outcome: Outcome, truth: Samples
) -> dict[str, dict[str, float]]:
    """What guessing by the frequencies in the private data alone would score."""
    own: Samples = victim.data.private_train
    guessed: type[LabelGuess | AttributeGuess] = LabelGuess
    values = victim.task.classes
    if isinstance(outcome, AttributeGuess):
        own, guessed, values = attributed(attack, own), AttributeGuess, outcome.scores.shape[1]
    prior = torch.bincount(own.y.cpu(), minlength=values)
    guess = guessed(scores=prior_scores(prior / prior.sum(), len(truth)).to(truth.y.device))
    return {metric: {"class_prior": mean} for metric, mean in _means(score(guess, truth)).items()}


def prepared_baselines(
    victim: Victim, targets: Targets, sees_labels: bool, hops: int = 0
) -> Baselines:
    """The image baselines of a victim's targets, and the retrieval attack beside them.

    They depend on no attack, so they are computed once and kept in `victim.prepared`.
    """
    key = (targets, sees_labels, hops)
    if key not in victim.prepared:
        truth = image_targets(victim.data, victim.member.samples, targets)
        victim.prepared[key] = _image_baselines(victim, truth, targets, sees_labels, hops)
    found: Baselines = victim.prepared[key]
    return found


def sees_labels(protocol: Protocol, role: Role, grants: Collection[str]) -> bool:
    """Whether an attacker sees the targets' labels: by its seat, or because they are granted."""
    return "labels" in protocol.seats[role].grants | set(grants)


def progress(outcome: Outcome, truth: Samples, batch: int) -> dict[int, dict[str, float]]:
    """Step -> metric -> mean score of what the attack had after so many steps."""
    if not isinstance(outcome, Reconstruction):
        return {}
    stages = {
        step: in_best_order(Reconstruction(images=images), truth.x, batch)
        for step, images in sorted(outcome.trace.items())
    }
    return {step: _means(score(stage, truth)) for step, stage in stages.items()}


def _image_baselines(
    victim: Victim, truth: Samples, targets: Targets, sees_labels: bool, hops: int
) -> Baselines:
    rng = Stream(0).child("baselines")
    smashed = released_targets(victim, truth, targets.releases, hops)
    release = victim.release(victim.rng.fresh("baselines"), hops=hops)
    labels = truth.y if sees_labels else None
    table: dict[str, dict[str, float]] = {}
    for name, guess in image_baselines(release, smashed, victim.data.aux, labels, rng).items():
        prior = in_best_order(Reconstruction(images=guess()), truth.x, targets.batch)
        for metric, value in _means(score(prior, truth)).items():
            table.setdefault(metric, {})[name] = value
    nearest = Reconstruction(images=nearest_aux(release, smashed, victim.data.aux))
    retrieved = in_best_order(nearest, truth.x, targets.batch)
    return table, _means(score(retrieved, truth))


def _means(scores: Mapping[str, Tensor]) -> dict[str, float]:
    return {metric: float(each.float().mean()) for metric, each in scores.items()}
