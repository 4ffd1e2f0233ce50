"""Attacks as plain loops, to compare the toolkit's attacks with.

A plain loop has the networks, the losses besides that of its decoder, and the number of steps of
the toolkit's attack. But it minimizes the squared error, by Adam at one constant rate, and it
rehearses nothing and neither refines nor smooths what it finds.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional
from torch.nn.functional import mse_loss

from sltoolkit.adversary.inverse_training import Inverse
from sltoolkit.attacks.gradients._matching import (
    Matching,
    UpdatesView,
    sole_labels,
    squared_distance,
)
from sltoolkit.attacks.inversion._observation import WhiteBoxView
from sltoolkit.attacks.inversion._query import LabeledQueryView
from sltoolkit.attacks.inversion.unsplit import UnSplitView
from sltoolkit.contracts.attack import (
    Attack,
    Family,
    Role,
)
from sltoolkit.contracts.outcomes import Outcome, Reconstruction
from sltoolkit.networks.fitting import decode
from sltoolkit.networks.stacked import stack
from sltoolkit.streams import Stream

RATE = 1e-3
"""The rate of every network."""

PIXEL_RATE = 1e-2
"""The rate of inputs that are searched for."""


def adam(weights: Iterable[Tensor], rate: float = RATE) -> Callable[[Tensor], None]:
    """A function that makes a step of Adam along a loss, on these weights alone."""
    own = list(weights)
    optimizer = torch.optim.Adam(own, lr=rate)

    def follow(loss: Tensor) -> None:
        gradients = torch.autograd.grad(loss, own, retain_graph=True, allow_unused=True)
        for weight, gradient in zip(own, gradients, strict=True):
            weight.grad = gradient
        optimizer.step()

    return follow


@dataclass(frozen=True, kw_only=True)
class Plain:
    """What all plain loops declare."""

    roles: ClassVar[tuple[Role, ...]] = ("server", "eavesdropper", "colluding")
    family: ClassVar[Family] = "reconstruction"
    citation: ClassVar[str] = "none: a plain loop"


@final
@dataclass(frozen=True, kw_only=True)
class PlainDecoder(Plain, Attack[LabeledQueryView]):
    """The decoder's first network."""

    view: ClassVar[type] = LabeledQueryView

    steps: int

    def run(self, view: LabeledQueryView, *, rng: Stream) -> Outcome:
        """Train on releases of random aux samples, then decode."""
        x, y, labels = view.aux.x, view.aux.y, view.labels
        with rng.scope():
            network = Inverse().network(view.task, labels=labels is not None, mean=x.mean(0))
            follow = adam(network.parameters())
            for _ in range(self.steps):
                rows = torch.randint(len(x), (64,))
                given = (y[rows],) if labels is not None else ()
                follow(mse_loss(network(view.release(x[rows])[0], *given), x[rows]))
        return Reconstruction(images=decode(network, view.smashed[0], labels))


@final
@dataclass(frozen=True, kw_only=True)
class PlainWhiteBox(Plain, Attack[WhiteBoxView]):
    """A descent on the feature error, from gray."""

    view: ClassVar[type] = WhiteBoxView

    steps: int

    def run(self, view: WhiteBoxView, *, rng: Stream) -> Outcome:
        """Descend on all targets at once, each on an error of its own."""
        z = view.smashed[0]
        x = torch.full((len(z), *view.task.input_shape), 0.5, requires_grad=True)
        follow = adam([x], PIXEL_RATE)
        for _ in range(self.steps):
            follow((view.client_weights(x.clone()) - z).square().flatten(1).mean(1).sum())
        return Reconstruction(images=x.detach())


@final
@dataclass(frozen=True, kw_only=True)
class PlainUnSplit(Plain, Attack[UnSplitView]):
    """Inputs and clones take turns on the feature error, from gray."""

    view: ClassVar[type] = UnSplitView

    rounds: int
    steps: int

    def run(self, view: UnSplitView, *, rng: Stream) -> Outcome:
        """Descend on all targets at once; a clone for each."""
        z = view.smashed[0]
        clones = stack([view.client_arch(rng.child(f"clone{i}")) for i in range(len(z))])
        names = [name for name, _ in clones.named_parameters()]
        weights = [w.detach().requires_grad_() for w in clones.parameters()]
        x = torch.full((len(z), *view.task.input_shape), 0.5, requires_grad=True)

        def error() -> Tensor:
            own = dict(zip(names, weights, strict=True))
            guess: Tensor = functional_call(clones, own, (x.clone(),))
            return (guess - z).square().flatten(1).mean(1).sum()

        turns = adam([x], RATE), adam(weights, RATE)
        for follow in turns * self.rounds:
            for _ in range(self.steps):
                follow(error())
        return Reconstruction(images=x.detach())


@final
@dataclass(frozen=True, kw_only=True)
class PlainMatching(Plain, Attack[UpdatesView]):
    """A descent on the squared distance of gradients, from noise."""

    view: ClassVar[type] = UpdatesView

    steps: int
    guess_labels: bool

    def run(self, view: UpdatesView, *, rng: Stream) -> Outcome:
        """Descend on all targets at once; labels are searched for, or read off."""
        heard, task = Matching(view.updates, name="a plain loop"), view.task
        labels = None if self.guess_labels else sole_labels(view.updates, task)
        groups, g = torch.arange(heard.groups), rng.torch()
        x = torch.randn(heard.groups, heard.batch, *task.input_shape, generator=g)
        v = torch.randn(heard.groups, heard.batch, task.classes, generator=g)
        follow = adam([x.requires_grad_(), v.requires_grad_()], PIXEL_RATE)
        for _ in range(self.steps):
            y = v.softmax(2)
            if labels is not None:
                y = functional.one_hot(labels, task.classes)[:, None].to(x)
            follow(squared_distance(heard.of_many(x, y), heard.heard_of(groups)).sum())
        return Reconstruction(images=x.detach().flatten(0, 1))
