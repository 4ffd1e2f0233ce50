"""What each role holds by its position: the tables that several protocols share."""

from collections.abc import Collection, Mapping
from typing import Literal

from sltoolkit.contracts.attack import Role
from sltoolkit.contracts.chain import Chain
from sltoolkit.contracts.defense import Defense
from sltoolkit.contracts.grants import Holdings, LinkSource
from sltoolkit.errors import ProtocolError

CLIENT_NETWORKS = frozenset({"client_arch", "client_weights"})
LABELS = frozenset({"labels"})
SERVER_NETWORK = frozenset({"server_weights"})

PEER = frozenset({"peer_weights"})
UPDATES = frozenset({"updates"})
FED_LINKS: tuple[Role, ...] = ("eavesdropper",)
"""The roles that hear clients' weights on their way to and from a fed server."""


def split_seats(
    *,
    labels_at: Literal["client", "server"],
    gradients: bool = True,
    weights_heard_by: Collection[Role] = (),
    updates: bool = False,
    alike: bool = True,
) -> Mapping[Role, Holdings]:
    """What each role holds where one cut lies between client and server.

    Args:
        labels_at: which party owns the labels; a client that does sends them to the server.
        gradients: whether the server sends gradients back.
        weights_heard_by: roles that hear clients' weights travel.
        updates: whether every client gets weights and sends its own back, so that roles that hear
            weights hear what it learned.
        alike: whether all clients have the same network.
    """
    up = {"smashed": LinkSource("smashed", "client", "server")}
    down = {"smashed_grad": LinkSource("smashed_grad", "server", "client")} if gradients else {}
    sent_up = LABELS if labels_at == "client" else frozenset()
    server, eavesdropper = weights_heard(weights_heard_by)
    if updates:
        server, eavesdropper = (s | UPDATES if s else s for s in (server, eavesdropper))
    return {
        "server": Holdings(links=up | down, knows=LABELS | SERVER_NETWORK | server),
        "client": Holdings(links=down, knows=CLIENT_NETWORKS | sent_up),
        "eavesdropper": Holdings(links=up | down, knows=sent_up | eavesdropper),
        "colluding": Holdings(links=up | down, knows=LABELS | SERVER_NETWORK | colluder(alike)),
    }


def colluder(alike: bool) -> frozenset[str]:
    """What a client contributes when it colludes with the server against another client.

    It contributes its network, which is also the target's where clients are alike. Where they are
    not, the target's weights stay unknown, and the colluder also contributes its samples.
    """
    return PEER | (CLIENT_NETWORKS if alike else frozenset({"client_arch", "peer_samples"}))


def weights_heard(by: Collection[Role]) -> tuple[frozenset[str], frozenset[str]]:
    """What the server and an eavesdropper learn from the clients' weights that they hear.

    An eavesdropper hears every link. The last weights that it hears are at most one turn older than
    the deployed ones, and those travel, too, as soon as another client takes them over.
    """
    server, eavesdropper = (
        CLIENT_NETWORKS if role in by else frozenset[str]() for role in ("server", "eavesdropper")
    )
    return server, eavesdropper


def whole_seats() -> Mapping[Role, Holdings]:
    """What each role holds where nothing is split: weights or their gradients travel.

    Each client sends its own weights to the server; the other clients hear only means.
    """
    networks = CLIENT_NETWORKS | SERVER_NETWORK
    return {
        "server": Holdings(links={}, knows=networks | UPDATES),
        "client": Holdings(links={}, knows=networks | LABELS),
        "eavesdropper": Holdings(links={}, knows=networks | UPDATES),
        "colluding": Holdings(links={}, knows=networks | LABELS | UPDATES),
    }


_SEAMS = ("smash", "labels", "gradient", "receive", "client_loss", "step")


def refuse_inert(defense: Defense, protocol: str) -> None:
    """Refuse a defense of messages that the protocol doesn't send, since it would have no effect.

    Raises:
        ProtocolError: naming the defense.
    """
    for link in defense.links if isinstance(defense, Chain) else (defense,):
        if any(getattr(type(link), seam) is not getattr(Defense, seam) for seam in _SEAMS):
            raise ProtocolError(
                f"{protocol} sends no smashed data and no gradients at a cut, so "
                f"{type(link).__name__} would be silently inert: use a protocol that splits the "
                "network, or no defense"
            )
