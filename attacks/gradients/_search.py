"""The search that DLG and iDLG share: L-BFGS from noise to inputs whose gradients were heard.

All groups of targets are searched for at once, each with a memory, a best point and an end of its
own, as if alone.
"""

from dataclasses import dataclass
from math import prod
from typing import ClassVar, Self, final

import torch
from torch import Tensor
from torch.nn import functional

from sltoolkit.adversary.lbfgs import RowwiseLBFGS
from sltoolkit.adversary.memory import fitting
from sltoolkit.attacks.gradients._matching import (
    Matching,
    UpdatesView,
    require_scale,
    squared_distance,
)
from sltoolkit.contracts.attack import Attack, Family, Role
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.progress import advance, part
from sltoolkit.streams import Stream

MATCHED = 1e-7
"""A squared distance below this share of the squared gradients is as near as float32 comes."""


@dataclass(frozen=True, kw_only=True)
class Leak(Attack[UpdatesView]):
    """Match gradients by L-BFGS; attacks say what is known.

    Attributes:
        steps: iterations, of `inner` steps of L-BFGS each.
        restarts: at most so many starts per group.
        inner: steps of L-BFGS per iteration, torch's default and the codes'.
        chunk: groups searched for at once; fewer, where memory doesn't hold them.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server", "eavesdropper", "colluding")
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = UpdatesView

    steps: int = 300
    restarts: int = 8
    inner: int = 20
    chunk: int = 64

    @classmethod
    def smoke(cls) -> Self:
        """Two steps."""
        return cls(steps=1, restarts=1, inner=2)

    def search(
        self, view: UpdatesView, labels: Tensor | None, *, rng: Stream, name: str
    ) -> Reconstruction:
        """Find every group's inputs; `gradient_loss` is the mean squared distance that is left.

        Args:
            view: what was heard.
            labels: of groups of one sample, (G,), where known; else they are searched, too.
            rng: the attacker's stream.
            name: the attack's, for refusals.

        Raises:
            ThreatModelError: if the updates are those of a part of the network.
            SpecError: if their scale isn't that of a gradient.
        """
        require_scale(view.updates, name=name)
        problem = _Problem(Matching(view.updates, name=name), labels, view, rng)
        groups = torch.arange(problem.groups, device=problem.enough.device)
        chunks = groups.split(fitting(self.chunk, len(groups), problem.step_of))
        points, losses = [], []
        for number, rows in enumerate(chunks):
            with part(1 / (len(chunks) - number)):
                point, loss = self._best(problem, rows)
            points.append(point)
            losses.append(loss)
        return Reconstruction(
            images=problem.guess(torch.cat(points), groups)[0].flatten(0, 1),
            diagnostics={"gradient_loss": float(torch.cat(losses).mean())},
        )

    def _best(self, problem: "_Problem", groups: Tensor) -> tuple[Tensor, Tensor]:
        """Of each group (M,) the start that matches best: its point (M, P) and loss (M,).

        A start that has matched the gradients is the last; one that diverges loses to any other.
        """
        with part(1 / self.restarts):
            points, losses = self._descend(problem, groups)
        for restart in range(1, self.restarts):
            again = (losses > problem.enough[groups]).nonzero().squeeze(1)
            if len(again) == 0:
                break
            with part(1 / (self.restarts - restart)):
                others, theirs = self._descend(problem, groups[again])
            better = theirs < losses[again]
            points[again[better]], losses[again[better]] = others[better], theirs[better]
        return points, losses

    def _descend(self, problem: "_Problem", groups: Tensor) -> tuple[Tensor, Tensor]:
        """From noise, the best points that L-BFGS comes by at rate 1, and their losses."""
        point = problem.start(groups)
        best, least = point.clone(), point.new_full((len(point),), torch.inf)
        lbfgs, alive = RowwiseLBFGS(point), torch.arange(len(point), device=point.device)
        for iteration in range(self.steps):
            before = least[alive]
            for _ in range(self.inner):
                loss, slope = problem.slope(point, groups[alive])
                better = loss < least[alive]  # False for NaN
                best[alive[better]], least[alive[better]] = point[better], loss[better]
                point = point + lbfgs.step(slope)
            now = least[alive]
            moving = (now > problem.enough[groups[alive]]) & (now < before)
            if not bool(moving.any()):
                break
            point, alive = point[moving], alive[moving]
            lbfgs.keep(moving)
            advance(iteration + 1, self.steps)
        return best, least


@final
class _Problem:
    """What is minimized: points (M, P) are groups' inputs and, where unknown, labels' logits."""

    def __init__(
        self, matching: Matching, labels: Tensor | None, view: UpdatesView, rng: Stream
    ) -> None:
        self._matching, self._heard = matching, matching.heard
        self.groups, self._batch = matching.groups, view.updates.batch
        self._like = next(iter(self._heard.values()))
        self._input, self._classes = view.task.input_shape, view.task.classes
        self._pixels = self._batch * prod(self._input)
        self._known = None if labels is None else functional.one_hot(labels, self._classes)[:, None]
        self._size = self._pixels + self._batch * self._classes * (labels is None)
        self._draws = [rng.child(f"group{g}").torch(self._like.device) for g in range(self.groups)]
        power = torch.stack([g.square().flatten(1).sum(1) for g in self._heard.values()]).sum(0)
        self.enough = MATCHED * power

    def start(self, groups: Tensor) -> Tensor:
        """Standard normal points of these groups, of each from its own stream."""
        return torch.stack([self._normal(self._draws[int(g)]) for g in groups])

    def guess(self, point: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
        """The inputs (M, B, ...) and label probabilities (M, B, C) of points."""
        x = point[:, : self._pixels].unflatten(1, (self._batch, *self._input))
        if self._known is not None:
            return x, self._known[groups].to(x)
        return x, point[:, self._pixels :].unflatten(1, (self._batch, self._classes)).softmax(2)

    def slope(self, point: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (M,) of points, and their gradients (M, P)."""
        point = point.detach().requires_grad_(True)
        heard = {name: g[groups] for name, g in self._heard.items()}
        loss = squared_distance(self._matching.of_many(*self.guess(point, groups)), heard)
        return loss.detach(), torch.autograd.grad(loss.sum(), point)[0]

    def step_of(self, count: int) -> list[Tensor]:
        """One step of the first groups, to see what memory it takes."""
        groups = torch.arange(count, device=self._like.device)
        point = self._like.new_zeros(count, self._size)
        RowwiseLBFGS(point).step(self.slope(point, groups)[1])
        return [point]

    def _normal(self, draws: torch.Generator) -> Tensor:
        like = self._like
        return torch.randn(self._size, generator=draws, dtype=like.dtype, device=like.device)
