"""Builds rows from a victim's recipe, a trained victim and a judged attack."""

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from sltoolkit.attacks import ATTACKS
from sltoolkit.contracts.attack import AnyAttack, Attack, Listener
from sltoolkit.contracts.defense import Defense
from sltoolkit.contracts.outcomes import AttributeGuess, LabelGuess
from sltoolkit.data.samples import Split
from sltoolkit.data.targets import Targets
from sltoolkit.metrics import (
    METRICS,
    Interval,
    Metric,
    bootstrap_set,
    bootstrap_targets,
    gain,
    surely_below,
)
from sltoolkit.privacy import Guarantee
from sltoolkit.referee.judge import Verdict
from sltoolkit.rows.columns import Row
from sltoolkit.rows.environment import environment
from sltoolkit.rows.names import name_of, parameters_json
from sltoolkit.streams import Stream
from sltoolkit.training.recipe import Recipe
from sltoolkit.training.victim import Victim

Columns = Mapping[str, Any]
"""Some columns of a row, by name."""


def recipe_columns(recipe: Recipe) -> Columns:
    """The columns that a victim's recipe fills; they are known before the training."""
    columns = vars(recipe) | {"victim_seed": recipe.seed}
    training = None if recipe.training is None else asdict(recipe.training)
    return {k: v for k, v in columns.items() if k != "seed"} | {"training": training}


def victim_columns(victim: Victim) -> Columns:
    """The columns about a trained victim: its recipe, its utility, what its training cost."""
    return {
        **recipe_columns(victim.recipe),
        "network": victim.network,
        "train_seconds": victim.costs.seconds,
        "reducer_error": victim.reducer_error,
        "heterogeneity": victim.heterogeneity,
        "utility": victim.utility,
        "holdout_unseen": victim.holdout_unseen,
        "balanced_accuracy": victim.balanced_accuracy,
        **guessing_columns(victim.data),
        "epoch_bytes": sum(victim.costs.tolls.values()) / max(1, len(victim.losses)),
    }


def guessing_columns(data: Split) -> Columns:
    """The columns about constant guesses on the private holdout, which know nothing of an input."""
    held = data.private_holdout
    return {"chance": held.majority_share, "balanced_chance": 1 / len(held.y.unique())}


def attack_columns(attack: AnyAttack, *, seed: int) -> Columns:
    """The columns that identify an attack."""
    return {
        "attack": name_of(attack, ATTACKS),
        "attack_params": parameters_json(attack),
        "family": attack.family,
        "attacker_seed": seed,
    }


def attempt_columns(victim: Victim, attack: AnyAttack, *, seed: int, targets: Targets) -> Columns:
    """The columns about a victim and its attack that are known before the attack is run.

    Args:
        victim: the victim.
        attack: the attack, as it was given.
        seed: the attacker's seed.
        targets: how the attack's targets are chosen.
    """
    return {
        **victim_columns(victim),
        **attack_columns(attack, seed=seed),
        "target_set": targets.part if attack.family == "reconstruction" else "private_train",
        "checkpoint": "final",
        "mounted": _mounted(attack),
    }


def verdict_columns(defense: Defense, attack: AnyAttack, verdict: Verdict) -> Columns:
    """The columns about a judged attack: its seat, its knowledge, what it received, its cost.

    Args:
        defense: the victim's defense, as configured.
        attack: the attack.
        verdict: the attack's judged outcome.
    """
    heard = (verdict.releases, verdict.seat_releases)
    own, seat = (_guarantee(defense, verdict.knowledge, releases=n) for n in heard)
    return {
        "adaptive": _adaptive(attack, verdict.knowledge),
        "epsilon": None if own is None else own.epsilon,
        "seat_epsilon": None if seat is None else seat.epsilon,
        "delta": None if own is None else own.delta,
        "isolated": verdict.isolated,
        "role": verdict.role,
        "knowledge": "+".join(verdict.knowledge),
        "tuned": tuned_text(verdict.outcome.tuned),
        "releases": verdict.releases,
        "seat_releases": verdict.seat_releases,
        "queries": verdict.queries,
        "seconds": verdict.seconds,
        "peak_mb": verdict.peak_mb,
        **environment(),
    }


