"""Deep leakage from gradients: find the batch, and its labels, whose gradients were heard.

Adversary: whoever hears the gradients (or weights) that a client sends, and the network: the
server and every eavesdropper in large-batch SGD and federated averaging. No data is needed.

Idea (Zhu, Liu and Han 2019, equation 3, algorithm 1): from noise, minimise over inputs and labels
    min over x, v   || u(x, softmax v) - heard ||^2
by L-BFGS, with u(x, y) the gradients of the batch's mean cross-entropy with label probabilities y.
The network must be smooth: the paper replaces ReLU by sigmoid and pooling by strides. Behind ReLU
the second derivatives vanish, and the search stays near where it starts.

Departures from the paper and its code (github.com/mit-han-lab/dlg):
1. An iteration that improves nothing ends a search; the paper makes all 300 (of up to 20 L-BFGS
   steps each), most of them at a standstill.
2. Of up to `restarts` starts the one that matches best is kept; the paper makes one, and says that
   it may fail. L-BFGS at rate 1 without a line search, as in the code, often does.
3. After several local steps of SGD the search matches the change over all of them.
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


@final
@dataclass(frozen=True, kw_only=True)
class DLG(Attack[UpdatesView]):
    """Match gradients by L-BFGS over inputs and labels, each group of targets by itself.

    Attributes:
        steps: iterations, of up to `inner` steps of L-BFGS each.
        restarts: at most so many starts per group.
        inner: steps of L-BFGS per iteration, torch's default and the code's.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server", "eavesdropper", "colluding")
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = UpdatesView
    citation: ClassVar[str] = (
        "Zhu, Liu, Han 2019, Deep leakage from gradients (NeurIPS; arXiv:1906.08935)"
    )

    steps: int = 300
    restarts: int = 8
    inner: int = 20

    @classmethod
    def smoke(cls) -> Self:
        """Two steps."""
        return cls(steps=1, restarts=1, inner=2)

    def run(self, view: UpdatesView, *, rng: Stream) -> Reconstruction:
        """Search for every group; `gradient_loss` is the mean squared distance that is left.

        Raises:
            ThreatModelError: if the updates are those of a part of the network.
            SpecError: if their scale isn't that of a gradient.
        """
        return leak(view, None, self, rng=rng, name="dlg")


def leak(
    view: UpdatesView, labels: Tensor | None, how: DLG, *, rng: Stream, name: str
) -> Reconstruction:
    """Match the gradients of every group by L-BFGS.

    L-BFGS couples whatever it minimises, so every group has an optimiser of its own.

    Args:
        view: what was heard.
        labels: of groups of one sample, (G,), where they are known; else labels are searched, too.
        how: how much to search.
        rng: the attacker's stream.
        name: the attack's, for refusals.
    """
    require_scale(view.updates, name=name)
    matching = Matching(view.updates, name=name)
    found = []
    for g in range(matching.groups):
        known = None if labels is None else functional.one_hot(labels[g : g + 1], view.task.classes)
        search = _Search(how, matching, g, known, view, rng.child(f"group{g}"))
        found.append(search.best())
        advance(g + 1, matching.groups)
    return Reconstruction(
        images=torch.cat([x for x, _ in found]),
        diagnostics={"gradient_loss": float(torch.stack([loss for _, loss in found]).mean())},
    )


@final
class _Search:
    """The search for one group's inputs, and for its labels where they aren't known."""

    def __init__(
        self, how: DLG, matching: Matching, group: int, known: Tensor | None, view: UpdatesView,
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
