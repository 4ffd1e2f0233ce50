"""Attacks on a training as plain loops (see `plain_attacks`); the networks are the toolkit's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from listening import by_hand
from plain_attacks import Plain, adam
from torch import Tensor
from torch.nn import functional
from torch.nn.functional import mse_loss

from sltoolkit.adversary.own_defense import OwnDefense
from sltoolkit.adversary.training_setup import TrainingSetup
from sltoolkit.attacks.hijacking._hijacker import Hijacking, HijackView, Trio
from sltoolkit.attacks.listening._substitute import Batch, SubstituteView
from sltoolkit.attacks.listening.fora import FORA, Aligned
from sltoolkit.attacks.listening.pcat import PCAT, PseudoClient
from sltoolkit.attacks.listening.sdar import SDAR, Simulation
from sltoolkit.contracts.attack import (
    ActiveAttack,
    BatchView,
    Listener,
    ListenerState,
    Role,
)
from sltoolkit.contracts.outcomes import Outcome, Reconstruction
from sltoolkit.metrics.discrepancy import mk_mmd
from sltoolkit.networks.fitting import decode
from sltoolkit.parties.stages import Server, Stage
from sltoolkit.streams import Stream


class PlainSDAR(ListenerState):
    """SDAR's step as `benchmarks/listening.py` has it."""

    def __init__(self, attack: SDAR, setup: TrainingSetup, first: BatchView, rng: Stream) -> None:
        self._state = Simulation(attack, setup, first, rng)
        self._step = by_hand(self._state, attack)

    def hear(self, heard: BatchView) -> None:
        """Make one step."""
        batch, substitute = Batch.of(heard), self._state.substitute
        if batch.y is None:
            raise ValueError("by hand, SDAR hears labels: use vanilla split learning")
        self._step(batch.z, batch.y, batch.server, *substitute.draw(len(batch.z)))

    def finish(self, view: SubstituteView) -> Outcome:
        """Decode."""
        return self._state.finish(view)


class PlainPCAT(ListenerState):
    """PCAT's step; labels are aligned."""

    def __init__(self, attack: PCAT, setup: TrainingSetup, first: BatchView, rng: Stream) -> None:
        self._own = PseudoClient(attack, setup, first, rng).substitute
        self._client, self._decoder = self._own.client.network, self._own.decoder.network
        self._follow = [adam(n.parameters()) for n in (self._client, self._decoder)]

    def hear(self, heard: BatchView) -> None:
        """Make one step."""
        batch = Batch.of(heard)
        x, y = self._own.draw(len(batch.z)) if batch.y is None else self._own.draw_alike(batch.y)
        self._follow[0](functional.cross_entropy(batch.server(self._client(x)), y))
        self._follow[1](mse_loss(self._decoder(self._client(x).detach()), x))

    def finish(self, view: SubstituteView) -> Outcome:
        """Decode, without refining."""
        return Reconstruction(images=decode(self._decoder, view.smashed[0]))


class PlainFORA(ListenerState):
    """FORA's step, and as many final steps of the decoder."""

    def __init__(self, attack: FORA, setup: Any, first: BatchView, rng: Stream) -> None:
        own = Aligned(attack, setup, first.messages["smashed", "in"], rng)
        if own.critic is None:
            raise ValueError("by hand, FORA has a critic: give a share of MK-MMD below 1")
        self._attack, self._x = attack, own.own
        self._networks = [n.network for n in (own.substitute, own.decoder, own.critic)]
        self._follow = [adam(n.parameters()) for n in self._networks]

    def hear(self, heard: BatchView) -> None:
        """Make one step."""
        z, a = heard.messages["smashed", "in"], self._attack.mmd_share or 0.0
        f, d, D = self._networks
        x = self._x[torch.randint(len(self._x), (len(z),))]
        codes = f(x)
        self._follow[0](a * mk_mmd(codes, z) + (1 - a) * D(codes).mean())
        self._follow[1](mse_loss(d(f(x).detach()), x))
        gap = D(z).mean() - D(codes.detach()).mean()
        self._follow[2](gap + self._attack.penalty * slope_penalty(D, z, codes.detach()))

    def finish(self, view: SubstituteView) -> Outcome:
        """Make the final steps, and decode."""
        f, d, _ = self._networks
        f.eval()
        for _ in range(self._attack.polish or 0):
            x = self._x[torch.randint(len(self._x), (64,))]
            self._follow[1](mse_loss(d(f(x).detach()), x))
        return Reconstruction(images=decode(d, view.smashed[0]))


