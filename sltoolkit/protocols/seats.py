"""Who holds what by position: the tables that several protocols share."""

from collections.abc import Mapping
from typing import Literal

from sltoolkit.contracts import Role
from sltoolkit.threat import Holdings, Tap

CLIENT_NETWORKS = frozenset({"client_arch", "client_weights"})
LABELS = frozenset({"labels"})
SERVER_NETWORK = frozenset({"server_weights"})


def split_seats(
    *, labels_at: Literal["client", "server"], gradients: bool = True, client: str = "client"
) -> Mapping[Role, Holdings]:
    """One cut between client and server.

    Args:
        labels_at: who owns the labels; the client's travel up the wire.
        gradients: whether the server sends gradients back.
        client: the name of the seat on the client's side of the cut.
    """
    up = {"smashed": Tap("smashed", client, "server")}
    down = {"smashed_grad": Tap("smashed_grad", "server", client)} if gradients else {}
    sent_up = LABELS if labels_at == "client" else frozenset()
    return {
        "server": Holdings(taps=up | down, knows=LABELS | SERVER_NETWORK),
        "client": Holdings(taps=down, knows=CLIENT_NETWORKS | sent_up),
        "eavesdropper": Holdings(taps=up | down, knows=sent_up),
        "colluding": Holdings(taps=up | down, knows=LABELS | CLIENT_NETWORKS | SERVER_NETWORK),
    }
