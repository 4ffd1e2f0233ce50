"""The referee: prepares views, runs attacks, and alone compares their outcomes with the truth."""

import resource
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor

from sltoolkit.adversary.rehearsal import rehearsed
from sltoolkit.contracts.attack import AnyAttack, Attack, Role
from sltoolkit.contracts.grants import view_of
from sltoolkit.contracts.outcomes import AttributeGuess, Outcome, Reconstruction
from sltoolkit.data.targets import Targets, image_targets, label_targets
from sltoolkit.errors import ThreatModelError
from sltoolkit.referee.baselines import (
    guess_accuracy,
    model_accuracy,
    prepared_baselines,
    prior_baseline,
    sees_labels,
)
from sltoolkit.referee.mount import STANDARD_GRANTS, check_seat, refuse_unsuited
from sltoolkit.referee.scoring import attributed, in_best_order, progress, score
from sltoolkit.referee.sources import trained_sources
from sltoolkit.streams import Stream
from sltoolkit.training.victim import Victim


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """What only the referee knows: the targets' inputs (N, C, H, W), labels (N,) and ids (N,)."""

    x: Tensor
    y: Tensor
    ids: Tensor


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Verdict:
    """An attack's outcome, judged.

    Attributes:
        outcome: what the attack handed back.
        truth: what it was after.
        role: the seat it was mounted from.
        knowledge: the grants that were filled, sorted.
        scores: metric -> one number per target, (N,), or () for metrics of the whole set.
        progress: step -> metric -> mean score of what the attack had after so many steps.
        baselines: metric -> prior-only baseline -> its mean score.
        beside: metric -> score of the retrieval attack, shown beside the baselines.
        releases: releases of one private record that the attack received.
        seconds: the attack's own time.
        peak_mb: peak memory of the process so far.
    """

    outcome: Outcome
    truth: Truth
    role: Role
    knowledge: tuple[str, ...]
    scores: Mapping[str, Tensor]
    progress: Mapping[int, Mapping[str, float]]
    baselines: Mapping[str, Mapping[str, float]]
    retrieval_score: Mapping[str, float]
    releases: int
    seconds: float
    peak_mb: float


def judge(
    victim: Victim,
    attack: AnyAttack,
    *,
    seed: int,
    grants: Collection[str] = STANDARD_GRANTS,
    targets: Targets | None = None,
    role: Role | None = None,
) -> Verdict:
    """Run one attack on a trained victim, and score it.

    Args:
        victim: whom to attack.
        attack: after the fact, or one that listened to this victim's training.
        seed: the attacker's seed.
        grants: what the experiment grants beyond what the role holds.
        targets: which targets; the victim's own by default.
        role: the seat; by default the first of the attack's roles that holds what it needs.

    Raises:
        ThreatModelError: if a grant is missing, or a listener has not listened.
    """
    targets = targets or victim.targets
    role, filled = check_seat(attack, victim.protocol, grants, role)
    name = type(attack).__name__
    refuse_unsuited(attack, victim.task_at(victim.protocol.seats[role].hops))
    held = victim.client.samples
    known, hinted = label_targets(held, targets)
    steals_images = attack.family == "reconstruction"
    images = image_targets(victim.data, held, targets) if steals_images else known
    noise = victim.rng.child("release").fresh(f"{name}/{seed}")
    sources = trained_sources(
        victim, images, known, hinted, targets, role, attack.family, noise
    )  # fmt: skip
    view: Any = view_of(attack.view, filled, sources)
    rng = Stream(seed).child("attacker").fresh(name)
    start = time.perf_counter()
    outcome, before = _outcome(victim, attack, view, rng)
    seconds = time.perf_counter() - start
    if isinstance(outcome, AttributeGuess):
        known = attributed(attack, known)
    truth = images if isinstance(outcome, Reconstruction) else known
    outcome = in_best_order(outcome, truth.x, targets.batch)
    scores, stages = score(outcome, truth), progress(outcome, truth, targets.batch)
    visible = sees_labels(victim.protocol, role, grants)
    hops = victim.protocol.seats[role].hops
    if isinstance(outcome, Reconstruction):
        baselines, retrieval_score = prepared_baselines(victim, targets, visible, hops)
    else:
        baselines, retrieval_score = prior_baseline(victim, attack, outcome, truth), {}
    if outcome.model is not None:
        own, guess = model_accuracy(outcome.model, victim.data)
        scores, baselines = scores | own, baselines | guess
    if outcome.guess is not None:
        own, guess = guess_accuracy(outcome.guess, truth.y, victim.data)
        scores, baselines = scores | own, baselines | guess
    heard_training = not isinstance(attack, Attack)
    return Verdict(
        outcome=outcome,
        truth=Truth(x=truth.x, y=truth.y, ids=truth.ids),
        role=role,
        knowledge=tuple(sorted(filled | before)),
        scores=scores,
        progress=stages,
        baselines=baselines,
        retrieval_score=retrieval_score,
        releases=int(victim.facts["epochs"]) if heard_training else targets.releases,
        seconds=seconds,
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def _outcome(
    victim: Victim, attack: AnyAttack, view: Any, rng: Stream
) -> tuple[Outcome, frozenset[str]]:
    """What an attack hands back, and what it was granted besides, before the training."""
    if isinstance(attack, Attack):
        with rng.scope():
            return rehearsed(attack, view, rng=rng), frozenset()
    attached = next((t for t in victim.attached if t.attack is attack), None)
    if attached is None:
        raise ThreatModelError(
            f"{type(attack).__name__} listens while the victim trains: pass this very object to "
            "train(..., listeners=[...]) (or active=...) before attacking"
        )
    with attached.rng.fresh("finish").scope():  # the same however often it is asked
        return attached.listener_state.finish(view), attached.grants
