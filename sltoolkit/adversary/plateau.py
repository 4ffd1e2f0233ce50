"""Early stopping for targets that descend in one batch, each by its own loss.

A target has arrived when its loss has not fallen by a share `tolerance` for `window` steps. The
decision uses only what the attacker sees, and no other target's loss. A target that has arrived
leaves the batch, so that the others' steps cost less.
"""

from typing import final

import torch
from torch import Tensor


@final
class Plateau:
    """Tracks which of N descents still move.

    Args:
        window: steps without progress after which a target has arrived.
        tolerance: the share of its last best loss by which a loss must fall to be progress.
    """

    def __init__(self, *, window: int, tolerance: float = 1e-3) -> None:
        self._window, self._tolerance = window, tolerance
        self._best: Tensor | None = None  # (N,): the loss at the last progress
        self._idle: Tensor | None = None  # (N,): steps since then

    def moving(self, loss: Tensor, *, steps: int = 1) -> Tensor:
        """Which targets still move, (N,) bool.

        Args:
            loss: the loss of each target, (N,), not negative; NaN is no progress.
            steps: how many steps were made since the last call.
        """
        loss = loss.detach()
        if self._best is None or self._idle is None:
            self._best = torch.full_like(loss, torch.inf)
            self._idle = torch.zeros_like(loss)
        better = loss < (1 - self._tolerance) * self._best
        self._best = torch.where(better, loss, self._best)
        self._idle = torch.where(better, 0.0, self._idle + steps)
        return self._idle < self._window

    def keep(self, rows: Tensor) -> None:
        """Go on with some targets only, given by indices or a mask."""
        if self._best is not None and self._idle is not None:
            self._best, self._idle = self._best[rows], self._idle[rows]


def keep_rows(optimizer: torch.optim.Optimizer, rows: Tensor) -> list[Tensor]:
    """Keep some targets only: their rows of all leaves, gradients and optimizer states.

    Args:
        optimizer: works element by element on leaves whose first dimension is the target.
        rows: indices into the first dimension, or a mask.

    Returns:
        The new leaves, which replace the old ones in the optimizer.
    """
    leaves = []
    for group in optimizer.param_groups:
        group["params"] = [_kept(optimizer, old, rows) for old in group["params"]]
        leaves += group["params"]
    return leaves


def _kept(optimizer: torch.optim.Optimizer, old: Tensor, rows: Tensor) -> Tensor:
    new = old.detach()[rows].requires_grad_(True)
    new.grad = None if old.grad is None else old.grad[rows]
    state = optimizer.state.pop(old, {})
    optimizer.state[new] = {
        name: value[rows] if isinstance(value, Tensor) and value.shape == old.shape else value
        for name, value in state.items()
    }
    return new
