"""The search that DLG and iDLG share: L-BFGS from noise to inputs whose gradients were heard.

L-BFGS couples whatever it minimises, so every group has an optimiser of its own.
"""

from dataclasses import dataclass
from typing import ClassVar, Self, final

import torch
from torch import Tensor
from torch.nn import functional

from sltoolkit.attacks.reconstruction.gradient_matching import (
    Gradients,
    Matching,
    UpdatesView,
    require_scale,
    squared_distance,
)
from sltoolkit.contracts import Attack, Family, Role
from sltoolkit.outcomes import Reconstruction
from sltoolkit.streams import Stream
from sltoolkit.watching import advance

MATCHED = 1e-7
"""A squared distance below this share of the squared gradients is as near as float32 comes."""


@dataclass(frozen=True, kw_only=True)
class Leak(Attack[UpdatesView]):
    """Match gradients by L-BFGS, each group of targets by itself; attacks say what is known.

    Attributes:
        steps: iterations, of up to `inner` steps of L-BFGS each.
        restarts: at most so many starts per group.
        inner: steps of L-BFGS per iteration, torch's default and the codes'.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server", "eavesdropper", "colluding")
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = UpdatesView

    steps: int = 300
    restarts: int = 8
    inner: int = 20

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
        matching = Matching(view.updates, name=name)
        found = []
        for g in range(matching.groups):
            known = None
            if labels is not None:
                known = functional.one_hot(labels[g : g + 1], view.task.classes)
            group = _Search(self, matching, g, known, view, rng.child(f"group{g}"))
            found.append(group.best())
            advance(g + 1, matching.groups)
        return Reconstruction(
            images=torch.cat([x for x, _ in found]),
            diagnostics={"gradient_loss": float(torch.stack([loss for _, loss in found]).mean())},
        )


@final
class _Search:
    """The search for one group's inputs, and for its labels where they aren't known."""

    def __init__(
        self, how: Leak, matching: Matching, group: int, known: Tensor | None, view: UpdatesView,
        rng: Stream,
    ) -> None:  # fmt: skip
        self._how = how
        self._matching, self._known = matching, known
        self._heard: Gradients = {name: g[group] for name, g in matching.heard.items()}
        self._like = next(iter(self._heard.values()))
        self._enough = MATCHED * sum(float(g.square().sum()) for g in self._heard.values())
        self._shapes = [view.task.input_shape] + [(view.task.classes,)] * (known is None)
        self._count = view.updates.batch
        self._draws = rng.torch(self._like.device)

    def best(self) -> tuple[Tensor, Tensor]:
        """Inputs (B, ...) and the loss () of the start that matches best.

        A start that has matched the gradients is the last; one that diverges loses to any other.
        """
        x, loss = self._descend()
        for _ in range(self._how.restarts - 1):
            if float(loss) <= self._enough:
                break
            other, its_loss = self._descend()
            if bool(its_loss < loss):
                x, loss = other, its_loss
        return x, loss

    def _descend(self) -> tuple[Tensor, Tensor]:
        """The best point that L-BFGS comes by, at rate 1 without a line search, and its loss."""
        leaves = [self._normal(*shape).requires_grad_(True) for shape in self._shapes]
        optimizer = torch.optim.LBFGS(leaves, lr=1, max_iter=self._how.inner)
        best, least = leaves[0].detach().clone(), self._like.new_full((), torch.inf)

        def closure() -> Tensor:
            nonlocal best, least
            optimizer.zero_grad()
            y = leaves[1].softmax(1) if self._known is None else self._known.to(leaves[0])
            loss = squared_distance(self._matching.of(leaves[0], y), self._heard)
            if bool(loss < least):  # False for NaN
                best, least = leaves[0].detach().clone(), loss.detach()
            loss.backward()
            return loss

        for _ in range(self._how.steps):
            before = float(least)
            optimizer.step(closure)
            if float(least) <= self._enough or float(least) == before:
                break
        return best, least

    def _normal(self, *shape: int) -> Tensor:
        like = self._like
        return torch.randn(
            self._count, *shape, generator=self._draws, dtype=like.dtype, device=like.device
        )
