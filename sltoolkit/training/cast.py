"""What all protocols share: the cast, the clock, and how what was trained is deployed."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self, final

from torch import Tensor, nn

from sltoolkit.chain import Guarded
from sltoolkit.contracts import Defense, Role
from sltoolkit.data.samples import Samples
from sltoolkit.deployed import Deployed, settle
from sltoolkit.parties import Honest, HonestClient, HonestMiddle, HonestServer, Middle, Server
from sltoolkit.sampling import Sampler
from sltoolkit.streams import Stream
from sltoolkit.threat import Holdings
from sltoolkit.turns import PhaseName, Turn
from sltoolkit.wire import Seat, Wire

if TYPE_CHECKING:
    from sltoolkit.casting import Casting
    from sltoolkit.protocols.averaging import Averager
    from sltoolkit.protocols.merging import Intake


@final
@dataclass(kw_only=True, eq=False)
class Member:
    """A client in a run.

    Attributes:
        seat: its position.
        party: the network up to the cut.
        tail: a network with which it computes a loss itself, where the protocol has one.
        defense: its own copy of the defence.
        samples: its private samples.
        sampler: how it draws batches.
        order: the stream it draws batches from.
        rng: the stream its defence draws from.
        blank: the client and the tail network as they were before a defence wrapped them.
    """

    seat: Seat
    party: HonestClient
    tail: HonestServer | None
    defense: Defense
    samples: Samples
    sampler: Sampler
    order: Stream
    rng: Stream
    blank: tuple[nn.Module, ...]

    def networks(self) -> list[nn.Module]:
        """Everything that a hand-over hands over, in a fixed order."""
        tail = [self.tail.module] if self.tail is not None else []
        return [self.party.module, *tail, *self.defense.learned().values()]

    def learn(self, learning: bool) -> None:
        """Let its networks train, or stand still."""
        self.party.learn(learning)
        if self.tail is not None:
            self.tail.learn(learning)

    def deployed(self, samples: Samples) -> Deployed:
        """As deployed, in evaluation mode; `samples` are the private ones behind its weights."""
        behind = None if self.tail is None else self.tail.module.state_dict()
        return Deployed(
            client=settle(self.blank[0], self.party.module.state_dict()),
            tail=None if behind is None else settle(self.blank[1], behind),
            defense=self.defense.inner if isinstance(self.defense, Guarded) else self.defense,
            samples=samples,
        )


@final
@dataclass(kw_only=True, eq=False)
class Host:
    """A seat without samples: a server, or a client between two cuts.

    Attributes:
        seat: its position.
        party: a `Server` (it knows labels), or a `Middle` between two cuts.
        defense: its own copy of the defence.
        rng: the stream that copy draws from.
        blank: its network as it was before a defence wrapped it.
    """

    seat: Seat
    party: Server | Middle
    defense: Defense
    rng: Stream
    blank: nn.Module

    def deployed(self) -> nn.Module:
        """Its network in evaluation mode; one that was taken over never learned."""
        if isinstance(self.party, HonestServer | HonestMiddle):
            return settle(self.blank, self.party.module.state_dict())
        return settle(self.blank, self.blank.state_dict())


@final
@dataclass(kw_only=True, eq=False)
class Cast:
    """All parties of a run and the wire between them.

    Attributes:
        clients: in their fixed order.
        servers: who finishes the forward pass; often one, none where clients hold everything.
        hops: clients between the first cut and the server's, in order.
        wire: the wire.
        rng: the protocol's own draws: who takes part, in which order.
        fed: who averages the clients' networks, where somebody does.
        intake: what the server puts in place of clients that stay away, where it does.
        baton: who learned last, where clients take turns.
    """

    clients: Sequence[Member]
    servers: Sequence[Host]
    wire: Wire
    rng: Stream
    hops: Sequence[Host] = ()
    fed: "Averager | None" = None
    intake: "Intake | None" = None
    baton: Member | None = None

    @property
    def server(self) -> Host:
        """The only server, or the first."""
        return self.servers[0]

    def learn(self, learning: bool) -> None:
        """Let every network train, or stand still."""
        for member in self.clients:
            member.learn(learning)
        for host in (*self.hops, *self.servers):
            host.party.learn(learning)

    def networks(self) -> Iterator[tuple[Seat, Honest, nn.Module]]:
        """Every honest network: at which seat, who computes it, and as it was at the beginning."""
        for member in self.clients:
            yield member.seat, member.party, member.blank[0]
            if member.tail is not None:
                yield member.seat, member.tail, member.blank[1]
        for host in (*self.hops, *self.servers):
            if isinstance(host.party, HonestServer | HonestMiddle):
                yield host.seat, host.party, host.blank


@final
@dataclass(kw_only=True)
class Clock:
    """Counts batches and epochs over the whole run."""

    step: int = 0
    epoch: int = 0

    def batches(self, member: Member, phase: PhaseName) -> Iterator[tuple[Tensor, Tensor, Turn]]:
        """One epoch of the member's batches: inputs, labels, and the turn of who holds both."""
        for index in member.sampler.batches(len(member.samples), member.order):
            batch = self.batch(member, index, phase)
            self.step += 1
            yield batch

    def batch(self, member: Member, index: Tensor, phase: PhaseName) -> tuple[Tensor, Tensor, Turn]:
        """These samples of the member: inputs, labels, and the turn of who holds both."""
        samples = member.samples
        # in a process of its own a party has not everything at hand, but all ids
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

    Selecting takes a fifth of the time of indexing, but forgets about channels-last. A tensor
    without numbers gives as many rows without numbers.
    """
    if t.is_meta:
        return t.new_empty((len(index), *t.shape[1:]))
    index = index.to(t.device)
    return t[index] if t.dim() == 4 and t.stride(1) == 1 else t.index_select(0, index)


Deployment = tuple[tuple[Deployed, ...], nn.Module]
"""The clients as deployed (one where they are alike), and the server's network."""


