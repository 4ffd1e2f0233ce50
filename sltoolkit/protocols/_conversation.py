"""The conversation of split learning about one batch, with every seam of a defense in order."""

from typing import Literal

from torch import Tensor

from sltoolkit.errors import ProtocolError
from sltoolkit.parties.stages import Server
from sltoolkit.training.cast import without_inputs, without_labels
from sltoolkit.training.member import Host, Member
from sltoolkit.wire.turn import Turn
from sltoolkit.wire.wire import Wire


def converse(
    me: Member, host: Host, x: Tensor, y: Tensor, turn: Turn, wire: Wire, *,
    labels_at: Literal["client", "server"] = "client",
) -> None:  # fmt: skip
    """The client sends smashed data; the server learns and answers with the gradient at them.

    Args:
        me: the client.
        host: the server.
        x: the client's inputs (B, C, H, W).
        y: their labels (B,).
        turn: the batch as a party with both inputs and labels sees it.
        wire: the wire between them.
        labels_at: which party owns the labels; a client that does sends them to the server.
    """
    server = loss_server(host)
    at_server = without_inputs(turn, host.rng)
    if labels_at == "client":
        labels = me.defense.labels(y, turn)
        labels = wire.send(labels, src=me.seat, dst=host.seat, kind="labels", turn=turn)
    else:
        labels = host.defense.labels(y, at_server)
        turn = without_labels(turn)

    z = me.defense.smash(me.party.forward(x), turn)
    g = server.step(wire.send(z, src=me.seat, dst=host.seat, kind="smashed", turn=turn), labels)
    g = host.defense.gradient(g, at_server)
    arrived = wire.send(g, src=host.seat, dst=me.seat, kind="smashed_grad", turn=turn)
    back = me.defense.receive(arrived, turn)
    me.party.update(z, back, extra=me.defense.client_loss(z, turn))
    me.defense.step(turn)
    wire.close(turn)


def answer(host: Host, received: Tensor, y: Tensor, turn: Turn) -> Tensor:
    """A server that holds the labels learns; returns the gradient that it sends back.

    Args:
        host: the server.
        received: smashed data (B, ...).
        y: its labels (B,).
        turn: the batch as a party with both inputs and labels sees it.
    """
    at_server = without_inputs(turn, host.rng)
    g = loss_server(host).step(received, host.defense.labels(y, at_server))
    return host.defense.gradient(g, at_server)


def learn_locally(me: Member, z: Tensor, labels: Tensor, turn: Turn) -> None:
    """A client back-propagates through its tail, then its network, and steps both.

    Raises:
        ProtocolError: if it has no tail.
    """
    if me.tail is None:
        raise ProtocolError(f"{me.seat} needs a network with which to compute a loss itself")
    g = me.tail.step(z.detach().clone(), labels)
    me.party.update(z, g, extra=me.defense.client_loss(z, turn))
    me.defense.step(turn)


def loss_server(host: Host) -> Server:
    """The server at a host.

    Raises:
        ProtocolError: if the host computes no loss.
    """
    if not isinstance(host.party, Server):
        raise ProtocolError(f"{host.seat} must compute the loss, but sits between two cuts")
    return host.party
