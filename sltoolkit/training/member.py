"""Who is seated: clients with samples, and hosts without."""

from dataclasses import dataclass
from typing import final

from torch import nn

from sltoolkit.contracts.defense import Defense
from sltoolkit.data.samples import Samples
from sltoolkit.parties.honest import HonestClient, HonestMiddle, HonestServer
from sltoolkit.parties.sampling import Sampler
from sltoolkit.parties.stages import Middle, Server
from sltoolkit.streams import Stream
from sltoolkit.training.deployed import Deployed, settle
from sltoolkit.training.guarded import Guarded
from sltoolkit.wire.message import Seat


@final
@dataclass(kw_only=True, eq=False)
class Member:
    """A client in a run.

    Attributes:
        seat: its position.
        party: the network up to the cut.
        tail: a network with which it computes a loss itself, where the protocol has one.
        defense: its own copy of the defense.
        samples: its private samples.
        sampler: how it draws batches.
        order: the stream it draws batches from.
        rng: the stream its defense draws from.
        blank: the client and the tail network as they were before a defense wrapped them.
    """

    seat: Seat
    party: HonestClient
    tail: HonestServer | None
    defense: Defense
    samples: Samples
    sampler: Sampler
    order: Stream
    rng: Stream
    initial: tuple[nn.Module, ...]

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
            client=settle(self.initial[0], self.party.module.state_dict()),
            tail=None if behind is None else settle(self.initial[1], behind),
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
        defense: its own copy of the defense.
        rng: the stream that copy draws from.
        blank: its network as it was before a defense wrapped it.
    """

    seat: Seat
    party: Server | Middle
    defense: Defense
    rng: Stream
    initial: nn.Module

    def deployed(self) -> nn.Module:
        """Its network in evaluation mode; one that was taken over never learned."""
        if isinstance(self.party, HonestServer | HonestMiddle):
            return settle(self.initial, self.party.module.state_dict())
        return settle(self.initial, self.initial.state_dict())
