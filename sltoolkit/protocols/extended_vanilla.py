"""Extended vanilla split learning (Vepakomma et al. 2018): a client joins what others send.

Parties that hold different features of the same samples send smashed data to a further client. It
joins them along the last axis, computes the next part of the network and sends the result to the
server, which holds the labels. Gradients take the same way back, and each party gets its slice. The
server hears joined data only. The joining client is a new kind of party: it hears what every other
party sends.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch

from sltoolkit.contracts.attack import Role
from sltoolkit.contracts.grants import Holdings
from sltoolkit.models.resize import resize
from sltoolkit.protocols._exchange import Exchange
from sltoolkit.protocols._feature_blocks import (
    FeatureBlocks,
    aligned,
    dry_pass,
    init_stream,
    widths_of,
    without_peer,
)
from sltoolkit.protocols._hops import hop_seats, through
from sltoolkit.training.cast import Cast, Clock
from sltoolkit.training.casting import Casting
from sltoolkit.wire.message import SERVER, Seat
from sltoolkit.wire.turn import PhaseName

JOINER = Seat("hop")


@final
@dataclass(frozen=True, kw_only=True)
class ExtendedVanilla(FeatureBlocks):
    """Parties with blocks of the features, a client that joins them, a server with the labels."""

    parts: ClassVar[int] = 3
    citation: ClassVar[str] = (
        "Vepakomma et al. 2018, Split learning for health: Distributed deep learning without "
        "sharing raw patient data (arXiv:1812.00564)"
    )

    @property
    def seats(self) -> Mapping[Role, Holdings]:
        """What each role holds: `client` is the joining client, the only one the server hears."""
        return without_peer(hop_seats([JOINER.name]))

    def cast(self, casting: Casting) -> Cast:
        """Every party with a copy of the first part, the joining client with the second."""
        parties = self.parties(casting)
        joined = torch.cat(dry_pass(parties), dim=-1)
        joiner = resize(casting.parts[1], joined, init_stream(casting, str(JOINER)))
        with torch.no_grad():
            onward = copy.deepcopy(joiner).eval()(joined)
        server = resize(casting.parts[2], onward, init_stream(casting, str(SERVER)))
        return casting.cast(
            clients=parties,
            hops=[casting.middle(JOINER, joiner)],
            servers=[casting.server(SERVER, server)],
        )

    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """All batches, each with every party."""
        wire = cast.wire
        for views, y, turn in aligned(cast, clock, phase):
            exchanges = [Exchange.begin(me, its) for me, its in views]
            received = [one.send(JOINER, wire) for one in exchanges]
            g = through(torch.cat(received, dim=-1), cast, y, turn)
            for one, own in zip(exchanges, g.split(widths_of(received), dim=-1), strict=True):
                one.learn(one.reply(own, JOINER, wire))
            wire.close(turn)
