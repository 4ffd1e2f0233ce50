"""Labels from the gradient at the logits ("direct label inference").

Adversary: a party without labels that gets back the gradient of its logits. So nothing but the loss
is behind the cut (no "top model"), as when the logits of several parties are added up.

Idea (Fu et al. 2022, section 4.1; Zhao et al. 2020, equation 3): the gradient of cross-entropy at
the logits is
    dL/da = (softmax a - onehot y) / B,
whose only negative entry is the label's. The scores are the negated gradient, so the guess is the
most negative entry. The attack also works against a label defense that smooths, until the network
is more certain than the smoothed label. A saturated softmax gives a row of zeros, which tells
nothing; then the prior decides, if it is granted, with scores between those of labels and of other
classes.

Symbols: a the logits of one example, y its label, L the mean loss over a batch of B.

Departures from the paper:
1. The guess is the most negative entry; the paper takes the first negative one.
"""

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from sltoolkit.attacks.labels._gradients import rows
from sltoolkit.contracts.attack import Attack, Family, Role
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.outcomes import LabelGuess
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class LogitView:
    """Per-example gradients at the logits (N, C), and the prior, which decides if they are zero."""

    smashed_grad: Tensor
    task: Task
    prior: Tensor | None


@final
@dataclass(frozen=True, kw_only=True)
class LogitGradient(Attack[LogitView]):
    """Score each class by the negated gradient at its logit."""

    roles: ClassVar[tuple[Role, ...]] = ("client", "server", "eavesdropper")
    family: ClassVar[Family] = "labels"
    view: ClassVar[type] = LogitView
    citation: ClassVar[str] = (
        "Fu et al. 2022, Label inference attacks against vertical federated learning (USENIX "
        "Security); Zhao et al. 2020 (arXiv:2001.02610)"
    )

    def refuses(self, task: Task) -> str | None:
        """Refuse smashed data that can't be logits."""
        if task.smashed_shape == (task.classes,):
            return None
        shape = "x".join(map(str, task.smashed_shape))
        return (
            f"it reads gradients at {task.classes} logits, and smashed data of shape {shape} cross "
            "the cut: cut behind the last layer"
        )

    def run(self, view: LogitView, *, rng: Stream) -> LabelGuess:
        """Scores (N, C) of the view's N gradients; nothing is random."""
        scores = -rows(view.smashed_grad)
        if view.prior is not None:
            silent = (scores == 0).all(1)
            scores[silent] = _faintest(scores) * view.prior.to(scores)
        return LabelGuess(scores=scores)


def _faintest(scores: Tensor) -> float:
    """The smallest score that a gradient gives to a label; 1 if there is none.

    A probability times this number lies below every label that was heard and above every class that
    was ruled out, so that targets compare with each other, which an AUC does.
    """
    heard = scores[scores > 0]
    return float(heard.min()) if len(heard) else 1.0
