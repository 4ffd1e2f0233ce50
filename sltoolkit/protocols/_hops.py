"""Hops, which are clients between the data holder's cut and the server."""

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor

from sltoolkit.contracts.attack import Role
from sltoolkit.contracts.grants import Holdings, LinkSource
from sltoolkit.errors import ProtocolError
from sltoolkit.parties.stages import Middle
from sltoolkit.protocols._conversation import answer
from sltoolkit.protocols._holdings import LABELS, SERVER_NETWORK, colluder, weights_heard
from sltoolkit.training.cast import Cast, without_labels
from sltoolkit.training.member import Host
from sltoolkit.wire.turn import Turn


def through(received: Tensor, cast: Cast, y: Tensor, turn: Turn) -> Tensor:
    """Pass smashed data from hop to hop to the server, and gradients back; every party learns.

    Args:
        received: what the first hop received (B, ...).
        cast: the hops, the server, and the wire.
        y: labels (B,).
        turn: the batch as a party with both inputs and labels sees it.

    Returns:
        The gradient at what the first hop received, for it to send on.
    """
    wire, host, passing = cast.wire, cast.server, without_labels(turn)
    onward = [*(hop.seat for hop in cast.hops[1:]), host.seat]
    way = [(_middle(hop), hop.seat, nxt) for hop, nxt in zip(cast.hops, onward, strict=True)]
    for middle, here, nxt in way:
        z = middle.forward(received)
        received = wire.send(z, src=here, dst=nxt, kind="smashed", turn=passing)
    g = answer(host, received, y, turn)
    for middle, here, nxt in reversed(way):
        arrived = wire.send(g, src=nxt, dst=here, kind="smashed_grad", turn=passing)
        g = middle.backward(arrived)
    return g


def hop_seats(
    hops: Sequence[str], *, weights_heard_by: Collection[Role] = (), alike: bool = True
) -> Mapping[Role, Holdings]:
    """What each role holds where smashed data pass hops on their way to a server with the labels.

    `server` hears the smashed data of the last hop. `client` is the first hop: it hears what the
    data holder sends, and the gradient that the next party sends back. Roles that hear every link
    use the smashed data nearest to the inputs and the gradient nearest to the loss.

    Args:
        hops: the names of their seats, in order.
        weights_heard_by: roles that hear data holders' weights travel.
        alike: whether all data holders have the same network.
    """
    server, eavesdropper = weights_heard(weights_heard_by)
    first, last, behind = hops[0], hops[-1], [*hops, "server"][1]
    from_source = {"smashed": LinkSource("smashed", "client", first)}
    from_server = {"smashed_grad": LinkSource("smashed_grad", "server", last)}
    at_server = {"smashed": LinkSource("smashed", last, "server")}
    at_first = {"smashed_grad": LinkSource("smashed_grad", behind, first)}
    everything = LABELS | SERVER_NETWORK | colluder(alike)
    return {
        "server": Holdings(
            links=at_server | from_server, knows=LABELS | SERVER_NETWORK | server, hops=len(hops)
        ),
        "client": Holdings(links=from_source | at_first),
        "eavesdropper": Holdings(links=from_source | from_server, knows=eavesdropper),
        "colluding": Holdings(links=from_source | from_server, knows=everything),
    }


def _middle(host: Host) -> Middle:
    if not isinstance(host.party, Middle):
        raise ProtocolError(f"{host.seat} must sit between two cuts")
    return host.party
