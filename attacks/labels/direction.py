"""The direction (cosine) attack on labels: equal labels, similar directions.

Adversary: a party without labels that gets back the gradient at the cut for each of its examples.
With a few examples whose labels it knows (hints) it tells any number of classes apart; without
them, two.

Idea (Li et al. 2022): for a logistic loss the gradient at the cut is
    g = (p - y) * dl/dz,
and the sign of p - y is the label, so an example is scored by its largest cosine with the gradients
of known examples of a class c,
    score_c = max over hints j of class c   <g, g_j> / (|g| |g_j|).
Behind a linear head whose rows are orthogonal and equally long, the cosine of two gradients of one
class exceeds 1/2 and that of two classes doesn't, for any number of classes.
Without hints, two classes are told apart by the signs of the leading eigenvector v of the matrix K
of pairwise cosines, which maximizes v' K v, and the smaller of the two clusters is the minority in
the prior (without a prior: class 1).

Symbols: g the gradient at the cut, p the predicted probability of class 1, y the label, l the logit
and z the smashed data.

Departures from the paper:
1. The paper knows one positive example; here a class scores the best of all its hints, and a class
   without hints the negated best of the others.
2. The clusters without hints are ours.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional

from sltoolkit.attacks.labels._gradients import (
    GradientView,
    binary_columns,
    minority,
    require_binary,
    rows,
)
from sltoolkit.contracts.attack import Attack, Family, Role
from sltoolkit.contracts.outcomes import LabelGuess
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True)
class Direction(Attack[GradientView]):
    """Score a target by its gradient's cosine with gradients of known labels."""

    roles: ClassVar[tuple[Role, ...]] = ("client", "server", "eavesdropper")
    family: ClassVar[Family] = "labels"
    view: ClassVar[type] = GradientView
    citation: ClassVar[str] = (
        "Li et al. 2022, Label leakage and protection in two-party split learning "
        "(ICLR, arXiv:2102.08504)"
    )

    def run(self, view: GradientView, *, rng: Stream) -> LabelGuess:
        """Scores (N, C) of the view's N gradients; nothing is random.

        Raises:
            ThreatModelError: more than two classes, without hints.
        """
        directions = _unit(view.smashed_grad)
        if view.hints is not None and len(view.hints.y):
            cosines = directions @ _unit(view.hints.smashed_grad).T
            return LabelGuess(scores=_best_per_class(cosines, view.hints.y, view.task.classes))
        require_binary(view.task, name="direction", needed="hints")
        return LabelGuess(scores=binary_columns(_split(directions), positive=minority(view.prior)))


def _unit(gradients: Tensor) -> Tensor:
    """(N, d) rows of length 1; a zero row stays zero, and its cosines are 0."""
    return functional.normalize(rows(gradients), eps=torch.finfo(torch.float64).tiny)


def _best_per_class(cosines: Tensor, hinted: Tensor, classes: int) -> Tensor:
    known = hinted.unique()
    scores = -cosines.amax(1, keepdim=True).repeat(1, classes)
    for c in known:
        scores[:, c] = cosines[:, hinted == c].amax(1)
    return scores


def _split(directions: Tensor) -> Tensor:
    """(N,) whose signs are the two clusters, positive for the smaller one.

    The leading eigenvector maximizes v' K v over unit vectors, K the pairwise cosines: it relaxes
    the division into two clusters with the most similarity within, and scores each member's part.
    """
    v: Tensor = torch.linalg.eigh(directions @ directions.T).eigenvectors[:, -1]
    v = v * v[v.abs().argmax()].sign()  # an eigenvector's sign is arbitrary; make it definite
    larger = (v > 0).sum() > (v < 0).sum()
    return -v if larger else v
