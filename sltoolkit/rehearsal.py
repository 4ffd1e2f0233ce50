"""Rehearsal: how an attacker chooses its own hyper-parameters without the truth.

It attacks samples of its own, released through the same defended client, and keeps the setting
that recovers them best. Nothing about the targets enters the choice but the number of releases.
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from sltoolkit.errors import SpecError
from sltoolkit.outcomes import Reconstruction
from sltoolkit.streams import Stream

if TYPE_CHECKING:
    from sltoolkit.contracts import Attack

    A = TypeVar("A", bound=Attack[Any])
V = TypeVar("V")

SAMPLES = 16
"""How many samples to rehearse on, at most half of aux."""


def can_rehearse(view: Any) -> bool:
    """Whether the view holds own samples and queries."""
    return getattr(view, "aux", None) is not None and getattr(view, "release", None) is not None


def staged(view: V, rng: Stream) -> tuple[V, Tensor] | None:
    """The view with own samples in place of the targets, and these samples (n, ...).

    They are taken out of the aux data that the view holds, and are released as often as the
    targets were. None without own samples or queries.

    Raises:
        SpecError: if there are fewer than two aux samples.
    """
    given: Any = view
    if not can_rehearse(view):
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


def rehearse(candidates: "Sequence[A]", view: Any, truth: Tensor, *, rng: Stream) -> "A":
    """The candidate that reconstructs `truth` (n, ...) with the least squared error.

    A candidate that diverges is never chosen over one that doesn't; of equals the first wins.

    Args:
        candidates: settings of one reconstruction attack.
        view: what they are run on.
        truth: what they should find.
        rng: the attacker's stream; each candidate gets a child of its own.

    Raises:
        SpecError: if a candidate reconstructs nothing.
    """
    errors = []
    for number, candidate in enumerate(candidates):
        stream = rng.child(f"candidate{number}")
        with stream.scope():
            outcome = candidate.run(view, rng=stream)
        if not isinstance(outcome, Reconstruction):
            raise SpecError(f"{type(candidate).__name__} reconstructs nothing: it can't rehearse")
        errors.append((outcome.images - truth).square().mean())
    return candidates[int(torch.stack(errors).nan_to_num(nan=torch.inf).argmin())]


def chosen(given: Any, tuned: Any) -> dict[str, float | str]:
    """What a rehearsal chose: the parameters that were left open (None) and no longer are."""
    return {
        f.name: getattr(tuned, f.name)
        for f in fields(given)
        if getattr(given, f.name) is None and getattr(tuned, f.name) is not None
    }
