"""A substitute client and its decoder, trained beside the victim: what PCAT and SDAR share.

An honest-but-curious server holds its own network f_s at every moment of the training. It trains a
substitute client e so that f_s predicts the labels of the server's own samples x' from e(x'). This
draws e toward the victim's client, because f_s learns together with that client. A decoder d learns
from the pairs (e(x'), x'), and then decodes what the victim sends. None of this touches the victim:
f_s is a frozen replica in evaluation mode, and only the attacker's own weights get gradients.

Where labels are private (U-shaped), f_s ends in features. A tail of the attacker's own turns them
into logits, and learns together with e.

Where the defense's public parameters (mechanism) are known, e sends through its own copy of the
defense, as the victim does: f_s, critics and decoder see e's codes as they would arrive.
"""

import copy
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.adversary.learner import Learner, Losses
from sltoolkit.adversary.own_defense import Defended, OwnDefense
from sltoolkit.adversary.training_setup import TrainingSetup
from sltoolkit.contracts.attack import BatchView
from sltoolkit.errors import SpecError
from sltoolkit.networks.conditioning import Conditioned, LabelChannel
from sltoolkit.networks.inverse import inverse_network
from sltoolkit.networks.substitutes import pooled_substitute, tail_network
from sltoolkit.shapes import Scalar
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SubstituteView:
    """What the server has at the end; in a U-shape it has no labels.

    If copies of the server are averaged, its network may have changed after the last batch.
    """

    smashed: Tensor
    labels: Tensor | None
    server_weights: nn.Module | None = None


@final
@dataclass(frozen=True, eq=False)
class Batch:
    """One batch as a server heard it.

    Attributes:
        z: smashed data, (B, ...).
        y: labels, (B,); None if they are private.
        server: the server's network f_s at this moment.
    """

    z: Tensor
    y: Tensor | None
    server: nn.Module

    @staticmethod
    def usable(heard: BatchView) -> bool:
        """Whether it has f_s and at least two smashed data (BatchNorm can't learn from one)."""
        z = heard.messages.get(("smashed", "in"))
        return heard.network is not None and z is not None and len(z) > 1

    @classmethod
    def of(cls, heard: BatchView) -> "Batch":
        """A usable batch, as a server heard it."""
        if heard.network is None:
            raise SpecError(
                "a substitute learns through the server's network: listen as the server"
            )
        y = heard.messages.get(("labels", "in"))
        # of label weights (B, C), the class that weighs most
        hard = y.argmax(1) if y is not None and y.dim() == 2 else y
        return cls(heard.messages["smashed", "in"], hard, heard.network())


@final
class Substitute:
    """The attacker's own client e, decoder d and (where labels are private) tail.

    Args:
        setup: what the attacker had before; without the architecture, it uses a standard one.
        first: the first batch that it heard.
        conditional: whether the decoder sees labels, if they are heard.
        lr: the learning rate of client and tail.
        decoder_lr: the learning rate of the decoder.
        width: the channels of the decoder at full resolution.
        rng: for the client's initialization and the defense; all else draws from the open scope.
    """

    def __init__(
        self, setup: TrainingSetup, first: Batch, *, conditional: bool, lr: float,
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
        self.server = first.server  # the listener state keeps it up to date
        self.tail: Learner | None = None
        if first.y is None:
            with torch.no_grad():
                features = first.server(first.z.clone())
            self.tail = Learner(tail_network(features.shape[1:], task.classes), aux.x, lr)
        self._pools = _Pools(aux.y, task.classes)
        self.losses = Losses()

    @property
    def imitators(self) -> list[Learner]:
        """The networks that learn from the task's loss."""
        return [self.client] if self.tail is None else [self.client, self.tail]

    def codes(self, x: Tensor) -> Tensor:
        """What the client sends for aux samples (B, ...); the samples are not changed in place."""
        return self._defense(self.client(x.clone()), x)

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Random aux samples x' (count, ...) and their labels."""
        rows = torch.randint(len(self.aux.y), (count,), device=self.aux.y.device)
        return self.aux.x[rows], self.aux.y[rows]

    def draw_alike(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Random aux samples x' with the labels y (B,); labels that aux lacks are left out."""
        rows = self._pools.draw(y)
        return self.aux.x[rows], self.aux.y[rows]

    def flipped(self, y: Tensor, share: float) -> Tensor:
        """Labels (B,), each drawn anew from all classes with probability `share`."""
        anew = torch.randint(self.classes, y.shape, device=y.device)
        return torch.where(torch.rand(y.shape, device=y.device) < share, anew, y)

    def task_loss(self, server: nn.Module, codes: Tensor, y: Tensor) -> Scalar:
        """Cross-entropy of server and tail on the substitute's codes (B, ...), labels y (B,)."""
        # a server whose first layer works in place would rewrite what the decoder learns from
        logits = server(codes.clone())
        return functional.cross_entropy(logits if self.tail is None else self.tail(logits), y)

    def guess(self, z: Tensor) -> Tensor | None:
        """Scores (N, C) of the labels of smashed data (N, ...); None if labels are heard."""
        if self.tail is None:
            return None
        self.tail.network.eval()
        with torch.no_grad():
            return self.tail(self.server(z.clone()))

    @property
    def finished(self) -> nn.Module:
        """The client as it is now, (B, ...) -> (B, ...); its codes are the mean of a few draws.

        Codes are taken behind the defense, since in front of it they may be anything that suits
        f_s. The draws are the same every time.
        """
        return Defended(
            self.client.network, OwnDefense(self._mechanism, self._rng.fresh("defense"))
        ).eval()

    @property
    def whole(self) -> nn.Sequential:
        """The stolen model, inputs (B, ...) -> logits (B, C): e, then f_s as last heard, a tail."""
        tail = [] if self.tail is None else [self.tail.network]
        return nn.Sequential(self.finished, self.server, *tail).eval()

    def meet(self, server: nn.Module | None) -> None:
        """Continue with a copy of the server's final network, if it is known."""
        if server is not None:
            self.server = copy.deepcopy(server).eval()

    def with_labels(self, y: Tensor | None) -> tuple[Tensor, ...]:
        """What conditioned networks take besides their input: the labels, or nothing."""
        return (y,) if self.conditional and y is not None else ()


@final
class _Pools:
    """Rows of samples by their class, to draw from.

    Args:
        y: labels (N,).
        classes: the number of classes.
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
