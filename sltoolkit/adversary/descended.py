"""Where targets arrived that descended together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self, final

import torch
from torch import Tensor

from sltoolkit.contracts.outcomes import Reconstruction


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Descended:
    """Where N targets arrived.

    Attributes:
        leaves: as the start's, each (N, ...).
        loss: (N,), at the leaves.
        steps: how many steps each target made, (N,) int64.
        curve: step -> the losses (N,) after so many steps; a target that has arrived keeps its own.
        trace: step (1, 2, 4, ..., and the last) -> what `show` made of the leaves, (N, ...).
    """

    leaves: list[Tensor]
    loss: Tensor
    steps: Tensor
    curve: dict[int, Tensor]
    trace: dict[int, Tensor]

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The targets of all parts, in order."""

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
        """The outcome of a descent on feature errors and a smoothness.

        Args:
            images: what the leaves show, (N, ...).
            smooth: what smoothness adds to the losses, (N,) or ().
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
    """After how many steps a trace shows the images: 1, 2, 4, ..., and at the end."""
    return [2**k for k in range(steps.bit_length()) if 2**k < steps] + [steps]
