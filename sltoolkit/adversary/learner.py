"""How attackers train networks, and a record of their losses."""

from collections.abc import Sequence
from typing import Protocol, final

import torch
from torch import Tensor, nn

from sltoolkit.shapes import Scalar
from sltoolkit.streams import Stream


class Architecture(Protocol):
    """The type of the grant `client_arch`."""

    def __call__(self, stream: Stream) -> nn.Module:
        """A fresh client network."""


@final
class Learner:
    """A network in training mode with its own Adam."""

    def __init__(self, network: nn.Module, like: Tensor, lr: float) -> None:
        self.network = network.to(like).train()
        self.weights = [w for w in network.parameters() if w.requires_grad]
        self._optimizer = (
            torch.optim.Adam(self.weights, lr=lr, fused=True) if self.weights else None
        )

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The network's output."""
        out: Tensor = self.network(*inputs)
        return out

    def step(self) -> None:
        """Follow the gradients that the weights hold."""
        if self._optimizer is not None:
            self._optimizer.step()


def learn(*lessons: tuple[Scalar, Sequence[Learner]]) -> None:
    """Step learners along their losses; all gradients are taken before any weight moves.

    Args:
        lessons: pairs of a loss and the learners that descend on it.
    """
    for number, (loss, learners) in enumerate(lessons, start=1):
        weights = [w for learner in learners for w in learner.weights]
        if weights:
            more = number < len(lessons)
            for weight in weights:
                weight.grad = None
            # not autograd.grad: fused optimizers need a gradient in the weight's memory layout,
            # which only `backward` guarantees; a gradient penalty's gradients have another one
            torch.autograd.backward(loss, inputs=weights, retain_graph=more)
    for _, learners in lessons:
        for learner in learners:
            learner.step()


RECENT = 50
"""How many of the last steps a diagnostic averages; single batches are noisy."""

CURVE_POINTS = 50
"""The maximum number of points of a curve."""


@final
class Losses:
    """A record of named losses, step by step.

    Attributes:
        each: by name, every loss that was noted, as scalars without a graph.
    """

    def __init__(self) -> None:
        self.each: dict[str, list[Tensor]] = {}

    def note(self, **losses: Tensor) -> None:
        """Add the losses of one step."""
        for name, loss in losses.items():
            self.each.setdefault(name, []).append(loss.detach())

    def diagnostics(self) -> dict[str, float]:
        """The mean of every loss over the last steps, and how many steps there were."""
        means = {
            name: float(torch.stack(all_[-RECENT:]).mean()) for name, all_ in self.each.items()
        }
        return {**means, "steps": float(max(map(len, self.each.values()), default=0))}

    def curve(self, name: str) -> dict[int, float]:
        """Number of steps -> the mean of a loss since the point before."""
        losses = self.each.get(name, [])
        every = max(1, -(-len(losses) // CURVE_POINTS))
        ends = range(every, len(losses) + 1, every)
        return {end: float(torch.stack(losses[end - every : end]).mean()) for end in ends}
