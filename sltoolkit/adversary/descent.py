"""Descending on many targets at once: the loop that optimization attacks share.

Every target has leaves of its own (pixels, or the weights of a generator), stacked along the first
dimension. Their losses are summed and the optimizers work element by element, so no target touches
another. One that has arrived leaves the batch (`plateau`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import cos, pi
from typing import Any, final

import torch
from torch import Tensor

from sltoolkit.adversary.memory import fitting
from sltoolkit.adversary.plateau import Plateau, keep_rows
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.progress import advance, part

LOOK = 10
"""Every so many steps the losses are looked at: for the curve, and for who has arrived."""

Objective = Callable[[list[Tensor], Tensor], Tensor]
"""From the leaves (M, ...) of some targets and their indices (M,), to their losses (M,)."""

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "amsgrad": partial(torch.optim.Adam, amsgrad=True, eps=1e-3),
    "sgd": torch.optim.SGD,
}
"""Element by element only: L-BFGS and clipping by a global norm would couple the targets.

`amsgrad` has the epsilon of He, Zhang and Lee's published code.
"""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Descended:
    """Where N targets arrived.

    Attributes:
        leaves: as the start's, each (N, ...).
        loss: (N,), at the leaves.
        steps: how many steps each target made, (N,) int64.
        curve: step -> the losses (N,) after so many steps; who has arrived stays where it is.
        trace: step (1, 2, 4, ..., and the last) -> what `show` made of the leaves, (N, ...).
    """

    leaves: list[Tensor]
    loss: Tensor
    steps: Tensor
    curve: dict[int, Tensor]
    trace: dict[int, Tensor]

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


def _first(leaves: list[Tensor]) -> Tensor:
    return leaves[0]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Descent:
    """How to descend.

    Attributes:
        steps: at most.
        rate: from the number of the step, from 0, to the learning rate.
        optimizer: makes one of the leaves; element by element.
        window: steps without progress after which a target has arrived; None: never.
        tolerance: the share of its loss that counts as progress.
        chunk: targets that descend at once; fewer, where memory doesn't hold them.
        settle: puts leaves back in place after a step (in [0, 1], say).
        show: what to keep of the leaves along the way, (M, ...); by default the first leaf.
    """

    steps: int
    rate: Callable[[int], float]
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam
    window: int | None = None
    tolerance: float = 1e-3
    chunk: int = 64
    settle: Callable[[list[Tensor]], None] | None = None
    show: Callable[[list[Tensor]], Tensor] = _first

    def run(self, objective: Objective, start: Sequence[Tensor]) -> Descended:
        """Descend from `start`, leaves with one row per target."""
        everybody = torch.arange(len(start[0]), device=start[0].device)

        def step(count: int) -> list[Tensor]:
            leaves = [leaf[:count].detach().clone().requires_grad_(True) for leaf in start]
            torch.autograd.grad(objective(leaves, everybody[:count]).sum(), leaves)
            return leaves

        chunks = everybody.split(fitting(self.chunk, len(everybody), step))
        done = []
        for number, rows in enumerate(chunks):
            with part(1 / (len(chunks) - number)):
                done.append(_Chunk(self, objective, [leaf[rows] for leaf in start], rows).run())
        return _joined(done)


@final
class _Chunk:
    """The targets of one chunk on their way."""

    def __init__(
        self, how: Descent, objective: Objective, start: list[Tensor], rows: Tensor
    ) -> None:
        self._how, self._objective, self._rows = how, objective, rows
        self._kept = [leaf.detach().clone() for leaf in start]  # of those who arrived
        self._leaves = [leaf.detach().clone().requires_grad_(True) for leaf in start]
        self._optimizer = how.optimizer(self._leaves, lr=how.rate(0))
        self._plateau = (
            None if how.window is None else Plateau(window=how.window, tolerance=how.tolerance)
        )
        self._alive = torch.arange(len(rows), device=rows.device)
        self._steps = torch.zeros_like(rows)
        self._loss = start[0].new_full((len(rows),), torch.inf)
        self._curve: dict[int, Tensor] = {}
        self._trace: dict[int, Tensor] = {}

    def run(self) -> Descended:
        how = self._how
        for step in range(how.steps):
            loss = self._objective(self._leaves, self._rows[self._alive])
            slopes = list(torch.autograd.grad(loss.sum(), self._leaves))
            self._look(step, loss.detach())
            slopes = self._part_with_arrived(step, loss, slopes)
            if len(self._alive) == 0:
                break
            self._step(step, slopes)
            advance(step + 1, how.steps)
        return self._finish()

    def _look(self, step: int, loss: Tensor) -> None:
        """Note the losses, and at powers of two what the leaves show."""
        snapshot = step > 0 and step & (step - 1) == 0
        if snapshot or step % LOOK == 0:
            self._loss[self._alive] = loss
            self._curve[step] = self._loss.clone()
        if snapshot:
            self._trace[step] = self._shown()

    def _part_with_arrived(self, step: int, loss: Tensor, slopes: list[Tensor]) -> list[Tensor]:
        """Take out of the batch who has arrived; the slopes of the others."""
        if self._plateau is None or step % LOOK:
            return slopes
        moving = self._plateau.moving(loss, steps=LOOK if step else 0)
        if bool(moving.all()):
            return slopes
        self._put_back()
        self._plateau.keep(moving)
        self._leaves = keep_rows(self._optimizer, moving)
        self._alive = self._alive[moving]
        return [slope[moving] for slope in slopes]

    def _step(self, step: int, slopes: list[Tensor]) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self._how.rate(step)
        for leaf, slope in zip(self._leaves, slopes, strict=True):
            leaf.grad = slope
        self._optimizer.step()
        if self._how.settle is not None:
            with torch.no_grad():
                self._how.settle(self._leaves)
        self._steps[self._alive] = step + 1

    def _put_back(self) -> None:
        """Write the rows that are on their way into those of all."""
        for kept, leaf in zip(self._kept, self._leaves, strict=True):
            kept[self._alive] = leaf.detach()

    def _shown(self) -> Tensor:
        self._put_back()
        with torch.no_grad():
            return self._how.show(self._kept).clone()

    def _finish(self) -> Descended:
        if len(self._alive):
            with torch.no_grad():
                loss = self._objective(self._leaves, self._rows[self._alive])
            self._loss[self._alive] = loss.detach()
        last = self._shown()
        curve = {step: self._curve.get(step, self._loss) for step in _looks(self._how.steps)}
        trace = {step: self._trace.get(step, last) for step in snapshots(self._how.steps)}
        return Descended(
            leaves=self._kept, loss=self._loss, steps=self._steps, curve=curve, trace=trace
        )


def snapshots(steps: int) -> list[int]:
    """After how many steps a trace shows the images: 1, 2, 4, ..., and at the end."""
    return [2**k for k in range(steps.bit_length()) if 2**k < steps] + [steps]


def _looks(steps: int) -> list[int]:
    return sorted({*range(0, steps, LOOK), *snapshots(steps)})


def _joined(parts: Sequence[Descended]) -> Descended:
    def rows(of: Callable[[Descended], dict[int, Tensor]]) -> dict[int, Tensor]:
        return {step: torch.cat([of(p)[step] for p in parts]) for step in of(parts[0])}

    return Descended(
        leaves=[torch.cat(leaf) for leaf in zip(*(p.leaves for p in parts), strict=True)],
        loss=torch.cat([p.loss for p in parts]),
        steps=torch.cat([p.steps for p in parts]),
        curve=rows(lambda p: p.curve),
        trace=rows(lambda p: p.trace),
    )


def cosine(lr: float, steps: int) -> Callable[[int], float]:
    """A learning rate that falls from `lr` to zero along a cosine."""
    return lambda step: lr * (1 + cos(pi * step / steps)) / 2


def constant(lr: float) -> Callable[[int], float]:
    """The same learning rate in every step."""
    return lambda step: lr


RATES: dict[str, Callable[[float, int], Callable[[int], float]]] = {
    "constant": lambda lr, steps: constant(lr),
    "cosine": cosine,
}
"""Learning rates over the steps, from the initial one and the number of steps."""


def squared_error(guess: Tensor, z: Tensor, weights: Tensor | None = None) -> Tensor:
    """Per target (N,): the squared errors of its units (N, ...), as weighted; their mean without.

    Its gradient is written down, which saves two passes over the smashed data per step.

    Args:
        guess: of the smashed data, (N, ...), with a graph.
        z: what was heard, (N, ...).
        weights: of units, broadcast over (N, ...), summing to one per target.
    """
    error: Tensor = _SquaredError.apply(guess, z, weights)  # type: ignore[no-untyped-call]
    return error


class _SquaredError(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, guess: Tensor, z: Tensor, weights: Tensor | None) -> Tensor:
        off = guess - z
        if weights is None:
            ctx.save_for_backward(off.mul(2 / (off.numel() // max(1, len(off)))))
            return off.square().flatten(1).mean(1)
        weighted = off * weights
        ctx.save_for_backward(weighted.mul(2))
        return off.mul_(weighted).flatten(1).sum(1)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, None]:
        (doubled,) = ctx.saved_tensors
        return doubled * slopes[0].reshape(-1, *(1,) * (doubled.dim() - 1)), None, None
