"""The parties that are seated: members with samples, and hosts without."""

from dataclasses import dataclass
from typing import final

from torch import nn

from sltoolkit.contracts.defense import Defense
from sltoolkit.data.samples import Samples
from sltoolkit.models.given import frozen_weights
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
        party: computes its network up to the cut.
        tail: computes a loss at the client itself; None where the protocol has no tail.
        defense: its own copy of the defense.
        samples: its private samples.
        sampler: how it draws batches.
        order: the stream from which it draws batches.
        rng: the stream from which its defense draws.
        initial: the client's network, and its tail's, as they were before a defense wrapped them.
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
        """All networks that are handed over or averaged, in a fixed order."""
        tail = [self.tail.module] if self.tail is not None else []
        return [self.party.module, *tail, *self.defense.learned().values()]

    def learn(self, learning: bool) -> None:
        """Let its networks train, or stand still."""
        self.party.learn(learning)
        if self.tail is not None:
            self.tail.learn(learning)

    def deployed(self, samples: Samples) -> Deployed:
        """The client as deployed; `samples` are the private samples that shaped its weights."""
        behind = None if self.tail is None else self.tail.module.state_dict()
        return Deployed(
            client=settle(self.initial[0], self.party.module.state_dict()),
            tail=None if behind is None else settle(self.initial[1], behind),
            defense=self.defense.inner if isinstance(self.defense, Guarded) else self.defense,
            samples=samples,
            frozen=frozenset(
                f"{i}.{name}" for i, n in enumerate(self.initial) for name in frozen_weights(n)
            ),
        )


@final
@dataclass(kw_only=True, eq=False)
class Host:
    """A seat without samples: a server, or a client between two cuts.

    Attributes:
        seat: its position.
        party: a `Server`, which knows labels, or a `Middle` between two cuts.
        defense: its own copy of the defense.
        rng: the stream from which that copy draws.
        initial: its network as it was before a defense wrapped it.
    """

    seat: Seat
    party: Server | Middle
    defense: Defense
    rng: Stream
    initial: nn.Module

    def deployed(self) -> nn.Module:
        """Its network in evaluation mode; the initial one if an attacker took over the seat."""
        if isinstance(self.party, HonestServer | HonestMiddle):
            return settle(self.initial, self.party.module.state_dict())
        return settle(self.initial, self.initial.state_dict())
