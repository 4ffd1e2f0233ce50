"""Rehearsal: how an attacker chooses its hyper-parameters without the truth.

The attacker attacks samples of its own, released through the same defended client, and keeps the
setting that recovers them best, by the metric that the attack is judged by (`metrics.losses`). The
only fact about the targets that enters the choice is the number of their releases.

An attack declares what it compares, and the harness rehearses. First it runs each of the attack's
`candidates` (all combinations of what matters most) once, on `SAMPLES` samples. Then it runs the
`refinements` of the best candidate, one after another, until one is not better than the one before.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from sltoolkit.adversary.comparison import first_among_equals
from sltoolkit.contracts.attack import Attack
from sltoolkit.contracts.outcomes import Outcome, Reconstruction
from sltoolkit.errors import SpecError
from sltoolkit.metrics.losses import reconstruction_error
from sltoolkit.parameters import grids
from sltoolkit.progress import part
from sltoolkit.streams import Stream

A = TypeVar("A", bound=Attack[Any])
V = TypeVar("V")

SAMPLES = 16
"""How many samples to rehearse on; fewer if this is more than half of aux."""


def rehearsed(attack: Attack[V], view: V, *, rng: Stream) -> Outcome:
    """The outcome of an attack after a rehearsal; its `tuned` says what the rehearsal chose.

    Args:
        attack: an attack, perhaps with open parameters.
        view: what the attacker holds.
        rng: the attacker's stream.
    """
    best = tuned(attack, view, rng=rng.child("rehearsal"))
    outcome = best.run(view, rng=rng)
    return replace(outcome, tuned={**outcome.tuned, **grids.chosen(attack, best)})


def tuned(attack: A, view: Any, *, rng: Stream) -> A:
    """The best of the attack's candidates on aux samples, refined for as long as that helps.

    If there is nothing to rehearse on, the attack itself is returned, with its parameters still
    open.

    Args:
        attack: an attack, perhaps with open parameters.
        view: what the attacker holds; the targets in it are not used, only their number of
            releases.
        rng: the attacker's stream.
    """
    options = attack.candidates(view)
    if len(options) == len(attack.refinements(options[0], view)) == 1:
        return options[0] if _can_rehearse(attack, view, rng) else attack
    own = _own_view(attack, view, rng.child("stage"))
    if own is None:
        return attack
    seen, truth = own
    run = attack.settings_on(seen)
    with part(0.5):
        errors = _trials(options, run, truth, rng=rng)
    first = first_among_equals(errors)
    best, errors = options[first], errors[first]
    for finer in attack.refinements(best, view)[1:]:
        with part(0.2):
            (found,) = _trials([finer], run, truth, rng=rng)
        if first_among_equals(torch.stack([errors, found])) == 0:
            break
        best, errors = finer, found
    return best


def _can_rehearse(attack: Attack[Any], view: Any, rng: Stream) -> bool:
    if not attack.rehearses:
        return False
    if attack.rehearsal_view is None:
        return _has_queries(view)
    return _own_view(attack, view, rng.child("stage")) is not None


def _has_queries(view: Any) -> bool:
    """Whether a view holds aux samples and queries."""
    return getattr(view, "aux", None) is not None and getattr(view, "release", None) is not None


def _own_view(attack: Attack[V], view: V, rng: Stream) -> tuple[V, Tensor] | None:
    """The view to rehearse on (the attack's `rehearsal_view`, or `staged`), and its truth."""
    own = attack.rehearsal_view
    return staged(view, rng) if own is None else own(view, rng=rng)


def staged(view: V, rng: Stream) -> tuple[V, Tensor] | None:
    """The view with aux samples in place of the targets, and these samples (n, ...).

    The samples are taken out of the view's aux data, and are released as often as the targets were.
    Returns None if the view has no aux data or no queries.

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
    """The candidate with the least `reconstruction_error`; of those about as good, the first.

    What counts as equally good is decided by `comparison.first_among_equals`.

    Args:
        candidates: settings of one reconstruction attack.
        view: the view to run them on.
        truth: the attacker's own samples that they should find, (n, ...).
        rng: the attacker's stream; all candidates draw the same numbers, so that none is lucky.

    Raises:
        SpecError: if a candidate reconstructs nothing.
    """
    run = candidates[0].settings_on(view)
    return candidates[first_among_equals(_trials(candidates, run, truth, rng=rng))]


def _trials(
    candidates: Sequence[A], run: Callable[[A, Stream], Outcome], truth: Tensor, *, rng: Stream
) -> Tensor:
    """Each candidate's error on each sample, (candidates, n)."""
    errors = []
    for number, candidate in enumerate(candidates):
        stream = rng.fresh("candidate")
        with stream.scope(), part(1 / (len(candidates) - number)):
            outcome = run(candidate, stream)
        if not isinstance(outcome, Reconstruction):
            raise SpecError(f"{type(candidate).__name__} reconstructs nothing: it can't rehearse")
        errors.append(reconstruction_error(outcome.images, truth))
    return torch.stack(errors)
