"""A server that hijacks the training (in the manner of FSHA), and a client that sabotages it."""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from contract.example_listener import SubstituteView
from sltoolkit.adversary.training_setup import TrainingSetup
from sltoolkit.contracts.attack import ActiveAttack, BatchView, Family, ListenerState, Role
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.parties.honest import HonestClient
from sltoolkit.parties.stages import Client, Server, Stage
from sltoolkit.streams import Stream


@dataclass(frozen=True, kw_only=True)
class Hijack(ActiveAttack[TrainingSetup]):
    """Teaches the client to encode images as the attacker's own pilot does.

    Attributes:
        lr: learning rate of pilot, decoder and discriminator.
        scale: factor of the gradient that the client gets.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    setup: ClassVar[type] = TrainingSetup
    view: ClassVar[type] = SubstituteView
    citation: ClassVar[str] = "Pasquini et al. 2021, FSHA (CCS)"

    lr: float = 0.005
    scale: float = 1.0

    def seize(
        self, honest: Stage, setup: TrainingSetup, first: Tensor, *, rng: Stream
    ) -> tuple[Server, ListenerState]:
        """Take over the server's seat."""
        server = HijackingServer(self, setup, rng)
        return server, _Memory(server)


class HijackingServer(Server):
    """A server that ignores labels and sends back the gradient of its own loss."""

    def __init__(self, attack: Hijack, setup: TrainingSetup, rng: Stream) -> None:
        channels = setup.task.smashed_shape[0]
        self.attack, self.aux, self.rng, self.learning = attack, setup.aux, rng, True
        self.pilot = nn.Conv2d(setup.task.input_shape[0], channels, 3, padding=1)
        self.decoder = nn.Conv2d(channels, setup.task.input_shape[0], 3, padding=1)
        self.critic = nn.Sequential(
            nn.Conv2d(channels, 8, 3), nn.LeakyReLU(0.2), nn.Flatten(), nn.LazyLinear(1)
        )
        self.critic(torch.zeros(1, *setup.task.smashed_shape, device=setup.aux.x.device))
        both = [*self.pilot.parameters(), *self.decoder.parameters()]
        self.own = torch.optim.Adam(both, lr=attack.lr)
        self.judge = torch.optim.Adam(self.critic.parameters(), lr=attack.lr)
        self.steps = 0

    def learn(self, learning: bool) -> None:
        """Nothing to do, since this server has no honest mode."""
        self.learning = learning

    def step(self, smashed: Tensor, labels: Tensor) -> Tensor:
        """The gradient that makes the client's codes look like the pilot's, (B, ...)."""
        with self.rng.scope():
            own = self.aux.x
            public = own[torch.randint(len(own), (len(smashed),), device=own.device)]
            codes = functional.relu(self.pilot(public))
            _descend(self.own, functional.mse_loss(self.decoder(codes), public))
            _descend(self.judge, self._told_apart(codes.detach(), smashed))
            z = smashed.requires_grad_()
            fooled = functional.softplus(-self.critic(z)).mean()
            (gradient,) = torch.autograd.grad(fooled, z)
            self.steps += 1
            return self.attack.scale * gradient

    def _told_apart(self, codes: Tensor, smashed: Tensor) -> Tensor:
        ours, theirs = self.critic(codes), self.critic(smashed.detach())
        return functional.softplus(-ours).mean() + functional.softplus(theirs).mean()


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@final
class _Memory(ListenerState):
    def __init__(self, server: HijackingServer) -> None:
        self.server = server
        self.heard = 0

    def hear(self, heard: BatchView) -> None:
        self.heard += 1

    def finish(self, view: SubstituteView) -> Reconstruction:
        with torch.no_grad():
            images = self.server.decoder(view.smashed.mean(0))
        counts = {"steps": float(self.server.steps), "heard": float(self.heard)}
        return Reconstruction(images=images, diagnostics=counts)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SabotageView:
    """An empty view, before the run and after it."""

    task: Task


@final
@dataclass(frozen=True, kw_only=True)
class Sabotage(ActiveAttack[SabotageView]):
    """A client that increases the task's loss while the others decrease it."""

    roles: ClassVar[tuple[Role, ...]] = ("client",)
    family: ClassVar[Family] = "reconstruction"
    setup: ClassVar[type] = SabotageView
    view: ClassVar[type] = SabotageView
    citation: ClassVar[str] = "nobody 2026"

    def seize(
        self, honest: Stage, setup: SabotageView, first: Tensor, *, rng: Stream
    ) -> tuple[Stage, ListenerState]:
        """Take over the client's seat."""
        assert isinstance(honest, HonestClient)
        return Saboteur(honest), _Samples(first)


@final
class Saboteur(Client):
    """A client that is honest except for the sign of the gradient that it follows."""

    def __init__(self, honest: HonestClient) -> None:
        self._honest = honest

    def __getattr__(self, name: str) -> Any:
        return getattr(self._honest, name)

    def learn(self, learning: bool) -> None:
        """As the honest client."""
        self._honest.learn(learning)

    def forward(self, x: Tensor) -> Tensor:
        """As the honest client."""
        return self._honest.forward(x)

    def update(self, z: Tensor, back: Tensor | None, extra: Tensor | None) -> None:
        """Follow the gradient in the opposite direction."""
        self._honest.update(z, None if back is None else -back, extra)


@final
class _Samples(ListenerState):
    def __init__(self, x: Tensor) -> None:
        self.x, self.heard = x, 0

    def hear(self, heard: BatchView) -> None:
        self.heard += 1

    def finish(self, view: SabotageView) -> Reconstruction:
        return Reconstruction(images=self.x, diagnostics={"heard": float(self.heard)})
