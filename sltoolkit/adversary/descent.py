"""Descent on many targets at once: the loop that optimization attacks share.

Every target has its own leaves (pixels, or the weights of a generator), stacked along the first
dimension. The losses are summed and the optimizers work element by element, so no target influences
another. A target that has arrived, because its loss stands still, leaves the batch (`plateau`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import cos, pi
from typing import Annotated, Any, final

import torch
from torch import Tensor

from sltoolkit.adversary.descended import Descended, snapshots
from sltoolkit.adversary.memory import fitting
from sltoolkit.adversary.plateau import Plateau, keep_rows
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.progress import advance, part

LOOK = 10
"""How many steps lie between two looks at the losses, for the curve and for arrived targets."""

Window = Annotated[
    int, Parameter("steps without progress after which a target stops; 0: never", least=0)
]
"""The parameter `window` of attacks that descend."""

Chunk = Annotated[int, Parameter("targets that descend at once; fewer if memory is short", least=1)]
"""Their parameter `chunk`."""

Objective = Callable[[list[Tensor], Tensor], Tensor]
"""A function from the leaves (M, ...) of some targets and their indices (M,) to losses (M,)."""

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "amsgrad": partial(torch.optim.Adam, amsgrad=True, eps=2e-3),
    "sgd": torch.optim.SGD,
}
"""Optimizers that work element by element; L-BFGS, for example, would couple the targets.

