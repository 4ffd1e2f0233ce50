"""The direction (cosine) attack on labels: equal labels, similar directions.

Adversary: a party without labels that gets back the gradient at the cut for each of its examples.
If it knows the labels of a few examples (hints), it tells any number of classes apart; without
hints, it tells two classes apart.

Idea (Li et al. 2022): for a logistic loss the gradient at the cut is
    g = (p - y) * dl/dz,
and the sign of p - y tells the label. So the score of a class c is the largest cosine of the
example's gradient with the gradients of hints of this class,
    score_c = max over hints j of class c   <g, g_j> / (|g| |g_j|).
Behind a linear head whose rows are orthogonal and equally long, the cosine of two gradients exceeds
1/2 if and only if they belong to one class, for any number of classes.
Without hints, the attack divides the examples into two clusters by the signs of the leading
eigenvector v of the matrix K of pairwise cosines, which maximizes v' K v. The smaller cluster is
taken for the minority in the prior (without a prior: class 1).

Symbols: g the gradient at the cut, p the predicted probability of class 1, y the label, l the logit
and z the smashed data.

Departures from the paper:
1. The paper knows one positive example. Here the score of a class is the largest cosine over all of
   its hints; the score of a class without hints is the negated largest cosine over all hints.
2. The clusters without hints are not in the paper.
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
            ThreatModelError: if there are more than two classes and no hints.
        """
        directions = _unit(view.smashed_grad)
        if view.hints is not None and len(view.hints.y):
            cosines = directions @ _unit(view.hints.smashed_grad).T
            return LabelGuess(scores=_best_per_class(cosines, view.hints.y, view.task.classes))
        require_binary(view.task, name="direction", needed="hints")
        return LabelGuess(scores=binary_columns(_split(directions), positive=minority(view.prior)))


def _unit(gradients: Tensor) -> Tensor:
    """Gradients as rows (N, d) of length 1; a zero row stays zero, and its cosines are 0."""
    return functional.normalize(rows(gradients), eps=torch.finfo(torch.float64).tiny)


def _best_per_class(cosines: Tensor, hinted: Tensor, classes: int) -> Tensor:
    known = hinted.unique()
    scores = -cosines.amax(1, keepdim=True).repeat(1, classes)
    for c in known:
        scores[:, c] = cosines[:, hinted == c].amax(1)
    return scores


def _split(directions: Tensor) -> Tensor:
    """Scores (N,) whose signs are the two clusters, positive for the smaller one.

    The leading eigenvector maximizes v' K v over unit vectors, with K the pairwise cosines. It is
    the relaxed solution for the two clusters with the most similarity inside; an entry's size tells
    how clearly an example belongs to its cluster.
    """
    v: Tensor = torch.linalg.eigh(directions @ directions.T).eigenvectors[:, -1]
    v = v * v[v.abs().argmax()].sign()  # an eigenvector's sign is arbitrary: fix it
    larger = (v > 0).sum() > (v < 0).sum()
    return -v if larger else v
