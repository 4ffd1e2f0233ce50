"""A listener that trains a pseudo-client while the victim trains (in the manner of PCAT)."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional

from sltoolkit.adversary.learner import Architecture
from sltoolkit.contracts.attack import BatchView, Family, Listener, ListenerState, Role
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.knowledge import Aux
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.metrics.losses import LOSSES
from sltoolkit.networks.fitting import Fit, fit_inverse
from sltoolkit.networks.inverse import inverse_network
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SubstituteSetup:
    """What the listener has when the training begins."""

    client_arch: Architecture
    aux: Aux
    task: Task


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SubstituteView:
    """What the listener has at the end."""

    smashed: Tensor


@final
@dataclass(frozen=True, kw_only=True)
class PseudoClient(Listener[SubstituteSetup]):
    """Fits a pseudo-client to the server while the server learns, and inverts the pseudo-client.

    Attributes:
        lr: learning rate of the pseudo-client.
        steps: steps of the decoder's training.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    setup: ClassVar[type] = SubstituteSetup
    view: ClassVar[type] = SubstituteView
    citation: ClassVar[str] = "Gao & Zhang 2023, PCAT (USENIX Security)"

    lr: float = 0.01
    steps: int = 120

    def open(self, setup: SubstituteSetup, first: BatchView, *, rng: Stream) -> ListenerState:
        """Begin to listen."""
        return _PseudoClientEar(self, setup, rng)


@final
class _PseudoClientEar(ListenerState):
    def __init__(self, attack: PseudoClient, setup: SubstituteSetup, rng: Stream) -> None:
        self.attack, self.aux, self.task, self.rng = attack, setup.aux, setup.task, rng
        self.client = setup.client_arch(rng.child("client"))
        self.optimizer = torch.optim.Adam(self.client.parameters(), lr=attack.lr)
        self.rounds = 0

    def hear(self, heard: BatchView) -> None:
        """Train one step on aux samples with the batch's labels, through the server's replica."""
        assert heard.network is not None
        server = heard.network()
        wanted = heard.messages["labels", "in"]
        rows = torch.stack([self._any_of(int(c)) for c in wanted])
        loss = functional.cross_entropy(server(self.client(self.aux.x[rows])), wanted)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.rounds += 1

    def finish(self, view: SubstituteView) -> Reconstruction:
        """Invert the pseudo-client on aux, and apply the inverse to the targets' smashed data."""
        self.client.eval()
        with torch.no_grad():
            z = self.client(self.aux.x)
        blank = inverse_network(self.task.smashed_shape, self.task.input_shape, width=8)
        how = Fit(steps=self.attack.steps, loss=LOSSES["mse"])
        decoder = fit_inverse(blank, lambda rows: z[rows], self.aux.x, how=how)
        with torch.no_grad():
            images = decoder(view.smashed.mean(0))
        return Reconstruction(images=images, diagnostics={"rounds": float(self.rounds)})

    def _any_of(self, c: int) -> Tensor:
        pool = (self.aux.y == c).nonzero().flatten()
        return pool[torch.randint(len(pool), (), generator=self.rng.torch())]