def rows_of(identity: Columns, verdict: Verdict) -> tuple[Row, ...]:
    """The rows of one judged attack, one per metric; `identity` holds the columns they share."""
    return tuple(Row(**identity, **_score_columns(metric, verdict)) for metric in verdict.scores)


def tuned_text(tuned: Mapping[str, float | str]) -> str:
    """The parameters that a rehearsal chose, as `lr=0.1,steps=30`."""
    return ",".join(f"{name}={value}" for name, value in sorted(tuned.items()))


def _guarantee(defense: Defense, knowledge: Collection[str], *, releases: int) -> Guarantee | None:
    """What the defense guarantees; nothing where updates, which see raw inputs, were received."""
    return None if "updates" in knowledge else defense.guarantee(releases=releases, delta=1e-5)


def _mounted(attack: AnyAttack) -> str:
    if isinstance(attack, Attack):
        return "afterwards"
    return "listening" if isinstance(attack, Listener) else "actively"


def _adaptive(attack: AnyAttack, knowledge: Collection[str]) -> bool:
    """Whether the attack holds the defense's parameters or learns from what the defense emits."""
    learns = attack.family == "labels" or not isinstance(attack, Attack)
    return learns or bool({"release", "mechanism", "updates"} & set(knowledge))


def _score_columns(metric: str, verdict: Verdict) -> Columns:
    values, about = verdict.scores[metric], METRICS[metric]
    value = float(values.float().mean())
    priors = verdict.baselines[metric]
    best = max if about.higher_is_more_leak else min
    name = best(priors, key=lambda k: priors[k])
    prior = torch.tensor(verdict.prior_scores[metric][name])
    if values.ndim == 1:
        own = _over_targets(values.float())
        gained = _over_targets(gain(about, values.float(), prior))
        low, high = gained.low, gained.high
    else:
        own = _over_whole_set(about, verdict)
        low, high = sorted(gain(about, end, priors[name]) for end in (own.low, own.high))
    return {
        "metric": metric,
        "value": value,
        "ci_low": own.low,
        "ci_high": own.high,
        "n": own.n,
        **_columns_by_kind(about, values.float(), verdict.truth.trained, priors[name]),
        "baseline": priors[name],
        "baseline_name": name,
        "gain": gain(about, value, priors[name]),
        "gain_low": low,
        "gain_high": high,
        "retrieval": verdict.retrieval_score.get(metric, math.nan),
    }


def _columns_by_kind(
    metric: Metric, values: Tensor, trained: Tensor | None, prior: float
) -> Columns:
    """The columns about targets that the victim trained on and others, if there are both."""
    if trained is None or trained.shape != values.shape or trained.all() or not trained.any():
        return {}
    leak = gain(metric, values, torch.tensor(prior))
    own, others = leak[trained.cpu()], leak[~trained.cpu()]
    far = float(own.mean()) < float(others.mean()) / 2
    return {
        "value_trained": float(values[trained.cpu()].mean()),
        "value_unseen": float(values[~trained.cpu()].mean()),
        "trained_only": float(others.mean()) > 0 and far and surely_below(own, others),
    }


def _over_targets(values: Tensor) -> Interval:
    """The bootstrap over this victim's targets; the same resamples for all numbers of a victim."""
    return bootstrap_targets(values, Stream(0).fresh("bootstrap").numpy())


def _over_whole_set(metric: Metric, verdict: Verdict) -> Interval:
    """The same for a metric of the whole set, for which the prior's score has no spread."""
    outcome = verdict.outcome
    if not isinstance(outcome, LabelGuess | AttributeGuess):
        raise TypeError(f"{metric.name} is a metric of guesses, got {type(outcome).__name__}")
    rng = Stream(0).fresh("bootstrap").numpy()
    return bootstrap_set(metric.function, outcome.scores, verdict.truth.y, rng)
