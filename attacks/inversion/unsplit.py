"""UnSplit: the input and the client that made it, found together from smashed data alone.

Adversary: an honest-but-curious server, or whoever hears smashed data z and knows the client's
architecture. It has no weights, no data of its own, and asks nothing.

Idea (Erdogan, Kupcu and Cicek 2022, section 3): for every target, an image x and a clone f with
weights w of the client explain what was heard,
    min over x, w   mean over sent units (f(x; w) - z)^2 + tv_weight * TV(x) + l2_weight * mean x^2,
in turns: `input_steps` of Adam on x with all three terms, then `client_steps` on w with the first
alone, `rounds` times over. Every target has a clone of its own, from its own random weights, and
two optimizers of its own; all descend at once (`sltoolkit.networks.stacked`).

What it can't know: scaling or negating x and the first layer's weights alike changes nothing but
the two small terms, which shrink x as long as the descent lasts. So x is a rescaled, sometimes an
inverted image; `mse_affine` is the error that remains when the contrast of each image is given
away. It is strong where the client is one convolution; behind a second one it mostly finds another
explanation of what was heard.

Adaptive: releases are averaged, and maps that are identically zero count as withheld and are left
out of the loss (`_observation`).

Departures from the paper (P) and its published code (C; P leaves open what only C says):
1. Fewer and longer steps than C's, which are `UnSplit.paper()`: 2 * 10^5 steps of 1e-3 per target.
   A target stops when its loss has not fallen by a thousandth within `window` rounds.
2. A clone starts anew for every target, with weights from the layers' own initialization. C hands
   the same clone on from target to target, so that its results depend on their order.
3. The clone is in evaluation mode, as the deployed client is: BatchNorm with its statistics at 0
   and 1 is a learned scale and shift per channel, as the client's is. With the statistics of a
   batch of one it would erase what tells targets apart. (C's networks have no BatchNorm.)
4. TV as a mean over all pixels, where C divides by the number of differences, each way its own.
5. What is returned is x itself. C stretches CIFAR-10's to [0, 1] per image before it compares them
   with the truth: `stretch`.
6. Feature vectors start at 0, and have no TV.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Self, final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sltoolkit.adversary.descent import snapshots, squared_error
from sltoolkit.adversary.memory import fitting
from sltoolkit.adversary.plateau import Plateau, keep_rows
from sltoolkit.adversary.total_variation import has_neighbors, total_variation
from sltoolkit.attacks.inversion._observation import observe, unit_weights
from sltoolkit.contracts.attack import Attack, Family, Role
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.networks.stacked import stack
from sltoolkit.progress import advance, part
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class UnSplitView:
    """What UnSplit needs: what was heard, and what kind of network said it."""

    smashed: Tensor
    client_arch: Callable[[Stream], nn.Module]
    task: Task


@final
@dataclass(frozen=True, kw_only=True)
class UnSplit(Attack[UnSplitView]):
    """Reconstruct inputs together with the client that smashed them.

    Attributes:
        rounds: in which inputs and clones take turns.
        input_steps: on the input, per round.
        client_steps: on the clone's weights, per round; 0 leaves the clone as it is.
        lr: of both optimizers, Adam with AMSGrad.
        tv_weight: weight of the total variation.
        tv_beta: its exponent, 1 or 2.
        l2_weight: weight of the mean squared input.
        stretch: whether each input is stretched to [0, 1] in the end, a guess of its contrast.
        window: rounds without progress after which a target stops; 0: never.
        chunk: targets that descend at once; fewer, where memory doesn't hold them.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server", "eavesdropper", "colluding")
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = UnSplitView
    citation: ClassVar[str] = (
        "Erdogan, Kupcu, Cicek 2022, UnSplit: Data-oblivious model inversion, model stealing, and "
        "label inference attacks against split learning (WPES; arXiv:2108.09033)"
    )

    rounds: int = 32
    input_steps: int = 50
    client_steps: int = 50
    lr: float = 3e-3
    tv_weight: float = 0.1
    tv_beta: int = 2
    l2_weight: float = 1.0
    stretch: bool = False
    window: int = 4
    chunk: int = 64

    @classmethod
    def paper(cls) -> Self:
        """The setting of the published code: 1000 rounds of 100 steps each, at 1e-3."""
        return cls(rounds=1000, input_steps=100, client_steps=100, lr=1e-3, window=0)

    @classmethod
    def smoke(cls) -> Self:
        """Two rounds of two steps."""
        return cls(rounds=2, input_steps=2, client_steps=2)

    def run(self, view: UnSplitView, *, rng: Stream) -> Reconstruction:
        """Descend on all targets of the view, and on a clone for each.

        The diagnostics are the means over targets of the final `feature_loss` and of the `rounds`
        that were made.
        """
        z, sent = observe(view.smashed, masked=view.smashed.dim() > 3)
        # where everything was sent, units count alike
        weights = unit_weights(z, sent) if bool((sent == 0).any()) else None
        everybody = torch.arange(len(z), device=z.device)

        @lru_cache(maxsize=2)  # those that are measured are the first to be used
        def clone(row: int) -> nn.Module:
            return view.client_arch(rng.child(f"clone{row}")).to(z.device)

        def turns_of(rows: Tensor) -> _Turns:
            clones = [clone(row) for row in rows.tolist()]
            return _Turns(
                self, stack(clones), self._start(view, len(rows)), z[rows],
                None if weights is None else weights[rows],
            )  # fmt: skip

        chunk = fitting(self.chunk, len(z), lambda count: turns_of(everybody[:count]).step())
        chunks, done = everybody.split(chunk), []
        for number, rows in enumerate(chunks):
            with part(1 / (len(chunks) - number)):
                done.append(turns_of(rows).take())
        losses = {r: torch.cat([d.curve[r] for d in done]) for r in done[0].curve}
        trace = {r: torch.cat([d.trace[r] for d in done]) for r in done[0].trace}
        return Reconstruction(
            images=trace[self.rounds],
            trace=trace,
            curve={r: float(loss.mean()) for r, loss in losses.items()},
            diagnostics={
                "feature_loss": float(losses[self.rounds].mean()),
                "rounds": float(torch.cat([d.rounds for d in done]).double().mean()),
            },
        )

    def _start(self, view: UnSplitView, count: int) -> Tensor:
        """Where inputs start, (count, ...): in the middle of what is possible."""
        middle = 0.5 if view.task.bounded else 0.0
        return view.smashed.new_full((count, *view.task.input_shape), middle)