STATES: dict[type, Callable[..., ListenerState]] = {
    SDAR: PlainSDAR, PCAT: PlainPCAT, FORA: PlainFORA,
}  # fmt: skip


@final
@dataclass(frozen=True, kw_only=True)
class PlainListener(Plain, Listener[TrainingSetup]):
    """A listener with the networks of `like`, none of whose parameters are open."""

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    setup: ClassVar[type] = TrainingSetup
    view: ClassVar[type] = SubstituteView

    like: Any

    def open(self, setup: TrainingSetup, first: BatchView, *, rng: Stream) -> ListenerState:
        """Make the networks."""
        return STATES[type(self.like)](self.like, setup, first, rng)


@final
@dataclass(frozen=True, kw_only=True)
class PlainHijacker(Plain, ActiveAttack[TrainingSetup]):
    """A hijacker with the networks of `like`."""

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    setup: ClassVar[type] = TrainingSetup
    view: ClassVar[type] = HijackView

    like: Any

    def seize(
        self, honest: Stage, setup: TrainingSetup, first: Tensor, *, rng: Stream
    ) -> tuple[Stage, ListenerState]:
        """Take the server's seat."""
        seat = PlainSeat(self.like, setup, first)
        return seat, PlainReader(seat)


class PlainSeat(Server):
    """FSHA's step."""

    def __init__(self, attack: Hijacking, setup: TrainingSetup, first: Tensor) -> None:
        trio = Trio(attack, setup.task, first, OwnDefense(None, Stream(0)))
        self.pilot, self.decoder, self._critic = (
            n.network for n in (trio.pilot, trio.reader, trio.critic)
        )
        self._attack, self._x = attack, setup.aux.x
        self._follow = adam([*self.pilot.parameters(), *self.decoder.parameters()])
        self._judge = adam(self._critic.parameters())

    def learn(self, learning: bool) -> None:
        """Ignored: it always learns."""

    def step(self, smashed: Tensor, labels: Tensor) -> Tensor:
        """The gradient that fools the critic, (B, ...)."""
        x, D = self._x[torch.randint(len(self._x), (len(smashed),))], self._critic
        codes, z = self.pilot(x), smashed.detach().requires_grad_()
        for _ in range(self._attack.critic_steps):
            gap = D(codes.detach()).mean() - D(z.detach()).mean()
            penalty = slope_penalty(D, z.detach(), codes.detach())
            self._judge(gap + self._attack.penalty * penalty)
        (answer,) = torch.autograd.grad(D(z).mean(), z)
        self._follow(mse_loss(self.decoder(codes), x))
        return answer


class PlainReader(ListenerState):
    """Decodes at the end."""

    def __init__(self, seat: PlainSeat) -> None:
        self._seat = seat

    def hear(self, heard: BatchView) -> None:
        """Do nothing: the seat has learned."""

    def finish(self, view: HijackView) -> Outcome:
        """Decode."""
        return Reconstruction(images=decode(self._seat.decoder, view.smashed[0]))


def slope_penalty(D: Callable[[Tensor], Tensor], z: Tensor, codes: Tensor) -> Tensor:
    """The mean squared excess of the critic's slope over 1, at random points between both."""
    share = torch.rand(len(z), *(1,) * (z.dim() - 1))
    point = (share * z + (1 - share) * codes).requires_grad_()
    slope: Tensor = torch.autograd.grad(D(point).sum(), point, create_graph=True)[0]
    norms: Tensor = slope.flatten(1).norm(dim=1)
    return (norms - 1).square().mean()
