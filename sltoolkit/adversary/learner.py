"""What attacks that learn beside a victim keep of their own losses."""

from typing import final

import torch
from torch import Tensor

RECENT = 50
"""Steps that diagnostics are means over: the last ones, since single batches are noisy."""

CURVE_POINTS = 50
"""Of a curve, at most."""


@final
class Losses:
    """Named losses, step by step.

    Attributes:
        each: every loss that was noted, scalars without a graph, by name.
    """

    def __init__(self) -> None:
        self.each: dict[str, list[Tensor]] = {}

    def note(self, **losses: Tensor) -> None:
        """Keep a step's losses."""
        for name, loss in losses.items():
            self.each.setdefault(name, []).append(loss.detach())

    def diagnostics(self) -> dict[str, float]:
        """The mean of every loss over the last steps, and how many steps there were."""
        means = {
            name: float(torch.stack(all_[-RECENT:]).mean()) for name, all_ in self.each.items()
        }
        return {**means, "steps": float(max(map(len, self.each.values()), default=0))}

    def curve(self, name: str) -> dict[int, float]:
        """Steps made -> the mean of a loss since the point before."""
        losses = self.each.get(name, [])
        every = max(1, -(-len(losses) // CURVE_POINTS))
        ends = range(every, len(losses) + 1, every)
        return {end: float(torch.stack(losses[end - every : end]).mean()) for end in ends}
