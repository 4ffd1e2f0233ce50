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
from sltoolkit.networks.inverse import fit_inverse, inverse_network
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SubstituteSetup:
    """What it has when the training begins."""

    client_arch: Architecture
    aux: Aux
    task: Task


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SubstituteView:
    """What it has at the end."""

    smashed: Tensor


@final
@dataclass(frozen=True, kw_only=True)
class PseudoClient(Listener[SubstituteSetup]):
    """Fits a client of its own to the server as it learns, and inverts that one.

    Attributes:
        lr: learning rate of the pseudo-client.
        epochs: of the decoder.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    setup: ClassVar[type] = SubstituteSetup
    view: ClassVar[type] = SubstituteView
    citation: ClassVar[str] = "Gao & Zhang 2023, PCAT (USENIX Security)"

    lr: float = 0.01
    epochs: int = 60

    def open(self, setup: SubstituteSetup, first: BatchView, *, rng: Stream) -> ListenerState:
        """Attach."""
        return _PseudoClientEar(self, setup, rng)


@final
class _PseudoClientEar(ListenerState):
    def __init__(self, attack: PseudoClient, setup: SubstituteSetup, rng: Stream) -> None:
        self.attack, self.aux, self.task, self.rng = attack, setup.aux, setup.task, rng
        self.client = setup.client_arch(rng.child("client"))
        self.optimizer = torch.optim.Adam(self.client.parameters(), lr=attack.lr)
        self.rounds = 0

    def hear(self, heard: BatchView) -> None:
        """One step on aux samples of the batch's labels, through a replica of the server."""
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
        """Invert the pseudo-client on aux, and apply that to what was really sent."""
        self.client.eval()
        with torch.no_grad():
            z = self.client(self.aux.x)
        blank = inverse_network(self.task.smashed_shape, self.task.input_shape, width=8)
        decoder = fit_inverse(z, self.aux.x, network=blank, epochs=self.attack.epochs)
        with torch.no_grad():
            images = decoder(view.smashed.mean(0))
        return Reconstruction(images=images, diagnostics={"rounds": float(self.rounds)})

    def _any_of(self, c: int) -> Tensor:
        pool = (self.aux.y == c).nonzero().flatten()
        return pool[torch.randint(len(pool), (), generator=self.rng.torch())]
