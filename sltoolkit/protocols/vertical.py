"""Vertical split learning: parties hold different features of the same samples.

Every party sends smashed data of its block of the features; the server, which holds the labels,
merges them and finishes the forward pass. Each party gets back what its own data are owed: its
slice of the gradient (concat), a copy (sum), a K-th of it (mean), the entries in which it was the
greatest (max), or the copy times the product of all others' data (mul).

A party other than the first may stay away from a batch. Then it computes and learns nothing, and
the server puts zeros, or the mean of what that party sent before, in its place. (Zeros are neutral
in a sum, but wipe out a product.)

Source: Ceballos et al. 2020, who compare the merges and parties that stay away. A missing party
still counts in a mean: the others' gradients are a K-th with or without it.
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
from sltoolkit.protocols._exchange import Said
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
        Parameter("chance of each party but the first to stay away from a batch", least=0, most=1),
    ] = 0.0
    impute: Annotated[
        ImputeName, Parameter("what the server puts in place of a missing party's data")
    ] = "zeros"

    @property
    def seats(self) -> Mapping[Role, Holdings]:
        """Who holds what: `client` is the first party."""
        return block_seats()

    def cast(self, casting: Casting) -> Cast:
        """Every party with a copy of the first part, a server with a merge and the second."""
        parties = self.parties(casting)
        said = dry_pass(parties)
        merge = Merge(self.merge, widths_of(said))
        merged = merge(torch.cat(said, dim=-1))
        rest = resize(casting.parts[1], merged, init_stream(casting, str(SERVER)))
        # what arrives lies side by side already: concatenation is nothing more to do
        network = rest if self.merge == "concat" else nn.Sequential(merge, rest)
        cast = casting.cast(clients=parties, servers=[casting.server(SERVER, network)])
        cast.imputer = Imputer(widths_of(said), self.impute)
        return cast

    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """Every batch with the parties that are there."""
        wire, host, imputer = cast.wire, cast.server, cast.imputer
        if imputer is None:
            raise ProtocolError("vertical needs an intake at the server")
        for views, y, turn in aligned(cast, clock, phase):
            said = {k: Said.by(*views[k]) for k in self._present(cast.rng)}
            z = imputer.join({k: s.send(host.seat, wire) for k, s in said.items()})
            owed = answer(host, z, y, turn).split(imputer.widths, dim=-1)
            for k, s in said.items():
                s.learn(s.hear(owed[k], host.seat, wire))
            wire.close(turn)

    def _present(self, rng: Stream) -> list[int]:
        """Which parties are there in a batch."""
        if not self.absent:
            return list(range(self.clients))
        draws = rng.numpy().random(self.clients - 1)
        return [0, *(k for k, draw in enumerate(draws, start=1) if draw >= self.absent)]
