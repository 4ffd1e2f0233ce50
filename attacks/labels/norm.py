"""The norm attack on labels: unlikely labels give long gradients.

Adversary: a party without labels that gets back the gradient at the cut for each of its examples.
If it knows the labels of a few examples of every class (hints), it tells any number of classes
apart; without hints, it tells two classes apart.

Idea (Li et al. 2022): for a logistic loss the gradient at the cut is
    g = (p - y) * dl/dz,   and the score of the minority is   r = |g|,
which is large where the network is wrong. On imbalanced data the network is wrong about the
minority, which is the rarer class in the prior (without a prior: class 1).
With hints of every class, the score of a class c says how much nearer r lies to the mean norm m_c
of its hints than to that of the nearest other class,
    score_c = min over k != c of (r - m_k)^2  -  (r - m_c)^2.

Symbols: g the gradient at the cut, p the predicted probability of class 1, y the label, l the logit
and z the smashed data.

Departures from the paper:
1. The scores with hints are not in the paper. With two classes they are monotone in r, as the
   paper's score is.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from sltoolkit.attacks.labels._gradients import (
    GradientView,
    binary_columns,
    minority,
    require_binary,
    rows,
)
from sltoolkit.contracts.attack import Attack, Family, Role
from sltoolkit.contracts.knowledge import Hints
from sltoolkit.contracts.outcomes import LabelGuess
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True)
class Norm(Attack[GradientView]):
    """Score a target by the norm of its gradient."""

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
            ThreatModelError: if there are more than two classes, and not hints of every class.
        """
        r = rows(view.smashed_grad).norm(dim=1)
        classes = view.task.classes
        if view.hints is not None and len(view.hints.y.unique()) == classes:
            return LabelGuess(scores=_margins(r, _mean_norms(view.hints, classes)))
        require_binary(view.task, name="norm", needed="hints of every class")
        return LabelGuess(scores=binary_columns(r, positive=minority(view.prior)))


def _mean_norms(hints: Hints, classes: int) -> Tensor:
    norms = rows(hints.smashed_grad).norm(dim=1)
    return torch.stack([norms[hints.y == c].mean() for c in range(classes)])


def _margins(r: Tensor, means: Tensor) -> Tensor:
    # squared, so that with two classes the margin is monotone in r, as the paper's score is
    distance = (r[:, None] - means).square()
    others = distance[:, None].masked_fill(torch.eye(len(means), device=r.device) > 0, torch.inf)
    return others.amin(2) - distance
