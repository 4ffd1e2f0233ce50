"""The referee: prepares views, runs attacks, and alone compares their outcomes with the truth."""

import copy
import resource
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor, nn

from sltoolkit.baselines import image_baselines, nearest_aux, prior_scores
from sltoolkit.contracts import AnyAttack, Attack, Defense, PartySetup, Role, Task
from sltoolkit.data.samples import Samples, Split
from sltoolkit.deployed import Deployed
from sltoolkit.errors import SpecError, ThreatModelError
from sltoolkit.metrics import applicable
from sltoolkit.models.refit import reinitialise
from sltoolkit.order import in_best_order
from sltoolkit.outcomes import AttributeGuess, LabelGuess, Outcome, Reconstruction
from sltoolkit.protocols.base import Protocol
from sltoolkit.sampling import Shuffled
from sltoolkit.streams import Stream
from sltoolkit.targets import Targets, image_targets, label_targets
from sltoolkit.threat import Aux, Hints, Holdings, permitted, seat_for, view_of
from sltoolkit.transcript import Truth, rows_of
from sltoolkit.updates import released_updates
from sltoolkit.victim import Victim
from sltoolkit.wire import Link

STANDARD_GRANTS = frozenset({"aux", "release", "prior"})
"""What an experiment grants unless it says otherwise: own data, queries, class frequencies."""

Baselines = tuple[dict[str, dict[str, float]], dict[str, float]]
"""Metric -> prior-only baseline -> mean score; and metric -> score of the retrieval attack."""


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
    beside: Mapping[str, float]
    releases: int
    seconds: float
    peak_mb: float


def knowledge_sources(
    data: Split, task: Task, blank: nn.Module, defense: Defense, rng: Stream
) -> dict[str, Callable[[], Any]]:
    """Sources of the grants that exist before the training: own data, architecture, mechanism."""

    def fresh_client(stream: Stream) -> nn.Module:
        client = copy.deepcopy(blank).requires_grad_(True).train()
        with stream.scope():
            reinitialise(client)
        return client

    def mechanism(stream: Stream) -> Defense:
        own, client = copy.deepcopy(defense), fresh_client(stream.child("client"))
        parameters = list(client.parameters())
        setup = PartySetup(
            side="client", module=client,
            optimizer=torch.optim.SGD(parameters, lr=0.0) if parameters else None,
            sampler=Shuffled(batch_size=64), task=task, samples=len(data.private_train),
            rng=stream,
        )  # fmt: skip
        with stream.scope():
            own.begin(setup)
        return own

    counts = torch.bincount(data.private_train.y.cpu(), minlength=len(data.classes))
    return {
        "task": lambda: task,
        "aux": lambda: Aux(x=data.aux.x.clone(), y=data.aux.y.clone()),
        "prior": lambda: counts / counts.sum(),
        "client_arch": lambda: fresh_client,
        "mechanism": lambda: mechanism,
    }


def _trained_sources(
    victim: Victim, images: Samples, known: Samples, hinted: Samples, targets: Targets,
    role: Role, family: str, noise: Stream,
) -> dict[str, Callable[[], Any]]:  # fmt: skip
    member = victim.member
    seat = victim.protocol.seats[role]
    tap = seat.taps.get("smashed_grad")
    steals = images if family == "reconstruction" else known
    behind = (*member.hops[seat.hops :], victim.server)

    def gradients(samples: Samples) -> Tensor:
        if tap is None:
            raise ThreatModelError(f"no gradient reaches the {role} in this protocol")
        record = victim.transcript.record(Link(tap.src, tap.dst, tap.kind))
        return rows_of(record, samples.ids.cpu())

    return {
        **knowledge_sources(
            victim.data, victim.task_at(seat.hops), member.network(seat.hops), victim.pristine,
            victim.rng,
        ),
        "smashed": lambda: released_targets(victim, images, targets.releases, seat.hops),
        "smashed_grad": lambda: gradients(known),
        "labels": lambda: steals.y.clone(),
        "hints": lambda: Hints(smashed_grad=gradients(hinted), y=hinted.y.clone()),
        "client_weights": lambda: copy.deepcopy(member.network(seat.hops)),
        "peer_weights": lambda: copy.deepcopy(peer_of(victim).network(seat.hops)),
        "peer_samples": lambda: peer_samples(victim),
        "server_weights": lambda: copy.deepcopy(
            victim.server if len(behind) == 1 else nn.Sequential(*behind)
        ),
        "updates": lambda: released_updates(victim, steals, targets),
        "release": lambda: victim.release(noise, hops=seat.hops),
    }  # fmt: skip


def peer_of(victim: Victim) -> Deployed:
    """The client that colludes: another one than the target's, or its equal where all are alike."""
    return victim.deployed[min(1, len(victim.deployed) - 1)]


def peer_samples(victim: Victim) -> Aux | None:
    """The samples that a colluding client brings along; None where one network has seen all."""
    if len(victim.deployed) < 2:
        return None
    samples = peer_of(victim).samples
    return Aux(x=samples.x.clone(), y=samples.y.clone())


def released_targets(victim: Victim, images: Samples, releases: int, hops: int = 0) -> Tensor:
    """The targets' smashed data as released, (R, N, ...): the same draw for every attack."""
    return victim.release(victim.rng.fresh("targets"), hops=hops)(images.x, repeats=releases)


