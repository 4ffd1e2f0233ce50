"""The search that DLG and iDLG share: L-BFGS from noise to inputs whose gradients were heard.

All groups of targets are searched for at once. Each group has its own memory, best point and
stopping time, so that it fares as it would alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Annotated, ClassVar, Self, final

import torch
from torch import Tensor

from sltoolkit.adversary.descent import Objective
from sltoolkit.adversary.lbfgs import RowwiseLBFGS
from sltoolkit.adversary.memory import fitting
from sltoolkit.attacks.gradients._matching import Matching, UpdatesView
from sltoolkit.contracts.attack import Attack, Family, Role
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.progress import advance, part
from sltoolkit.streams import Stream

MATCHED = 1e-7
"""A squared distance below this share of the squared gradients is as close as float32 can get."""


@dataclass(frozen=True, kw_only=True)
class Leak(Attack[UpdatesView]):
    """Match gradients by L-BFGS; subclasses say what is searched for, and by which objective."""

    roles: ClassVar[tuple[Role, ...]] = ("server", "eavesdropper", "colluding")
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = UpdatesView

    steps: Annotated[
        int, Parameter("maximum number of iterations, each of `inner` steps", least=1)
    ] = 300
    restarts: Annotated[int, Parameter("maximum number of starts per group", least=1)] = 8
    inner: Annotated[
        int,
        Parameter(
            "steps of L-BFGS per iteration; torch's default and the authors' code have 20", least=1
        ),
    ] = 20
    chunk: Annotated[
        int,
        Parameter("groups that are searched for at once; fewer if memory is short", least=1),
    ] = 64

    @classmethod
    def smoke(cls) -> Self:
        """Two steps."""
        return cls(steps=1, restarts=1, inner=2)

    def search(
        self, objective: Objective, shapes: Sequence[tuple[int, ...]], heard: Matching, rng: Stream
    ) -> Reconstruction:
        """Find every group's inputs; the diagnostic `gradient_loss` is the mean final objective.

        Args:
            objective: maps the unknowns of some groups, each (M, B, ...), and the groups' indices
                (M,) to their losses (M,), in the unit of squared gradients.
            shapes: the shapes of one sample's unknowns; its input comes first.
            heard: the updates that were heard.
            rng: the attacker's stream.
        """
        problem = _Problem(objective, shapes, heard, rng)
        groups = torch.arange(heard.groups, device=problem.enough.device)
        chunks = groups.split(fitting(self.chunk, len(groups), problem.step_of))
        points, losses = [], []
        for number, rows in enumerate(chunks):
            with part(1 / (len(chunks) - number)):
                point, loss = self._best(problem, rows)
            points.append(point)
            losses.append(loss)
        return Reconstruction(
            images=problem.unknowns(torch.cat(points))[0].flatten(0, 1),
            diagnostics={"gradient_loss": float(torch.cat(losses).mean())},
        )

    def _best(self, problem: "_Problem", groups: Tensor) -> tuple[Tensor, Tensor]:
        """The best result of each group (M,) over its starts: the points (M, P) and losses (M,).

        A group that has matched the gradients makes no further start. A start that diverged loses
        to any other.
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
        """One start from noise: the best points that L-BFGS passes at rate 1, and their losses."""
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
    """What is minimized. A group's unknowns, concatenated, are its point of P numbers."""

    def __init__(
        self, objective: Objective, shapes: Sequence[tuple[int, ...]], heard: Matching, rng: Stream
    ) -> None:
        self._objective = objective
        self._shapes = [(heard.batch, *shape) for shape in shapes]
        self._sizes = [prod(shape) for shape in self._shapes]
        self._like = next(iter(heard.heard.values()))
        self._draws = [rng.child(f"group{g}").torch(self._like.device) for g in range(heard.groups)]
        power = torch.stack([g.square().flatten(1).sum(1) for g in heard.heard.values()]).sum(0)
        self.enough = MATCHED * power

    def start(self, groups: Tensor) -> Tensor:
        """Standard normal points of these groups; each group draws from its own stream."""
        return torch.stack([self._normal(self._draws[int(g)]) for g in groups])

    def unknowns(self, point: Tensor) -> list[Tensor]:
        """The unknowns of points (M, P), each (M, B, ...)."""
        parts = point.split(self._sizes, 1)
        return [part.unflatten(1, shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def slope(self, point: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (M,) of points, and their gradients (M, P)."""
        point = point.detach().requires_grad_(True)
        loss = self._objective(self.unknowns(point), groups)
        return loss.detach(), torch.autograd.grad(loss.sum(), point)[0]

    def step_of(self, count: int) -> list[Tensor]:
        """One step of the first `count` groups, to see how much memory it takes."""
        groups = torch.arange(count, device=self._like.device)
        point = self._like.new_zeros(count, sum(self._sizes))
        RowwiseLBFGS(point).step(self.slope(point, groups)[1])
        return [point]

    def _normal(self, draws: torch.Generator) -> Tensor:
        like = self._like
        return torch.randn(sum(self._sizes), generator=draws, dtype=like.dtype, device=like.device)
