"""Shared by protocols in which parties hold different features of the same samples."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from sltoolkit.contracts.attack import Role
from sltoolkit.contracts.grants import Holdings
from sltoolkit.data.samples import Samples
from sltoolkit.errors import ProtocolError
from sltoolkit.models.resize import resize
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.protocols._holdings import PEER, split_seats
from sltoolkit.streams import Stream
from sltoolkit.training.cast import Cast, Clock, rows_at, without_labels
from sltoolkit.training.casting import Casting
from sltoolkit.training.deployed import Deployed
from sltoolkit.training.joint_client import Blocks, JointClient, block_samples
from sltoolkit.training.member import Member
from sltoolkit.training.protocol import Deployment, Protocol
from sltoolkit.wire.message import Seat
from sltoolkit.wire.turn import PhaseName, Turn


@dataclass(frozen=True, kw_only=True)
class FeatureBlocks(Protocol):
    """Entity-aligned parties: each holds a block of the features of every sample, and no label.

    The last axis of the inputs (the columns of an image) is dealt out in blocks. Party 0 has the
    seat `client`, the others are `partner1`, `partner2`, ... Every party has its own network, with
    its own weights from the start: a copy of the first part in which linear layers have the size
    that the party's block needs. Weights that were given (a network object, a frozen layer) are
    kept where they fit. All parties see the same samples in the same order.

    Attackers meet all parties as one client. It takes whole inputs and releases the smashed data of
    all parties joined along the last axis, each defended by its own party.
    """

    concurrent: ClassVar[bool] = True

    clients: Annotated[
        int, Parameter("how many parties; the features are dealt out among them", least=1)
    ] = 2

    @property
    def holders(self) -> int:
        """One, since all parties hold the same samples."""
        return 1

    def parties(self, casting: Casting) -> list[Member]:
        """The seated parties.

        Raises:
            ProtocolError: if there are more parties than features, a block doesn't fit the network,
                or a network that was trained whole would have to be split among parties.
        """
        samples, count = casting.shards[0], self.clients
        if count > samples.x.shape[-1]:
            raise ProtocolError(
                f"{count} clients can't share {samples.x.shape[-1]} features (the last axis of "
                "the inputs): give at most that many clients"
            )
        if count > 1 and casting.training is None:
            raise ProtocolError(
                f"{type(self).__name__} gives every client its own network, which must be "
                "trained: train(...) it, or give clients=1"
            )
        apart = replace(casting, alike=False)
        return [
            apart.client(
                k, (_head(casting, held, k),), samples=held,
                seat=Seat(f"partner{k}") if k else Seat("client"),
            )
            for k, held in enumerate(block_samples(samples, count))
        ]  # fmt: skip

    def deploy(self, cast: Cast, samples: Samples) -> Deployment:
        """All parties as one client, and the first server."""
        each = [member.deployed(samples) for member in cast.clients]
        together = Deployed(
            client=Blocks([one.client for one in each]).eval(),
            tail=None,
            defense=JointClient([one.defense for one in each], widths_of(dry_pass(cast.clients))),
            samples=samples,
            hops=tuple(hop.deployed() for hop in cast.hops),
        )
        return (together,), cast.server.deployed()


def aligned(
    cast: Cast, clock: Clock, phase: PhaseName
) -> Iterator[tuple[list[tuple[Member, Turn]], Tensor, Turn]]:
    """One epoch: every batch as each party sees it, the labels (B,), and the turn of their owner.

    All parties follow the first party's schedule.
    """
    lead = cast.clients[0]
    for index in lead.sampler.batches(len(lead.samples), lead.order):
        _, y, owner = clock.batch(lead, index, phase)
        clock.step += 1
        blind = without_labels(owner)
        others = (
            (me, replace(blind, x=rows_at(me.samples.x, index), rng=me.rng))
            for me in cast.clients[1:]
        )
        yield [(lead, blind), *others], y, owner


def dry_pass(parties: Sequence[Member]) -> list[Tensor]:
    """Every party's smashed data (1, ..., q_k) of one sample, from copies in evaluation mode.

    Raises:
        ProtocolError: if they can't be joined along the last axis.
    """
    with torch.no_grad(), Stream(0).scope():
        smashed = [copy.deepcopy(p.initial[0]).eval()(p.samples.x[:1]) for p in parties]
    if len({z.shape[:-1] for z in smashed}) > 1:
        shapes = ", ".join("x".join(map(str, z.shape[1:])) for z in smashed)
        raise ProtocolError(
            f"the parties' smashed data ({shapes}) don't fit side by side along the last axis: "
            "cut elsewhere, or choose a number of clients that divides the features"
        )
    return smashed


def widths_of(smashed: Sequence[Tensor]) -> list[int]:
    """The width of each party's smashed data along the last axis."""
    return [z.shape[-1] for z in smashed]


def block_seats() -> Mapping[Role, Holdings]:
    """What each role holds where one or more servers hold the labels and hear every party.

    `client` is the first party: it hears the gradient at its own smashed data. It also knows its
    own network, but grants are about the networks of all parties together. The other roles, too,
    hear the gradient at the first party's smashed data.
    """
    seats = split_seats(labels_at="server")
    return {**without_peer(seats), "client": replace(seats["client"], knows=frozenset())}


def without_peer(seats: Mapping[Role, Holdings]) -> Mapping[Role, Holdings]:
    """The same without `peer` grants: if all parties are one client, that client has no peer."""
    together = seats["colluding"]
    return {**seats, "colluding": replace(together, knows=together.knows - PEER)}


def init_stream(casting: Casting, name: str) -> Stream:
    """The stream from which a party's initial weights are drawn."""
    return casting.rng.child(name).child("init")


def _head(casting: Casting, held: Samples, k: int) -> nn.Module:
    return resize(casting.parts[0], held.x[:1], init_stream(casting, f"client{k}"))