def check_seat(
    attack: AnyAttack, protocol: Protocol, grants: Collection[str], role: Role | None = None
) -> tuple[Role, frozenset[str]]:
    """The role an attack takes in a protocol and the grants that fill its view.

    Raises:
        ThreatModelError: in a sentence, if it can't be mounted; before any training.
    """
    seats = protocol.seats
    if role is not None and role not in seats:
        raise ThreatModelError(f"this protocol has no {role}; it seats {', '.join(seats)}")
    name = type(attack).__name__
    if attack.family == "labels" or attack.attribute(torch.zeros(1, dtype=torch.int64)) is not None:
        seats = _without_labels(name, attack.roles if role is None else (role,), seats)
    role = role or seat_for(attack.view, attack.roles, seats, grants)
    filled = permitted(
        attack.view, name=name, role=role, held=seats[role].grants, granted=grants
    )  # fmt: skip
    setup = getattr(attack, "setup", None)
    if setup is not None:
        permitted(setup, name=name, role=role, held=seats[role].grants, granted=grants)
    return role, filled


def refuse_unsuited(attack: AnyAttack, task: Task) -> None:
    """Refuse an attack that can't work on such inputs or smashed data.

    Raises:
        SpecError: with the attack's reason.
    """
    reason = attack.refuses(task)
    if reason is not None:
        raise SpecError(f"{type(attack).__name__} doesn't apply: {reason}")


def _without_labels(
    name: str, roles: Collection[Role], seats: Mapping[Role, Holdings]
) -> dict[Role, Holdings]:
    private = {r: held for r, held in seats.items() if "labels" not in held.grants}
    if not set(roles) & set(private):
        raise ThreatModelError(
            f"{name} would steal labels that the {' or '.join(roles)} holds anyway in this "
            "protocol: use one with private labels (u_shaped, or vanilla with labels_at='server')"
        )
    return private


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
    held = victim.member.samples
    known, hinted = label_targets(held, targets)
    steals_images = attack.family == "reconstruction"
    images = image_targets(victim.data, held, targets) if steals_images else known
    noise = victim.rng.child("release").fresh(f"{name}/{seed}")
    sources = _trained_sources(
        victim, images, known, hinted, targets, role, attack.family, noise
    )  # fmt: skip
    view: Any = view_of(attack.view, filled, sources)
    rng = Stream(seed).child("attacker").fresh(name)
    start = time.perf_counter()
    if isinstance(attack, Attack):
        with rng.scope():
            outcome = attack.run(view, rng=rng)
    else:
        tapped = next((t for t in victim.tapped if t.attack is attack), None)
        if tapped is None:
            raise ThreatModelError(
                f"{name} listens while the victim trains: pass this very object to "
                "train(..., listeners=[...]) (or active=...) before attacking"
            )
        with tapped.rng.fresh("finish").scope():  # the same however often it is asked
            outcome = tapped.wiretap.finish(view)
    seconds = time.perf_counter() - start
    if isinstance(outcome, AttributeGuess):
        known = _attributed(attack, known)
    truth = images if isinstance(outcome, Reconstruction) else known
    outcome = in_best_order(outcome, truth.x, targets.batch)
    scores = score(outcome, truth)
    visible = sees_labels(victim.protocol, role, grants)
    hops = victim.protocol.seats[role].hops
    if isinstance(outcome, Reconstruction):
        baselines, beside = prepared_baselines(victim, targets, visible, hops)
    else:
        baselines, beside = _prior_baseline(victim, attack, outcome, truth), {}
    heard_training = not isinstance(attack, Attack)
    return Verdict(
        outcome=outcome,
        truth=Truth(x=truth.x, y=truth.y, ids=truth.ids),
        role=role,
        knowledge=tuple(sorted(filled)),
        scores=scores,
        progress=_progress(outcome, truth, targets.batch),
        baselines=baselines,
        beside=beside,
        releases=int(victim.facts["epochs"]) if heard_training else targets.releases,
        seconds=seconds,
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def _progress(outcome: Outcome, truth: Samples, batch: int) -> dict[int, dict[str, float]]:
    if not isinstance(outcome, Reconstruction):
        return {}
    stages = {
        step: in_best_order(Reconstruction(images=images), truth.x, batch)
        for step, images in sorted(outcome.trace.items())
    }
    return {step: _means(score(stage, truth)) for step, stage in stages.items()}


def _means(scores: Mapping[str, Tensor]) -> dict[str, float]:
    return {metric: float(each.float().mean()) for metric, each in scores.items()}


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


def _attributed(attack: AnyAttack, samples: Samples) -> Samples:
    """The samples with the attribute that the attack is after in place of their labels."""
    attribute = attack.attribute(samples.y)
    if attribute is None:
        raise SpecError(f"{type(attack).__name__} guesses an attribute and doesn't say of which")
    return replace(samples, y=attribute)


def _prior_baseline(
    victim: Victim, attack: AnyAttack, outcome: Outcome, truth: Samples
) -> dict[str, dict[str, float]]:
    """What guessing by the frequencies in the private data alone would score."""
    own: Samples = victim.data.private_train
    guessed: type[LabelGuess | AttributeGuess] = LabelGuess
    values = victim.task.classes
    if isinstance(outcome, AttributeGuess):
        own, guessed, values = _attributed(attack, own), AttributeGuess, outcome.scores.shape[1]
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
