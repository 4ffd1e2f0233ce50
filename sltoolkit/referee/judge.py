"""Judging: the referee prepares views, runs attacks and compares their outcomes with the truth."""

import resource
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from sltoolkit.adversary.rehearsal import rehearsed
from sltoolkit.contracts.attack import AnyAttack, Attack, Role
from sltoolkit.contracts.grants import view_of
from sltoolkit.contracts.knowledge import Release
from sltoolkit.contracts.outcomes import AttributeGuess, Outcome, Reconstruction
from sltoolkit.data.samples import Split
from sltoolkit.data.targets import Targets
from sltoolkit.errors import ThreatModelError
from sltoolkit.referee.apart import attacker_stream
from sltoolkit.referee.baselines import baselines_of, image_scores
from sltoolkit.referee.intact import intact
from sltoolkit.referee.isolated import run_isolated
from sltoolkit.referee.mount import STANDARD_GRANTS, Mount, mount_attack, refuse_unsuited
from sltoolkit.referee.scoring import progress, score
from sltoolkit.referee.sources import trained_sources
from sltoolkit.referee.truth import Asked, Truth, asked_about, attributed
from sltoolkit.training.victim import Victim


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Verdict:
    """An attack's outcome, judged.

    Attributes:
        outcome: what the attack handed back, in the order in which it was scored.
        truth: the truth that it was compared with.
        role: the seat that the attack was mounted from.
        knowledge: the grants that were filled, sorted.
        scores: metric -> one number per target, (N,), or () for a metric of the whole set.
        progress: step -> metric -> mean score of what the attack had after that step.
        prior_scores: metric -> prior-only baseline -> its score of each target (one number for a
            metric of the whole set).
        retrieval_score: metric -> mean score of the retrieval attack, which hears the wire and is
            shown for comparison.
        isolated: whether the attack ran in a process of its own.
        releases: how many releases of one private record the attack received.
        seat_releases: how many its seat heard of one private record, training included.
        queries: how many inputs the release oracle answered for the attack, rehearsal included;
            each repeat counts.
        seconds: wall time of the attack, rehearsal included. For a listener or a hijacker it is
            the time after the training.
        peak_mb: peak memory of the process so far, in MB.
    """

    outcome: Outcome
    truth: Truth
    role: Role
    knowledge: tuple[str, ...]
    scores: Mapping[str, Tensor]
    progress: Mapping[int, Mapping[str, float]]
    prior_scores: Mapping[str, Mapping[str, Sequence[float]]]
    retrieval_score: Mapping[str, float]
    isolated: bool
    releases: int
    seat_releases: int
    queries: int
    seconds: float
    peak_mb: float

    @property
    def baselines(self) -> dict[str, dict[str, float]]:
        """Metric -> prior-only baseline -> its mean score."""
        return {
            metric: {name: float(torch.tensor(each).mean()) for name, each in priors.items()}
            for metric, priors in self.prior_scores.items()
        }


