"""The contract of protocols."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self

from torch import nn

from sltoolkit.contracts.attack import Role
from sltoolkit.contracts.grants import Holdings
from sltoolkit.data.samples import Samples
from sltoolkit.parameters.checking import check_parameters
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.training.cast import Cast, Clock
from sltoolkit.training.casting import Casting
from sltoolkit.training.deployed import Deployed
from sltoolkit.wire.turn import PhaseName

Deployment = tuple[tuple[Deployed, ...], nn.Module]
"""The clients as deployed (one where they are alike), and the server's network."""


@dataclass(frozen=True, kw_only=True)
class Protocol(ABC):
    """A protocol: which parties there are, and what they send each other in which order.

    Its dataclass fields are its parameters. Class facts: `parts`, the number of parts into which it
    cuts the network; `citation`; `learns`, whether its parties train; `concurrent`, whether its
    clients compute at the same time.
    """

    parts: ClassVar[int]
    citation: ClassVar[str]
    learns: ClassVar[bool] = True
    concurrent: ClassVar[bool] = False

    clients: Annotated[
        int,
        Parameter("how many clients; private training samples are dealt out among them", least=1),
    ] = 1

    def __post_init__(self) -> None:
        """Refuse senseless parameters; a subclass that adds its own check calls this one, too.

        Raises:
            SpecError: saying what was expected and what was found.
        """
        check_parameters(self)

    @property
    def alike(self) -> bool:
        """Whether the clients end up with one and the same network."""
        return True

    @property
    def holders(self) -> int:
        """The number of parties among which the private samples are dealt out."""
        return self.clients

    def alone(self) -> Self:
        """The same protocol with one client, which is never absent."""
        return replace(self, clients=1)

    @property
    @abstractmethod
    def seats(self) -> Mapping[Role, Holdings]:
        """What each role holds by its position."""

    @property
    def labels_travel(self) -> bool:
        """Whether an eavesdropper hears labels."""
        return "eavesdropper" in self.seats and "labels" in self.seats["eavesdropper"].grants

    @abstractmethod
    def cast(self, casting: Casting) -> Cast:
        """Seat the parties."""

    @abstractmethod
    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """One pass over all clients' samples."""

    def deploy(self, cast: Cast, samples: Samples) -> Deployment:
        """The clients as deployed (one where they are alike), and the server's network.

        Where clients are alike and take turns, the one that learned last is deployed. Without a
        server the clients hold the whole network, and the server's network is the identity.

        Args:
            cast: the trained cast.
            samples: all private training samples.
        """
        server = cast.server.deployed() if cast.servers else nn.Identity()
        if not self.alike:
            return tuple(m.deployed(m.samples) for m in cast.clients), server
        newest = cast.last_to_learn or cast.clients[-1]
        return (newest.deployed(samples),), server
