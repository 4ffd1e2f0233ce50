"""A substitute client and its decoder, trained beside the victim: what PCAT and SDAR share.

An honest-but-curious server holds its own network f_s at every moment of the training. A substitute
client e that makes f_s predict the labels of the server's own samples x' is drawn toward the
victim's client, because f_s learns together with that one. What a decoder d learns from the pairs
(e(x'), x') then carries over to what the victim sends. Nothing of this touches the victim: f_s is a
frozen replica in evaluation mode, and gradients are taken for the attacker's own weights alone.

Where labels are private (U-shaped), f_s ends in features; a tail of the attacker's own makes logits
of them, and learns together with e.

Where the defense's public parameters (mechanism) are known, e sends through an own copy of it, as
the victim does: f_s, critics and decoder see e's codes as they would arrive.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.adversary.learner import Architecture, Learner, Losses
from sltoolkit.adversary.own_defense import Defended, OwnDefense
from sltoolkit.contracts.attack import BatchView
from sltoolkit.contracts.defense import Defense, Task
from sltoolkit.contracts.knowledge import Aux
from sltoolkit.errors import SpecError
from sltoolkit.networks.conditioning import Conditioned, LabelChannel
from sltoolkit.networks.inverse import inverse_network
from sltoolkit.networks.substitutes import pooled_substitute, tail_network
from sltoolkit.shapes import Scalar
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SubstituteSetup:
    """What the server has when the training begins; without the architecture it makes one up."""

    aux: Aux
    task: Task
    client_arch: Architecture | None
    mechanism: Callable[[Stream], Defense] | None


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SubstituteView:
    """What it has at the end; in a U-shape without labels.

    Its own network may have moved after the last batch, where copies are averaged.
    """

    smashed: Tensor
    labels: Tensor | None
    server_weights: nn.Module | None = None


@final
@dataclass(frozen=True, eq=False)
class Batch:
    """One heard batch: smashed data (B, ...), labels (B,) unless they are private, and f_s."""

    z: Tensor
    y: Tensor | None
    server: nn.Module

    @classmethod
    def of(cls, heard: BatchView) -> "Batch | None":
        """What a server heard; None of a batch that is too small for BatchNorm to learn from."""
        z = heard.messages.get(("smashed", "in"))
        if z is None or len(z) < 2 or heard.network is None:
            return None
        y = heard.messages.get(("labels", "in"))
        # label weights (B, C) stand for the class that weighs most
        return cls(z, y.argmax(1) if y is not None and y.dim() == 2 else y, heard.network())


@final
class Substitute:
    """The attacker's own client e, decoder d and (where labels are private) tail.

    Args:
        setup: what it had before.
        first: the first batch it heard.
        conditional: whether the decoder sees labels, where they are heard.
        lr: of client and tail.
        decoder_lr: of the decoder.
        width: of the decoder.
        rng: for the client's initialization and the defense; all else draws from the open scope.
    """

    def __init__(
        self, setup: SubstituteSetup, first: Batch, *, conditional: bool, lr: float,
        decoder_lr: float, width: int, rng: Stream,
    ) -> None:  # fmt: skip
        aux, task = setup.aux, setup.task
        self.aux, self.classes = aux, task.classes
        self.conditional = conditional and first.y is not None
        if setup.client_arch is None:
            signed = bool((first.z < 0).any())
            client = pooled_substitute(task.input_shape, task.smashed_shape, signed=signed)
        else:
            client = setup.client_arch(rng)
        self.client = Learner(client, aux.x, lr)
        self._mechanism, self._rng = setup.mechanism, rng
        self._defense = OwnDefense(setup.mechanism, rng.child("defense"))
        channel = LabelChannel(task.smashed_shape, task.classes) if self.conditional else None
        shape = task.smashed_shape if channel is None else channel.out
        body = inverse_network(
            shape, task.input_shape, width=width, mean=aux.x.mean(0), scaled=False
        )
        decoder = body if channel is None else Conditioned(channel, body)
        self.decoder = Learner(decoder, aux.x, decoder_lr)
        self.server = first.server  # as last heard: whoever hears keeps it up to date
        self.tail: Learner | None = None
        if first.y is None:
            with torch.no_grad():
                features = first.server(first.z.clone())
            self.tail = Learner(tail_network(features.shape[1:], task.classes), aux.x, lr)
        self._pools = _Pools(aux.y, task.classes)
        self.losses = Losses()

    @property
    def imitators(self) -> list[Learner]:
        """Who learns from the task's loss."""
        return [self.client] if self.tail is None else [self.client, self.tail]

    def codes(self, x: Tensor) -> Tensor:
        """What the client sends of own samples (B, ...); a decoder is to see them as they are."""
        return self._defense(self.client(x.clone()), x)

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Own samples x' (count, ...) and their labels."""
        rows = torch.randint(len(self.aux.y), (count,), device=self.aux.y.device)
        return self.aux.x[rows], self.aux.y[rows]

    def draw_alike(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Own samples x' with the labels y (B,), of those there are."""
        rows = self._pools.draw(y)
        return self.aux.x[rows], self.aux.y[rows]

    def flipped(self, y: Tensor, share: float) -> Tensor:
        """Labels (B,), that share of which is drawn anew from all classes."""
        anew = torch.randint(self.classes, y.shape, device=y.device)
        return torch.where(torch.rand(y.shape, device=y.device) < share, anew, y)

    def task_loss(self, server: nn.Module, codes: Tensor, y: Tensor) -> Scalar:
        """Cross-entropy of the labels y (B,) behind own codes (B, ...)."""
        # a server whose first layer works in place would rewrite what the decoder learns from
        logits = server(codes.clone())
        return functional.cross_entropy(logits if self.tail is None else self.tail(logits), y)

    def guess(self, z: Tensor) -> Tensor | None:
        """Scores (N, C) of the labels behind smashed data (N, ...); None where labels are heard."""
        if self.tail is None:
            return None
        self.tail.network.eval()
        with torch.no_grad():
            return self.tail(self.server(z.clone()))

    @property
    def finished(self) -> nn.Module:
        """The client as it is by now, (B, ...) -> (B, ...): the mean of a few draws of its codes.

        Before the defense these are anything that suits f_s behind it. The draws are the same
        whenever it is asked for.
        """
        return Defended(
            self.client.network, OwnDefense(self._mechanism, self._rng.fresh("defense"))
        ).eval()

    @property
    def whole(self) -> nn.Sequential:
        """The stolen model, inputs (B, ...) -> logits (B, C): e, f_s as last heard, the tail."""
        tail = [] if self.tail is None else [self.tail.network]
        return nn.Sequential(self.finished, self.server, *tail).eval()

    def with_labels(self, y: Tensor | None) -> tuple[Tensor, ...]:
        """What conditioned networks take beside their input."""
        return (y,) if self.conditional and y is not None else ()


def started(substitute: Substitute | None, view: SubstituteView, name: str) -> Substitute:
    """The substitute of a listener that heard something, behind the server's network of the end.

    Raises:
        SpecError: if it heard nothing.
    """
    if substitute is None:
        raise SpecError(f"{name} heard no batch to learn from: train the victim, or listen earlier")
    if view.server_weights is not None:
        substitute.server = copy.deepcopy(view.server_weights).eval()
    return substitute


@final
class _Pools:
    """Rows of samples by their class, to draw from.

    Args:
        y: labels (N,).
        classes: how many there are.
    """

    def __init__(self, y: Tensor, classes: int) -> None:
        self._rows = y.argsort(stable=True)
        self._sizes = torch.bincount(y, minlength=classes)
        self._first = self._sizes.cumsum(0) - self._sizes

    def draw(self, y: Tensor) -> Tensor:
        """A random row for each label of y (B,) that some sample has."""
        y = y[self._sizes[y] > 0]
        place = (torch.rand(y.shape, device=y.device) * self._sizes[y]).long()
        return self._rows[self._first[y] + place.minimum(self._sizes[y] - 1)]