`amsgrad` makes the steps of He, Zhang and Lee's published code for MNIST. It descends on pixels
x' = (x - m) / s, where all gradients are s times as large, so both moments (the second under its
root) are, too; and a step of x is s times that of x'. Hence its rate a and epsilon e are s * a and
e / s here: with s = 1/2, its 1e-3 is 2e-3.
"""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Turn:
    """Steps of some of the leaves on their own loss.

    Attributes:
        objective: the loss.
        leaves: which leaves move.
        steps: how many steps they make in one turn.
    """

    objective: Objective
    leaves: slice
    steps: int


def _first(leaves: list[Tensor]) -> Tensor:
    return leaves[0]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Descent:
    """How to descend.

    Attributes:
        steps: the maximum number of steps.
        rate: the learning rate as a function of the step's number, which begins at 0.
        optimizer: makes an optimizer for the leaves; it must work element by element.
        window: steps without progress after which a target has arrived; None: never.
        tolerance: the share of its loss by which a target must improve to make progress.
        chunk: targets that descend at once; fewer if memory is short.
        settle: moves leaves back into their range after a step, for example into [0, 1].
        show: what the trace keeps of the leaves, (M, ...); by default the first leaf.
    """

    steps: int
    rate: Callable[[int], float]
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam
    window: int | None = None
    tolerance: float = 1e-3
    chunk: int = 64
    settle: Callable[[list[Tensor]], None] | None = None
    show: Callable[[list[Tensor]], Tensor] = _first

    def run(
        self, objective: Objective, start: Sequence[Tensor], *, turns: Sequence[Turn] = ()
    ) -> Descended:
        """Descend from a start.

        Args:
            objective: the loss that all leaves descend on together. With `turns` the leaves descend
                on the turns' objectives, and this one only measures progress after every step.
            start: leaves with one row per target.
            turns: the parts of one step, in order; each leaf belongs to one turn.
        """
        everybody = torch.arange(len(start[0]), device=start[0].device)

        def step(count: int) -> list[Tensor]:
            leaves = [leaf[:count].detach().clone().requires_grad_(True) for leaf in start]
            torch.autograd.grad(objective(leaves, everybody[:count]).sum(), leaves)
            return leaves

        chunks = everybody.split(fitting(self.chunk, len(everybody), step))
        done = []
        for number, rows in enumerate(chunks):
            with part(1 / (len(chunks) - number)):
                leaves = [leaf[rows] for leaf in start]
                done.append(_Chunk(self, objective, turns, leaves, rows).run())
        return Descended.joined(done)


@final
class _Chunk:
    """The descent of one chunk of targets."""

    def __init__(
        self, how: Descent, objective: Objective, turns: Sequence[Turn], start: list[Tensor],
        rows: Tensor,
    ) -> None:  # fmt: skip
        self._how, self._objective, self._rows = how, objective, rows
        self._turns = [turn for turn in turns if start[turn.leaves]]
        self._kept = [leaf.detach().clone() for leaf in start]  # of all, also those that arrived
        self._leaves = [leaf.detach().clone().requires_grad_(True) for leaf in start]
        moving = [self._leaves[turn.leaves] for turn in self._turns] or [self._leaves]
        self._optimizers = [how.optimizer(leaves, lr=how.rate(0)) for leaves in moving]
        self._plateau = (
            None if how.window is None else Plateau(window=how.window, tolerance=how.tolerance)
        )
        self._alive = torch.arange(len(rows), device=rows.device)
        self._steps = torch.zeros_like(rows)
        self._loss = start[0].new_full((len(rows),), torch.inf)
        self._curve: dict[int, Tensor] = {}
        self._trace: dict[int, Tensor] = {}

    def run(self) -> Descended:
        for step in range(self._how.steps):
            self._stand(step)
            if len(self._alive) == 0:
                break
            self._move(step)
            self._steps[self._alive] = step + 1
            advance(step + 1, self._how.steps)
        return self._finish()

    def _stand(self, step: int) -> None:
        """Look at the losses; without turns, they come with the gradients of the next step."""
        if not self._turns:
            self._look(step, self._slope(self._objective, self._leaves), every=LOOK)
        elif step:
            self._look(step, self._losses(), every=1)

    def _move(self, step: int) -> None:
        """One step of all leaves together, or the steps of every turn."""
        if not self._turns:
            self._follow(self._optimizers[0], step)
        for turn, optimizer in zip(self._turns, self._optimizers, strict=False):
            for _ in range(turn.steps):
                self._slope(turn.objective, self._leaves[turn.leaves])
                self._follow(optimizer, step)

    def _losses(self) -> Tensor:
        with torch.no_grad():
            return self._objective(self._leaves, self._rows[self._alive])

    def _slope(self, objective: Objective, leaves: list[Tensor]) -> Tensor:
        """Compute the losses (M,), and leave their gradients in these leaves."""
        for leaf in leaves:
            leaf.grad = None
        loss = objective(self._leaves, self._rows[self._alive])
        # not autograd.grad: its gradients may have a memory layout that breaks fused optimizers
        torch.autograd.backward(loss.sum(), inputs=leaves)
        return loss.detach()

    def _follow(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        for group in optimizer.param_groups:
            group["lr"] = self._how.rate(step)
        optimizer.step()
        if self._how.settle is not None:
            with torch.no_grad():
                self._how.settle(self._leaves)

    def _look(self, step: int, loss: Tensor, *, every: int) -> None:
        """Note losses, at powers of two also what leaves show; take out arrived targets."""
        snapshot = step > 0 and step & (step - 1) == 0
        if snapshot or step % every == 0:
            self._loss[self._alive] = loss
            self._curve[step] = self._loss.clone()
        if snapshot:
            self._trace[step] = self._shown()
        if self._plateau is not None and step % every == 0:
            self._part_with_arrived(self._plateau, loss, steps=every if step else 0)

    def _part_with_arrived(self, plateau: Plateau, loss: Tensor, *, steps: int) -> None:
        """Take the targets that have arrived out of the batch."""
        moving = plateau.moving(loss, steps=steps)
        if bool(moving.all()):
            return
        self._put_back()
        plateau.keep(moving)
        self._leaves = [leaf for o in self._optimizers for leaf in keep_rows(o, moving)]
        self._alive = self._alive[moving]

    def _put_back(self) -> None:
        """Copy the rows that still move into the leaves of all targets."""
        for kept, leaf in zip(self._kept, self._leaves, strict=True):
            kept[self._alive] = leaf.detach()

    def _shown(self) -> Tensor:
        self._put_back()
        with torch.no_grad():
            return self._how.show(self._kept).clone()

    def _finish(self) -> Descended:
        if len(self._alive):
            self._loss[self._alive] = self._losses()
        last, steps = self._shown(), self._how.steps
        shots = snapshots(steps)
        looks = range(1, steps + 1) if self._turns else sorted({*range(0, steps, LOOK), *shots})
        return Descended(
            leaves=self._kept,
            loss=self._loss,
            steps=self._steps,
            curve={step: self._curve.get(step, self._loss) for step in looks},
            trace={step: self._trace.get(step, last) for step in shots},
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
"""Schedules by name: from the initial rate and the number of steps to the rate of each step."""


def squared_error(guess: Tensor, z: Tensor, weights: Tensor | None = None) -> Tensor:
    """The weighted squared error of each target, (N,); without weights, the mean over its units.

    The gradient is written out by hand, which saves two passes over the smashed data per step.

    Args:
        guess: guesses of the smashed data, (N, ...), with a graph.
        z: what was heard, (N, ...).
        weights: weights of units, broadcast over (N, ...), which sum to one per target.
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
