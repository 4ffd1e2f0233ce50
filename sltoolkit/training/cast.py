"""What all protocols share: the cast, and the clock that hands out batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import final

from torch import Tensor, nn

from sltoolkit.parties.honest import Honest, HonestMiddle, HonestServer
from sltoolkit.streams import Stream
from sltoolkit.training.averaging import Averager
from sltoolkit.training.member import Host, Member
from sltoolkit.training.merging import Imputer
from sltoolkit.wire.message import Seat
from sltoolkit.wire.turn import PhaseName, Turn
from sltoolkit.wire.wire import Wire


@final
@dataclass(kw_only=True, eq=False)
class Cast:
    """All parties of a run and the wire between them.

    Attributes:
        clients: the clients, in their fixed order.
        servers: finish the forward pass; none where clients hold the whole network.
        wire: the wire between all parties.
        rng: the protocol's own draws: which clients take part, and in which order.
        hops: clients between the first cut and the server's, in order.
        fed_server: averages the clients' networks; None where they are not averaged.
        imputer: fills in for absent parties at the server; None where no party may be absent.
        last_to_learn: the client that learned last, where clients take turns.
    """

    clients: Sequence[Member]
    servers: Sequence[Host]
    wire: Wire
    rng: Stream
    hops: Sequence[Host] = ()
    fed_server: Averager | None = None
    imputer: Imputer | None = None
    last_to_learn: Member | None = None

    @property
    def server(self) -> Host:
        """The first server, which often is the only one."""
        return self.servers[0]

    def learn(self, learning: bool) -> None:
        """Let every network train, or stand still."""
        for member in self.clients:
            member.learn(learning)
        for host in (*self.hops, *self.servers):
            host.party.learn(learning)

    def networks(self) -> Iterator[tuple[Seat, Honest, nn.Module]]:
        """Every honest network: its seat, its party, and the network as it was initialized."""
        for member in self.clients:
            yield member.seat, member.party, member.initial[0]
            if member.tail is not None:
                yield member.seat, member.tail, member.initial[1]
        for host in (*self.hops, *self.servers):
            if isinstance(host.party, HonestServer | HonestMiddle):
                yield host.seat, host.party, host.initial


@final
@dataclass(kw_only=True)
class Clock:
    """Counts batches and epochs over the whole run."""

    step: int = 0
    epoch: int = 0

    def batches(self, member: Member, phase: PhaseName) -> Iterator[tuple[Tensor, Tensor, Turn]]:
        """One epoch of the member's batches: inputs, labels, and the turn of their holder."""
        for index in member.sampler.batches(len(member.samples), member.order):
            batch = self.batch(member, index, phase)
            self.step += 1
            yield batch

    def batch(self, member: Member, index: Tensor, phase: PhaseName) -> tuple[Tensor, Tensor, Turn]:
        """These samples of the member: inputs, labels, and the turn of their holder."""
        samples = member.samples
        # in its own process a party may lack inputs or labels, but has all ids
        x, y, ids = (rows_at(t, index) for t in (samples.x, samples.y, samples.ids))
        turn = Turn(
            ids=ids, x=x, y=y, step=self.step, epoch=self.epoch, phase=phase,
            rng=member.rng,
        )  # fmt: skip
        return x, y, turn

    def idle(self, member: Member) -> Turn:
        """A turn without a batch, for messages about no sample."""
        none = member.samples.ids[:0]
        return Turn(
            ids=none, x=None, y=None, step=self.step, epoch=self.epoch, phase="train",
            rng=member.rng,
        )  # fmt: skip


def rows_at(t: Tensor, index: Tensor) -> Tensor:
    """The rows of a party's samples at `index` (B,), in the memory format of `t`.

    `index_select` takes a fifth of the time of indexing, but loses channels-last. The rows of a
    tensor on the `meta` device are an empty tensor there, in the right shape.
    """
    if t.is_meta:
        return t.new_empty((len(index), *t.shape[1:]))
    index = index.to(t.device)
    return t[index] if t.dim() == 4 and t.stride(1) == 1 else t.index_select(0, index)


def without_labels(turn: Turn) -> Turn:
    """The same batch as a party without its labels sees it."""
    return replace(turn, y=None)


def without_inputs(turn: Turn, rng: Stream) -> Turn:
    """The same batch as a party without inputs sees it; `rng` is its defense's stream."""
    return replace(turn, x=None, rng=rng)
