"""L-BFGS on many rows at once, each with its own memory.

Idea (Liu and Nocedal 1989, algorithm 2.1): the last steps s, and the changes y of the gradient that
they caused, approximate the inverse Hessian. Two loops over these pairs multiply the gradient by
it. Each row moves as under `torch.optim.LBFGS` without a line search, which the codes of DLG and
iDLG use: at rate 1 (the first step at 1 / sum of |gradient|, if that is smaller), and with the same
thresholds.
"""

from typing import final

import torch
from torch import Tensor

HISTORY = 100
"""How many pairs each row remembers."""

FLAT, LEVEL, STRAIGHT = 1e-7, 1e-9, 1e-10
"""Torch's thresholds for the largest slope, the descent per step, and s . y of a pair to keep."""


@final
class RowwiseLBFGS:
    """Computes the steps of rows (M, P) from their gradients, call after call.

    Args:
        like: the rows, for their shape, dtype and device.
        history: how many pairs a row remembers.
    """

    def __init__(self, like: Tensor, *, history: int = HISTORY) -> None:
        rows, size = like.shape
        self._history = history
        self._steps = like.new_zeros(rows, history, size)
        self._changes = like.new_zeros(rows, history, size)
        self._inverse = like.new_zeros(rows, history)  # 1 / (s . y); 0: nothing remembered
        self._met = torch.zeros(rows, dtype=torch.int64, device=like.device)
        self._scale = like.new_ones(rows)
        self._before, self._moved = like.new_zeros(rows, size), like.new_zeros(rows, size)
        self._started = False

    def step(self, gradient: Tensor) -> Tensor:
        """The rows' next steps (M, P), given their present gradients (M, P).

        A row that is flat, or can't descend any further, gets a step of zero.
        """
        if self._started:
            self._remember(gradient - self._before)
            rate, direction = gradient.new_ones(len(gradient)), self._descent(gradient)
        else:
            rate, direction = gradient.abs().sum(1).reciprocal().clamp(max=1), -gradient
        falls = (gradient.abs().amax(1) > FLAT) & (_dots(gradient, direction) <= -LEVEL)
        self._started, self._before = True, gradient
        self._moved = torch.where(falls[:, None], rate[:, None] * direction, 0.0)
        return self._moved

    def keep(self, rows: Tensor) -> None:
        """Go on with some of the rows, chosen by a mask (M,)."""
        for name in ("_steps", "_changes", "_inverse", "_met", "_scale", "_before", "_moved"):
            setattr(self, name, getattr(self, name)[rows])

    def _remember(self, change: Tensor) -> None:
        """Store the last step and the change of the gradient (M, P) of rows that curve upward."""
        curvature = _dots(change, self._moved)
        rows = (curvature > STRAIGHT).nonzero().squeeze(1)
        slot = self._met[rows] % self._history
        self._steps[rows, slot], self._changes[rows, slot] = self._moved[rows], change[rows]
        self._inverse[rows, slot] = curvature[rows].reciprocal()
        self._scale[rows] = curvature[rows] / _dots(change, change)[rows]
        self._met[rows] += 1

    def _descent(self, gradient: Tensor) -> Tensor:
        """Minus the inverse Hessian times the gradient (M, P), by the two loops."""
        depth = min(self._history, int(self._met.max()))
        q, shares = -gradient, []
        for age in range(depth):
            s, y, inverse = self._pair(age)
            shares.append(inverse * _dots(s, q))
            q = q - shares[-1][:, None] * y
        r = self._scale[:, None] * q
        for age in reversed(range(depth)):
            s, y, inverse = self._pair(age)
            r = r + (shares[age] - inverse * _dots(y, r))[:, None] * s
        return r

    def _pair(self, age: int) -> tuple[Tensor, Tensor, Tensor]:
        """Each row's pair from `age` pairs ago; zeros for rows that remember fewer."""
        rows = torch.arange(len(self._met), device=self._met.device)
        slot = (self._met - 1 - age) % self._history
        return self._steps[rows, slot], self._changes[rows, slot], self._inverse[rows, slot]


def _dots(a: Tensor, b: Tensor) -> Tensor:
    """The dot products of corresponding rows (M, P): (M,)."""
    return (a * b).sum(1)
