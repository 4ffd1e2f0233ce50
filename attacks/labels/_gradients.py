"""What the label attacks on gradients share: their view, and how scores become columns."""

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
    """Per-example gradients at the cut, and what may orient a guess made from them.

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
    """Gradients (N, ...) as (N, d) float64."""
    return gradients.double().flatten(1)


def binary_columns(r: Tensor, *, positive: int) -> Tensor:
    """A binary score r (N,), larger = more likely the class `positive`, as columns (N, 2)."""
    return torch.stack([-r, r] if positive == 1 else [r, -r], dim=1)


def minority(prior: Tensor | None) -> int:
    """The rarer of two classes; 1, the usual name of the positive one, where nothing says so."""
    return 0 if prior is not None and float(prior[0]) < float(prior[1]) else 1


def require_binary(task: Task, *, name: str, needed: str) -> None:
    """Refuse more than two classes.

    Raises:
        ThreatModelError: a sentence with what the attack `name` would have needed.
    """
    if task.classes != 2:
        raise ThreatModelError(
            f"{name} can tell {task.classes} classes apart only with {needed}: "
            "grant it, grants=(..., 'hints'), or attack a task of two classes"
        )
