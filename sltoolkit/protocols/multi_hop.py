"""Multi-hop split learning, "Tor-like" (Vepakomma et al. 2018): several parties in a chain.

Smashed data of the data holder pass further clients, each of which computes a part of the network,
before they reach the server, which holds the labels. Gradients take the same way back. Networks are
also partitioned by layers over several machines in this way. The server hears data that are further
from the inputs. The first hop is a new kind of party: it hears the data as the data holder sent
them.

Several data holders take turns, as in vanilla split learning.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, final

from sltoolkit.contracts.attack import Role
from sltoolkit.contracts.grants import Holdings
from sltoolkit.data.samples import Samples
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.protocols._exchange import Exchange
from sltoolkit.protocols._hops import hop_seats, through
from sltoolkit.protocols._relay import Relay
from sltoolkit.training.cast import Cast, Clock, without_labels
from sltoolkit.training.casting import Casting
from sltoolkit.training.protocol import Deployment
from sltoolkit.wire.message import SERVER, Seat
from sltoolkit.wire.turn import PhaseName


@final
@dataclass(frozen=True, kw_only=True)
class MultiHop(Relay):
    """A data holder, hops, a server with the labels: the network in hops + 2 parts."""

    citation: ClassVar[str] = (
        "Vepakomma et al. 2018, Split learning for health: Distributed deep learning without "
        "sharing raw patient data (arXiv:1812.00564)"
    )

    hops: Annotated[
        int,
        Parameter("clients between the data holder and the server; `vanilla` has none", least=1),
    ] = 1

    @property
    def parts(self) -> int:  # type: ignore[override]
        """One part for the data holder, one for each hop, and one for the server."""
        return self.hops + 2

    @property
    def seats(self) -> Mapping[Role, Holdings]:
        """What each role holds: `client` is the first hop, and the server hears the last one."""
        hops = [f"hop{i}" for i in range(1, self.hops + 1)]
        return hop_seats(hops, weights_heard_by=self.weights_heard_by, alike=self.share_weights)

    def cast(self, casting: Casting) -> Cast:
        """Data holders with the first part, a server with the last, hops with those between."""
        head, *between, rest = casting.parts
        return casting.cast(
            clients=[casting.client(k, (head,)) for k in range(self.clients)],
            hops=[casting.middle(Seat(f"hop{i}"), part) for i, part in enumerate(between, start=1)],
            servers=[casting.server(SERVER, rest)],
        )

    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """Every data holder in turn, over all its batches."""
        wire, first = cast.wire, cast.hops[0].seat
        for me, _, y, turn in self.relay(cast, clock, phase):
            exchange = Exchange.begin(me, without_labels(turn))
            g = through(exchange.send(first, wire), cast, y, turn)
            exchange.learn(exchange.reply(g, first, wire))
            wire.close(turn)

    def deploy(self, cast: Cast, samples: Samples) -> Deployment:
        """The hops lie between the client and the server."""
        members, server = super().deploy(cast, samples)
        hops = tuple(hop.deployed() for hop in cast.hops)
        return tuple(replace(member, hops=hops) for member in members), server
