"""Gradients, views and scores for the tests of the label attacks."""

import torch
from torch import Tensor, nn

from sltoolkit.attacks.labels._gradients import GradientView
from sltoolkit.attacks.labels.direction import Direction
from sltoolkit.attacks.labels.norm import Norm
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.knowledge import Hints
from sltoolkit.metrics.labels import leak_auc
from sltoolkit.streams import Stream


def rand(*shape: int, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=g, dtype=torch.float64)


def view(
    g: Tensor, *, classes: int = 2, prior: list[float] | None = None, hints: Hints | None = None
) -> GradientView:
    return GradientView(
        smashed_grad=g,
        task=Task(input_shape=(1,), smashed_shape=tuple(g.shape[1:]), classes=classes),
        prior=None if prior is None else torch.tensor(prior),
        hints=hints,
    )


def guess(attack: Norm | Direction, v: GradientView) -> Tensor:
    return attack.run(v, rng=Stream(0)).scores


def auc(scores: Tensor, y: Tensor) -> float:
    return float(leak_auc(scores, y))


def cross_entropy_gradients(logits: Tensor, y: Tensor, head: Tensor) -> Tensor:
    """Gradients at the input of a linear head (C, d): its Jacobian times softmax - onehot."""
    return (logits.softmax(1) - nn.functional.one_hot(y, logits.shape[1])) @ head


def hints_of(g: Tensor, y: Tensor, per_class: int) -> tuple[Hints, Tensor]:
    """The first `per_class` rows of each class as hints, and a mask of the others."""
    rest = torch.ones(len(y), dtype=torch.bool)
    for c in y.unique():
        rest[(y == c).nonzero().flatten()[:per_class]] = False
    return Hints(smashed_grad=g[~rest], y=y[~rest]), rest
