"""Rehearsal: how an attacker chooses its own hyper-parameters without the truth.

It attacks samples of its own, released through the same defended client, and keeps the setting
that recovers them best. Nothing about the targets enters the choice but the number of releases.

An attack declares what it compares, and the harness rehearses. The budget is one run on `SAMPLES`
samples for each of the attack's `candidates` (what matters most, jointly), then one for each of its
`refinements` of the best of them, in turn, until one is not better than the one before.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from sltoolkit.adversary.comparison import first_among_equals
from sltoolkit.contracts.attack import Attack
from sltoolkit.contracts.outcomes import Outcome, Reconstruction
from sltoolkit.errors import SpecError
from sltoolkit.parameters import grids
from sltoolkit.progress import part
from sltoolkit.streams import Stream

A = TypeVar("A", bound=Attack[Any])
V = TypeVar("V")

SAMPLES = 16
"""How many samples to rehearse on, at most half of aux."""


def rehearsed(attack: Attack[V], view: V, *, rng: Stream) -> Outcome:
    """What an attack hands back after it has rehearsed; `tuned` says what it chose by that.

    Args:
        attack: with some parameters left open.
        view: what the attacker holds.
        rng: the attacker's stream.
    """
    best = tuned(attack, view, rng=rng.child("rehearsal"))
    outcome = best.run(view, rng=rng)
    return replace(outcome, tuned={**outcome.tuned, **grids.chosen(attack, best)})


def tuned(attack: A, view: Any, *, rng: Stream) -> A:
    """The best of the attack's candidates on own samples, refined for as long as that helps.

    The attack itself is returned, its parameters still open, if there is nothing to rehearse on.

    Args:
        attack: with some parameters left open.
        view: what the attacker holds; of the targets, it uses the number of releases alone.
        rng: the attacker's stream.
    """
    options = attack.candidates(view)
    if len(options) == len(attack.refinements(options[0], view)) == 1:
        return options[0] if _can_rehearse(attack, view, rng) else attack
    stage = _stage(attack, view, rng.child("stage"))
    if stage is None:
        return attack
    with part(0.5):
        errors = _trials(options, *stage, rng=rng)
    first = first_among_equals(errors)
    best, errors = options[first], errors[first]
    for finer in attack.refinements(best, view)[1:]:
        with part(0.2):
            (found,) = _trials([finer], *stage, rng=rng)
        if first_among_equals(torch.stack([errors, found])) == 0:
            break
        best, errors = finer, found
    return best


def _can_rehearse(attack: Attack[Any], view: Any, rng: Stream) -> bool:
    if attack.rehearsal_view is None:
        return _has_queries(view)
    return _stage(attack, view, rng.child("stage")) is not None


def _has_queries(view: Any) -> bool:
    """Whether a view holds own samples and queries."""
    return getattr(view, "aux", None) is not None and getattr(view, "release", None) is not None


def _stage(attack: Attack[V], view: V, rng: Stream) -> tuple[V, Tensor] | None:
    """What the attack rehearses on: its own view of its samples, or the usual one."""
    own = attack.rehearsal_view
    return staged(view, rng) if own is None else own(view, rng=rng)


def staged(view: V, rng: Stream) -> tuple[V, Tensor] | None:
    """The view with own samples in place of the targets, and these samples (n, ...).

    They are taken out of the aux data that the view holds, and are released as often as the
    targets were. None without own samples or queries.

    Raises:
        SpecError: if there are fewer than two aux samples.
    """
    given: Any = view
    if not _has_queries(view):
        return None
    x, y = given.aux.x, given.aux.y
    count = min(SAMPLES, len(x) // 2)
    if count < 1:
        raise SpecError(f"rehearsing needs at least 2 aux samples, got {len(x)}")
    order = torch.randperm(len(x), generator=rng.child("pick").torch()).to(x.device)
    own, rest = order[:count], order[count:]
    changes: dict[str, Any] = {
        "smashed": given.release(x[own], repeats=len(given.smashed)),
        "aux": replace(given.aux, x=x[rest], y=y[rest]),
    }
    if getattr(view, "labels", None) is not None:
        changes["labels"] = y[own]
    return replace(given, **changes), x[own]


def rehearse(candidates: Sequence[A], view: Any, truth: Tensor, *, rng: Stream) -> A:
    """The candidate that reconstructs `truth` (n, ...) best; of those about as good, the first.

    The least mean squared error counts (`comparison.first_among_equals`).

    Args:
        candidates: settings of one reconstruction attack.
        view: what they are run on.
        truth: what they should find.
        rng: the attacker's stream; every candidate draws the same numbers, so that none is luckier.

    Raises:
        SpecError: if a candidate reconstructs nothing.
    """
    return candidates[first_among_equals(_trials(candidates, view, truth, rng=rng))]


def _trials(candidates: Sequence[A], view: Any, truth: Tensor, *, rng: Stream) -> Tensor:
    """Each candidate's mean squared error on each sample, (candidates, n)."""
    errors = [truth.new_zeros((0, len(truth)))]
    for number, candidate in enumerate(candidates):
        stream = rng.fresh("candidate")
        with stream.scope(), part(1 / (len(candidates) - number)):
            outcome = candidate.run(view, rng=stream)
        if not isinstance(outcome, Reconstruction):
            raise SpecError(f"{type(candidate).__name__} reconstructs nothing: it can't rehearse")
        errors.append((outcome.images - truth).square().flatten(1).mean(1)[None])
    return torch.cat(errors)
