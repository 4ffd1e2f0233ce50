"""Planted broken protocols, and a sound one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch

from sltoolkit.contracts.attack import Role
from sltoolkit.contracts.defense import NoDefense
from sltoolkit.contracts.grants import Holdings, LinkSource
from sltoolkit.protocols import Protocol, Vanilla
from sltoolkit.training.cast import Cast, Clock
from sltoolkit.training.casting import Casting
from sltoolkit.training.guarded import Guarded
from sltoolkit.wire.turn import PhaseName


@dataclass(frozen=True, kw_only=True)
class Planted(Protocol):
    """Sound: vanilla split learning; the others break something of it."""

    parts: ClassVar[int] = 2
    citation: ClassVar[str] = "nobody 2026"

    @property
    def vanilla(self) -> Vanilla:
        """What it consists of."""
        return Vanilla(clients=self.clients)

    @property
    def seats(self) -> Mapping[Role, Holdings]:
        """Those of vanilla."""
        return self.vanilla.seats

    def cast(self, casting: Casting) -> Cast:
        """Seat clients and a server."""
        return self.vanilla.cast(casting)

    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """Every client in turn."""
        self.vanilla.epoch(cast, clock, phase)


@final
@dataclass(frozen=True, kw_only=True)
class CitesNobody(Planted):
    """Names no paper."""

    citation: ClassVar[str] = "somebody, some time"


@final
@dataclass(frozen=True, kw_only=True)
class HearsSilence(Planted):
    """Seats an eavesdropper on a link on which nothing travels."""

    @property
    def seats(self) -> Mapping[Role, Holdings]:
        """The eavesdropper is said to hear labels that the server sends."""
        silent = {"labels": LinkSource("labels", "server", "client")}
        return {**self.vanilla.seats, "eavesdropper": Holdings(links=silent)}


@final
@dataclass(frozen=True, kw_only=True)
class InventsGrants(Planted):
    """Seats a server that knows what no view can ask for."""

    @property
    def seats(self) -> Mapping[Role, Holdings]:
        """The server is said to know the truth."""
        server = self.vanilla.seats["server"]
        knowing = Holdings(links=server.links, knows=server.knows | {"truth"})
        return {**self.vanilla.seats, "server": knowing}


@final
@dataclass(frozen=True, kw_only=True)
class OnlyTalksOfLearning(Planted):
    """Says that its parties learn, and lets them stand still."""

    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """Every client in turn, and nobody learns."""
        cast.learn(False)
        super().epoch(cast, clock, phase)


@final
@dataclass(frozen=True, kw_only=True)
class Unseeded(Planted):
    """Draws from the random generators that everybody shares."""

    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """The last client's weights move at random, too."""
        super().epoch(cast, clock, phase)
        with torch.no_grad():
            for parameter in cast.clients[-1].party.module.parameters():
                parameter.add_(1e-3 * torch.rand(1))


@final
@dataclass(frozen=True, kw_only=True)
class NoticesEars(Planted):
    """Behaves while somebody listens."""

    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """Nobody learns where there is an ear."""
        cast.learn(not vars(cast.wire)["_ears"])
        super().epoch(cast, clock, phase)


@final
@dataclass(frozen=True, kw_only=True)
class NoticesDefenses(Planted):
    """Trains less with a defense, whatever that does."""

    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """Nobody learns where there is a defense."""
        own = cast.clients[0].defense
        inner = own.inner if isinstance(own, Guarded) else own
        cast.learn(isinstance(inner, NoDefense))
        super().epoch(cast, clock, phase)
