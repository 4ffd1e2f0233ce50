"""Vertical split learning: parties hold different features of the same samples.

Every party sends smashed data of its block of the features. The server, which holds the labels,
merges them and finishes the forward pass. Each party gets back the gradient at its own data: its
slice of the gradient at the merged data (concat), all of it (sum), a K-th of it (mean), the entries
in which its data were the largest (max), or all of it times the product of all others' data (mul).

A party other than the first may stay away from a batch. Then it computes and learns nothing, and
the server puts zeros, or the mean of what that party sent before, in the place of its data. Zeros
are neutral in a sum, but wipe out a product.

Source: Ceballos et al. 2020, where merges and absent parties are compared. An absent party still
counts in a mean: the others' gradients are a K-th with or without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, final

import torch
from torch import nn

from sltoolkit.contracts.attack import Role
from sltoolkit.contracts.grants import Holdings
from sltoolkit.errors import ProtocolError
from sltoolkit.models.resize import resize
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.protocols._conversation import answer
from sltoolkit.protocols._exchange import Exchange
from sltoolkit.protocols._feature_blocks import (
    FeatureBlocks,
    aligned,
    block_seats,
    dry_pass,
    init_stream,
    widths_of,
)
from sltoolkit.streams import Stream
from sltoolkit.training.cast import Cast, Clock
from sltoolkit.training.casting import Casting
from sltoolkit.training.merging import ImputeName, Imputer, Merge, MergeName
from sltoolkit.wire.message import SERVER
from sltoolkit.wire.turn import PhaseName


@final
@dataclass(frozen=True, kw_only=True)
class Vertical(FeatureBlocks):
    """Parties with blocks of the features, a server that merges them and holds the labels."""

    parts: ClassVar[int] = 2
    citation: ClassVar[str] = (
        "Ceballos et al. 2020, SplitNN-driven vertical partitioning (arXiv:2008.04137)"
    )

    merge: Annotated[
        MergeName,
        Parameter("how the server merges; all but `concat` need smashed data of one shape"),
    ] = "concat"
    absent: Annotated[
        float,
        Parameter("chance that a party (but the first) stays away from a batch", least=0, most=1),
    ] = 0.0
    impute: Annotated[
        ImputeName, Parameter("what the server puts in place of a missing party's data")
    ] = "zeros"

    @property
    def seats(self) -> Mapping[Role, Holdings]:
        """What each role holds: `client` is the first party."""
        return block_seats()

    def cast(self, casting: Casting) -> Cast:
        """Every party with a copy of the first part, a server with a merge and the second."""
        parties = self.parties(casting)
        sent = dry_pass(parties)
        merge = Merge(self.merge, widths_of(sent))
        merged = merge(torch.cat(sent, dim=-1))
        rest = resize(casting.parts[1], merged, init_stream(casting, str(SERVER)))
        # smashed data arrive joined along the last axis, which is all that concatenation means
        network = rest if self.merge == "concat" else nn.Sequential(merge, rest)
        cast = casting.cast(clients=parties, servers=[casting.server(SERVER, network)])
        cast.imputer = Imputer(widths_of(sent), self.impute)
        return cast

    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """All batches, each with the parties that are present."""
        wire, host, imputer = cast.wire, cast.server, cast.imputer
        if imputer is None:
            raise ProtocolError("vertical needs an imputer at the server")
        for views, y, turn in aligned(cast, clock, phase):
            exchanges = {k: Exchange.begin(*views[k]) for k in self._present(cast.rng)}
            z = imputer.join({k: one.send(host.seat, wire) for k, one in exchanges.items()})
            slices = answer(host, z, y, turn).split(imputer.widths, dim=-1)
            for k, one in exchanges.items():
                one.learn(one.reply(slices[k], host.seat, wire))
            wire.close(turn)

    def _present(self, rng: Stream) -> list[int]:
        """The numbers of the parties that are present in a batch."""
        if not self.absent:
            return list(range(self.clients))
        draws = rng.numpy().random(self.clients - 1)
        return [0, *(k for k, draw in enumerate(draws, start=1) if draw >= self.absent)]
