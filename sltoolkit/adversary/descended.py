"""The result of a descent on many targets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self, final

import torch
from torch import Tensor

from sltoolkit.contracts.outcomes import Reconstruction


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Descended:
    """Where the descents of N targets ended.

    Attributes:
        leaves: the final leaves, each (N, ...), shaped as those of the start.
        loss: the losses at these leaves, (N,).
        steps: how many steps each target made, (N,) int64.
        curve: step -> the losses (N,) after so many steps; a target that has arrived keeps its
            last loss.
        trace: step (1, 2, 4, ..., and the last) -> what `show` made of the leaves, (N, ...).
    """

    leaves: list[Tensor]
    loss: Tensor
    steps: Tensor
    curve: dict[int, Tensor]
    trace: dict[int, Tensor]

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The results for the targets of all parts, in order."""

        def rows(of: Callable[[Self], dict[int, Tensor]]) -> dict[int, Tensor]:
            return {step: torch.cat([of(p)[step] for p in parts]) for step in of(parts[0])}

        return cls(
            leaves=[torch.cat(leaf) for leaf in zip(*(p.leaves for p in parts), strict=True)],
            loss=torch.cat([p.loss for p in parts]),
            steps=torch.cat([p.steps for p in parts]),
            curve=rows(lambda p: p.curve),
            trace=rows(lambda p: p.trace),
        )

    def mean_curve(self) -> dict[int, float]:
        """Step -> the mean loss over targets: what an outcome's `curve` holds."""
        return {step: float(loss.mean()) for step, loss in self.curve.items()}

    def reconstruction(self, images: Tensor, *, smooth: Tensor) -> Reconstruction:
        """The outcome of a descent on feature errors plus a smoothness term.

        Args:
            images: what the leaves show, (N, ...).
            smooth: the smoothness term of the losses, (N,) or ().
        """
        return Reconstruction(
            images=images,
            trace=self.trace,
            curve=self.mean_curve(),
            diagnostics={
                "feature_loss": float((self.loss - smooth).mean()),
                "steps": float(self.steps.double().mean()),
            },
        )


def snapshots(steps: int) -> list[int]:
    """The steps after which a trace shows the images: 1, 2, 4, ..., and the last."""
    return [2**k for k in range(steps.bit_length()) if 2**k < steps] + [steps]