def judge(
    victim: Victim,
    attack: AnyAttack,
    *,
    seed: int,
    grants: Collection[str] = STANDARD_GRANTS,
    targets: Targets | None = None,
    role: Role | None = None,
    isolate: bool = False,
) -> Verdict:
    """Run one attack on a trained victim, and score it.

    Args:
        victim: the victim.
        attack: an attack after the fact, or the very object that took part in this victim's
            training.
        seed: the attacker's seed.
        grants: what the experiment grants beyond what the role holds.
        targets: how targets are chosen; by default as for the victim.
        role: the seat; by default the first of the attack's roles that holds what it needs.
        isolate: run an attack after the fact in a process of its own, which gets the view and
            nothing else.

    Raises:
        SpecError: if the attack can't be isolated.
        TamperingError: if the attack changed the referee's own functions.
        ThreatModelError: if a grant is missing, or a listener didn't hear this victim's training.
    """
    targets = targets or victim.targets
    mount = mount_attack(attack, victim.protocol, grants, role)
    refuse_unsuited(attack, victim.task_at(mount.hops))
    name = type(attack).__name__
    asked = asked_about(victim, targets, attack.family)
    noise = victim.rng.child("release").fresh(f"{name}/{seed}")
    view: Any = view_of(attack.view, mount.filled, trained_sources(victim, asked, mount, noise))
    isolated = isolate and isinstance(attack, Attack)
    start = time.perf_counter()
    outcome, before = _outcome(victim, attack, view, seed=seed, isolated=isolated)
    seconds = time.perf_counter() - start
    queries = _queries(view)
    truth = _truth(asked, attack, outcome, victim.data)
    with nullcontext() if outcome.model is None else intact(name):  # which runs while it is scored
        scored = score(outcome, truth)
    prior_scores, retrieval_score = baselines_of(victim, attack, mount, targets, outcome, truth)
    received = _releases_received(victim, attack, mount, targets)
    in_training = victim.releases_heard[mount.role]
    return Verdict(
        outcome=scored.outcome,
        truth=truth,
        role=mount.role,
        knowledge=tuple(sorted(mount.filled | before)),
        scores=scored.scores,
        progress=progress(outcome, truth),
        prior_scores=prior_scores,
        retrieval_score=retrieval_score,
        isolated=isolated,
        releases=received,
        seat_releases=received + (in_training if isinstance(attack, Attack) else 0),
        queries=queries,
        seconds=seconds,
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def prepare(
    victim: Victim,
    attack: AnyAttack,
    *,
    grants: Collection[str] = STANDARD_GRANTS,
    role: Role | None = None,
) -> None:
    """Compute the scores that this attack will be compared with, and keep them in the victim.

    Args:
        victim: the victim.
        attack: the attack, which is not run.
        grants: as in `judge`.
        role: as in `judge`.
    """
    if attack.family == "reconstruction":
        image_scores(victim, mount_attack(attack, victim.protocol, grants, role), victim.targets)


def _releases_received(victim: Victim, attack: AnyAttack, mount: Mount, targets: Targets) -> int:
    """Releases of one private record that the attack received; the record with the most counts."""
    if isinstance(attack, Attack):
        return targets.releases
    answers = targets.releases if "smashed" in mount.filled else 0
    return victim.releases_heard[mount.role] + answers


def _outcome(
    victim: Victim, attack: AnyAttack, view: Any, *, seed: int, isolated: bool
) -> tuple[Outcome, frozenset[str]]:
    """An attack's outcome, and the grants that were filled before the training."""
    name = type(attack).__name__
    if isinstance(attack, Attack):
        if isolated:
            device = victim.data.private_train.x.device
            return run_isolated(attack, view, seed=seed, device=device), frozenset()
        rng = attacker_stream(attack, seed)
        with intact(name), rng.scope():
            return rehearsed(attack, view, rng=rng), frozenset()
    attached = next((t for t in victim.attached if t.attack is attack), None)
    if attached is None:
        raise ThreatModelError(
            f"{name} listens while the victim trains: pass this very object to "
            "train(..., listeners=[...]) (or active=...) before attacking"
        )
    with intact(name), attached.rng.fresh("finish").scope():  # the same however often it is asked
        return attached.listener_state.finish(view), attached.grants


def _queries(view: Any) -> int:
    release = getattr(view, "release", None)
    return release.queries if isinstance(release, Release) else 0


def _truth(asked: Asked, attack: AnyAttack, outcome: Outcome, data: Split) -> Truth:
    """The truth that an outcome of this type is compared with."""
    if isinstance(outcome, Reconstruction):
        about = asked.records
    elif isinstance(outcome, AttributeGuess):
        about = attributed(attack, asked.labeled)
    else:
        about = asked.labeled
    return Truth(
        x=about.x, y=about.y, ids=about.ids, batch=asked.targets.batch,
        trained=torch.isin(about.ids, data.private_train.ids), held_out=data.private_holdout,
    )  # fmt: skip