@dataclass(frozen=True, kw_only=True)
class Protocol(ABC):
    """A protocol scripts the conversation; its dataclass fields are its parameters.

    Class facts: `parts` into which it cuts the network, `citation`, `learns` (whether its parties
    train), `side_by_side` (whether its clients compute at the same time).

    Attributes:
        clients: how many; the private training samples are dealt out among them.
    """

    parts: ClassVar[int]
    citation: ClassVar[str]
    learns: ClassVar[bool] = True
    side_by_side: ClassVar[bool] = False

    clients: int = 1

    @property
    def alike(self) -> bool:
        """Whether the clients end up with one and the same network."""
        return True

    @property
    def holders(self) -> int:
        """Among how many the private samples are dealt out."""
        return self.clients

    def alone(self) -> Self:
        """The same with one client, who is always there."""
        return replace(self, clients=1)

    @property
    @abstractmethod
    def seats(self) -> Mapping[Role, Holdings]:
        """What each role holds by its position."""

    @property
    def labels_travel(self) -> bool:
        """Whether who only listens to the wire learns labels."""
        return "eavesdropper" in self.seats and "labels" in self.seats["eavesdropper"].grants

    @abstractmethod
    def cast(self, casting: "Casting") -> Cast:
        """Seat the parties."""

    @abstractmethod
    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """One pass over all clients' samples."""

    def deploy(self, cast: Cast, samples: Samples) -> Deployment:
        """What attackers meet: the clients (one where they are alike), and the server's network.

        Where clients take turns, it is the last one to have learned; without a server the clients
        hold everything, and nothing is left for it to compute. `samples` are all private training
        samples.
        """
        server = cast.server.deployed() if cast.servers else nn.Identity()
        if not self.alike:
            return tuple(m.deployed(m.samples) for m in cast.clients), server
        newest = cast.baton or cast.clients[-1]
        return (newest.deployed(samples),), server


def without_labels(turn: Turn) -> Turn:
    """The same batch as a label-less party sees it."""
    return replace(turn, y=None)


def without_inputs(turn: Turn, rng: Stream) -> Turn:
    """The same batch as a party sees it that holds labels only; `rng` is its defence's stream."""
    return replace(turn, x=None, rng=rng)
