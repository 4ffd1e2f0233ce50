"""What the label attacks on gradients share: their view, and scores as one column per class."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.knowledge import Hints
from sltoolkit.errors import ThreatModelError


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class GradientView:
    """Per-example gradients at the cut, and what helps to turn them into labels.

    Attributes:
        smashed_grad: gradients that arrived for the targets while training, (N, ...).
        task: shapes and classes.
        prior: class frequencies of the private data, (C,).
        hints: private examples whose labels the attacker knows.
    """

    smashed_grad: Tensor
    task: Task
    prior: Tensor | None
    hints: Hints | None


def rows(gradients: Tensor) -> Tensor:
    """Gradients (N, ...) flattened to (N, d), in float64."""
    return gradients.double().flatten(1)


def binary_columns(r: Tensor, *, positive: int) -> Tensor:
    """Scores (N, 2) of two classes, from r (N,): larger = more likely the class `positive`."""
    return torch.stack([-r, r] if positive == 1 else [r, -r], dim=1)


def minority(prior: Tensor | None) -> int:
    """The rarer of two classes; without a prior 1, the usual name of the positive class."""
    return 0 if prior is not None and float(prior[0]) < float(prior[1]) else 1


def require_binary(task: Task, *, name: str, needed: str) -> None:
    """Refuse more than two classes.

    Args:
        task: shapes and classes.
        name: the name of the attack.
        needed: what it would have needed to tell more classes apart.

    Raises:
        ThreatModelError: if there are more than two classes.
    """
    if task.classes != 2:
        raise ThreatModelError(
            f"{name} can tell {task.classes} classes apart only with {needed}: "
            "grant it, grants=(..., 'hints'), or attack a task of two classes"
        )
