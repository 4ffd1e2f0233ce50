"""Large-batch synchronous SGD (Chen et al. 2016), a reference where nothing is split.

In every step each client computes the gradient of the whole network on its own batch. The server
averages the gradients, weighted by the batches' sizes, and every client steps along the mean: one
step on the union of the batches. Per client and step 2N numbers travel, for N parameters that learn
(frozen ones have no gradient). The
clients' optimizers see the same gradients, so their weights stay alike. BatchNorm's running
statistics are averaged after every epoch.

Departures: (1) no backup workers, since no client is late in a simulation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from sltoolkit.contracts.attack import Role
from sltoolkit.contracts.grants import Holdings
from sltoolkit.errors import ProtocolError
from sltoolkit.parties.honest import HonestClient, HonestServer
from sltoolkit.protocols._conversation import learn_locally
from sltoolkit.protocols._holdings import refuse_inert, whole_seats
from sltoolkit.protocols._rounds import lockstep
from sltoolkit.training.averaging import average, load
from sltoolkit.training.cast import Cast, Clock
from sltoolkit.training.casting import Casting
from sltoolkit.training.member import Member
from sltoolkit.training.protocol import Protocol
from sltoolkit.wire.message import SERVER
from sltoolkit.wire.turn import PhaseName, Turn
from sltoolkit.wire.wire import Wire


@final
@dataclass(frozen=True, kw_only=True)
class LargeBatchSGD(Protocol):
    """Clients in lockstep step along the mean of their gradients."""

    parts: ClassVar[int] = 2
    concurrent: ClassVar[bool] = True
    citation: ClassVar[str] = (
        "Chen et al. 2016, Revisiting distributed synchronous SGD (arXiv:1604.00981)"
    )

    @property
    def seats(self) -> Mapping[Role, Holdings]:
        """What each role holds: weights and their gradients, but no smashed data."""
        return whole_seats()

    def cast(self, casting: Casting) -> Cast:
        """Clients with both parts; the server only averages."""
        refuse_inert(casting.defense, "large_batch_sgd")
        clients = [casting.client(k, casting.parts) for k in range(self.clients)]
        for network in (n for me in clients for n in _networks(me)):
            if network.wrapped:
                raise ProtocolError(
                    "large_batch_sgd sends gradients before anybody steps, so a defense that acts "
                    "in the optimizer's step would leave them as they are: use fedavg"
                )
            network.deferred = True
        return casting.cast(clients=clients, servers=[])

    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """Steps until all clients have used all their samples."""
        wire = cast.wire
        for step in lockstep([(me, clock.batches(me, phase)) for me in cast.clients]):
            received, rows = [], []
            for me, (x, y, turn) in step:
                learn_locally(me, me.party.forward(x), y, turn)
                received.append(_send_gradients(me, wire, turn))
                rows.append(len(turn.ids))
            if any(rows):  # else all batches of this step are empty
                mean = average(received, rows)
                for me in cast.clients:
                    _follow(me, mean, wire, clock.idle(me))
            for _, (_, _, turn) in step:
                wire.close(turn)
        _share_buffers(cast, clock)


def _networks(me: Member) -> list[HonestClient | HonestServer]:
    return [me.party, *([me.tail] if me.tail is not None else [])]


def _send_gradients(me: Member, wire: Wire, turn: Turn) -> dict[str, Tensor]:
    """A client's gradients, as they arrive at the server."""
    return {
        f"{i}.{j}": wire.send(
            g, src=me.seat, dst=SERVER, kind="weight_grad", turn=turn, name=f"{i}.{j}"
        )
        for i, network in enumerate(_networks(me))
        for j, g in network.gradients().items()
    }


def _follow(me: Member, mean: Mapping[str, Tensor], wire: Wire, turn: Turn) -> None:
    """Send a client the mean gradients; it steps along them."""
    for i, network in enumerate(_networks(me)):
        names = {int(n.removeprefix(f"{i}.")): n for n in mean if n.startswith(f"{i}.")}
        network.follow({
            j: wire.send(mean[n], src=SERVER, dst=me.seat, kind="weight_grad", turn=turn, name=n)
            for j, n in names.items()
        })  # fmt: skip


def _share_buffers(cast: Cast, clock: Clock) -> None:
    """Average the buffers: at each client BatchNorm saw other batches."""
    counts = [len(me.samples) for me in cast.clients]
    for i in range(2):
        sent = []
        for me in cast.clients:
            buffers = dict(_networks(me)[i].module.named_buffers())
            sent.append({
                name: cast.wire.send(
                    b, src=me.seat, dst=SERVER, kind="buffers", turn=clock.idle(me), name=name
                )
                for name, b in buffers.items()
            })  # fmt: skip
        mean = average(sent, counts)
        for me in cast.clients:
            received = {
                name: cast.wire.send(
                    b, src=SERVER, dst=me.seat, kind="buffers", turn=clock.idle(me), name=name
                )
                for name, b in mean.items()
            }
            network = _networks(me)[i].module
            load(network, {**network.state_dict(), **received})