@final
class _Turns:
    """The targets of one chunk and their clones, in turns."""

    def __init__(
        self, how: UnSplit, clones: nn.Module, x: Tensor, z: Tensor, weights: Tensor | None
    ) -> None:
        self._how, self._clones, self._z, self._weights = how, clones, z, weights
        self._names = [name for name, _ in clones.named_parameters()]
        self._constants = dict(clones.named_buffers())
        self._inputs = [x.clone().requires_grad_(True)]
        self._own = [p.detach().clone().requires_grad_(True) for p in clones.parameters()]
        self._on_inputs = torch.optim.Adam(self._inputs, lr=how.lr, amsgrad=True, fused=True)
        self._on_own = (
            torch.optim.Adam(self._own, lr=how.lr, amsgrad=True, fused=True) if self._own else None
        )
        self._plateau = Plateau(window=how.window) if how.window else None
        self._alive = torch.arange(len(x), device=x.device)
        self._loss = z.new_zeros(len(x))
        self._images = x.clone()
        self.rounds = torch.zeros_like(self._alive)
        self.curve: dict[int, Tensor] = {}
        self.trace: dict[int, Tensor] = {}

    def take(self) -> Self:
        """All rounds, or until every target has arrived."""
        how = self._how
        shots = snapshots(how.rounds)
        for done in range(1, how.rounds + 1):
            if len(self._alive):
                self._round()
                self._note(done)
                self._part_with_arrived()
            self.curve[done] = self._loss.clone()
            if done in shots:
                self.trace[done] = stretched(self._images) if how.stretch else self._images.clone()
            advance(done, how.rounds)
        return self

    def step(self) -> list[Tensor]:
        """One step of the clones; all leaves."""
        _step(self._on_own or self._on_inputs, self._own or self._inputs, self._error())
        return [*self._inputs, *self._own]

    def _round(self) -> None:
        for _ in range(self._how.input_steps):
            (x,) = self._inputs
            loss = self._error() + self._how.l2_weight * x.square().flatten(1).mean(1)
            if self._how.tv_weight and has_neighbors(x.shape[1:]):
                loss = loss + self._how.tv_weight * total_variation(x, beta=self._how.tv_beta)
            _step(self._on_inputs, self._inputs, loss)
        if self._on_own is not None:
            for _ in range(self._how.client_steps):
                _step(self._on_own, self._own, self._error())

    def _error(self) -> Tensor:
        """How far each clone's answer to its input is from what was heard, (M,)."""
        tensors = {**dict(zip(self._names, self._own, strict=True)), **self._constants}
        # a copy: a client whose first layer works in place may not do so on a leaf
        guess = functional_call(self._clones, tensors, (self._inputs[0].clone(),))
        return squared_error(guess, self._z, self._weights)

    def _note(self, done: int) -> None:
        """Where those stand who still move."""
        with torch.no_grad():
            self._loss[self._alive] = self._error()
        self._images[self._alive] = self._inputs[0].detach()
        self.rounds[self._alive] = done

    def _part_with_arrived(self) -> None:
        if self._plateau is None:
            return
        moving = self._plateau.moving(self._loss[self._alive])
        if bool(moving.all()):
            return
        self._plateau.keep(moving)
        self._alive, self._z = self._alive[moving], self._z[moving]
        self._weights = None if self._weights is None else self._weights[moving]
        self._constants = {name: value[moving] for name, value in self._constants.items()}
        self._inputs = keep_rows(self._on_inputs, moving)
        if self._on_own is not None:
            self._own = keep_rows(self._on_own, moving)


def stretched(x: Tensor) -> Tensor:
    """Each input (N, ...) from its least to its greatest value: to [0, 1]; a constant one to 0."""
    flat = x.flatten(1)
    low = flat.min(1, keepdim=True).values
    span = flat.max(1, keepdim=True).values - low
    return ((flat - low) / span.where(span > 0, 1.0)).reshape(x.shape)


def _step(optimizer: torch.optim.Optimizer, leaves: list[Tensor], loss: Tensor) -> None:
    """One step of all targets on the sum of their losses (M,): each moves by its own alone."""
    for leaf in leaves:
        leaf.grad = None
    # not autograd.grad, whose gradients may lie in memory as no fused optimizer expects them
    torch.autograd.backward(loss.sum(), inputs=leaves)
    optimizer.step()
