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
    """A sound protocol: vanilla split learning; the other protocols each break it."""

    parts: ClassVar[int] = 2
    citation: ClassVar[str] = "nobody 2026"

    @property
    def vanilla(self) -> Vanilla:
        """The vanilla protocol that does the work."""
        return Vanilla(clients=self.clients)

    @property
    def seats(self) -> Mapping[Role, Holdings]:
        """The seats of vanilla."""
        return self.vanilla.seats

    def cast(self, casting: Casting) -> Cast:
        """Seat clients and a server."""
        return self.vanilla.cast(casting)

    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """Train every client in turn."""
        self.vanilla.epoch(cast, clock, phase)


@final
@dataclass(frozen=True, kw_only=True)
class CitesNobody(Planted):
    """Cites no paper."""

    citation: ClassVar[str] = "somebody, some time"


@final
@dataclass(frozen=True, kw_only=True)
class HearsSilence(Planted):
    """Seats an eavesdropper on a link on which nothing travels."""

    @property
    def seats(self) -> Mapping[Role, Holdings]:
        """The seats of vanilla, with an eavesdropper that hears labels from the server."""
        silent = {"labels": LinkSource("labels", "server", "client")}
        return {**self.vanilla.seats, "eavesdropper": Holdings(links=silent)}


@final
@dataclass(frozen=True, kw_only=True)
class InventsGrants(Planted):
    """Seats a server with a grant that doesn't exist."""

    @property
    def seats(self) -> Mapping[Role, Holdings]:
        """The seats of vanilla, with a server that knows the truth."""
        server = self.vanilla.seats["server"]
        knowing = Holdings(links=server.links, knows=server.knows | {"truth"})
        return {**self.vanilla.seats, "server": knowing}


@final
@dataclass(frozen=True, kw_only=True)
class OnlyTalksOfLearning(Planted):
    """Declares that its parties learn, but lets none of them learn."""

    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """Let every client take its turn without learning."""
        cast.learn(False)
        super().epoch(cast, clock, phase)


@final
@dataclass(frozen=True, kw_only=True)
class Unseeded(Planted):
    """Draws from the random generators that all parties share."""

    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """Train, and add random numbers to the last client's weights."""
        super().epoch(cast, clock, phase)
        with torch.no_grad():
            for parameter in cast.clients[-1].party.module.parameters():
                parameter.add_(1e-3 * torch.rand(1))


@final
@dataclass(frozen=True, kw_only=True)
class NoticesEars(Planted):
    """Behaves differently if somebody listens."""

    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """Train, but learn only if there is no ear."""
        cast.learn(not vars(cast.wire)["_ears"])
        super().epoch(cast, clock, phase)


@final
@dataclass(frozen=True, kw_only=True)
class NoticesDefenses(Planted):
    """Behaves differently with a defense, whatever the defense does."""

    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """Train, but learn only if there is no defense."""
        own = cast.clients[0].defense
        inner = own.inner if isinstance(own, Guarded) else own
        cast.learn(isinstance(inner, NoDefense))
        super().epoch(cast, clock, phase)
