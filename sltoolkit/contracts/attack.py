"""The contracts that plug-ins implement: defenses, attacks, listeners and active attacks.

A plug-in is a dataclass of hyper-parameters with the paper's defaults; data only arrives when it
is called. It measures nothing, prints nothing and writes nothing: the referee does.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, final

from torch import Tensor, nn

from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.outcomes import Outcome
from sltoolkit.parameters.checking import check_parameters
from sltoolkit.parameters.grids import combinations, open_parameters
from sltoolkit.parties.stages import Stage
from sltoolkit.streams import Stream
from sltoolkit.wire.message import Kind

Role = Literal["server", "client", "eavesdropper", "colluding"]
Family = Literal["reconstruction", "labels", "inference", "integrity", "utility"]
V = TypeVar("V")


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class BatchView:
    """What a seat heard in one batch's conversation.

    Attributes:
        messages: payloads by (kind, direction), where the direction is `in` or `out` as seen from
            the seat (for an eavesdropper, which has none, as seen from the server). A server that
            holds the labels itself finds them as if they had come in.
        ids, step, epoch: which batch it was.
        network: makes a copy of the seat's network as it is by now, frozen and in evaluation mode;
            one object throughout the run, which every call renews. None if the seat has no network.
    """

    messages: Mapping[tuple[Kind, Literal["in", "out"]], Tensor]
    ids: Tensor
    step: int
    epoch: int
    network: Callable[[], nn.Module] | None


class _Adversary(Generic[V]):
    """What every kind of attack declares."""

    roles: ClassVar[tuple[Role, ...]]
    family: ClassVar[Family]
    view: ClassVar[type]
    citation: ClassVar[str]

    def __post_init__(self) -> None:
        """Refuse senseless parameters; a subclass with a check of its own calls this one, too.

        Raises:
            SpecError: saying what was expected and what was found.
        """
        check_parameters(self)

    @classmethod
    def smoke(cls) -> Self:
        """The smallest setting that executes every step."""
        return cls()

    @property
    def rehearses(self) -> bool:
        """Whether it will choose hyper-parameters by rehearsal, so that a pilot can do it once."""
        return bool(open_parameters(self))

    def refuses(self, task: Task) -> str | None:
        """Why it can't attack inputs and smashed data of these shapes; None: it can."""
        return None

    def attribute(self, y: Tensor) -> Tensor | None:
        """The private attribute it is after, as a function of labels (N,): values (N,) int64.

        None: it is after none. Where labels are no secret, nor is what follows from them.
        """
        return None


class Attack(_Adversary[V], ABC):
    """An attack after the fact.

    Class facts: `roles` it can be mounted from (the first that holds its grants is taken),
    `view` (a frozen dataclass whose fields are grants), `family` (what is stolen), `citation`.

    The harness rehearses (`sltoolkit.adversary.rehearsal`): it compares the attack's `candidates`
    and their `refinements` on samples of the attacker's own, and runs the best. An attack that is
    run with open parameters, without a rehearsal, takes their defaults.
    """

    rehearsal_view: ClassVar[Callable[..., tuple[Any, Tensor] | None] | None] = None
    """(view, rng=...) -> a view on own samples that are heard as the targets are, and these samples
    (n, ...); None if there is nothing to rehearse on. An attack that declares no such method
    rehearses on own samples (`aux`) that are released as the targets were (`release`).
    """

    @abstractmethod
    def run(self, view: V, *, rng: Stream) -> Outcome:
        """Attack what the view holds; all randomness comes from `rng`."""

    def candidates(self, view: V) -> Sequence[Self]:
        """The settings that a rehearsal compares, the default first; one: nothing to choose.

        Unless the attack says otherwise, every combination of its open parameters.
        """
        return combinations(self)

    def refinements(self, best: Self, view: V) -> Sequence[Self]:
        """Variations of the best candidate in what matters less, itself first, in the order to try.

        The first that doesn't help ends the rehearsal.
        """
        return (best,)


class ListenerState(ABC):
    """What an attack on a training remembers, from the first batch that it can use to the end."""

    @abstractmethod
    def hear(self, heard: BatchView) -> None:
        """Hear one batch's conversation; the first is the one that it was opened with."""

    @abstractmethod
    def finish(self, view: Any) -> Outcome:
        """The run is over: the outcome on the targets in the view."""


class Listener(_Adversary[V], ABC):
    """An attack that listens while the victim trains, and changes nothing.

    Class fact `setup`: the view (a frozen dataclass of grants) it gets before the run.
    """

    setup: ClassVar[type]

    def usable(self, heard: BatchView, before: int) -> bool:
        """Whether it can learn from this batch; it hears no other, and opens with the first.

        Args:
            heard: the batch.
            before: how many batches its seat has heard before this one.
        """
        return True

    @abstractmethod
    def open(self, setup: V, first: BatchView, *, rng: Stream) -> ListenerState:
        """Begin, with no parameter open any more.

        Args:
            setup: what it has before the run.
            first: the first usable batch; `hear` gets it, too.
            rng: the attacker's stream, whose scope is open.
        """

    def candidates(self, setup: V) -> Sequence[Self]:
        """The settings that a dress rehearsal compares, the default first; one: no choice."""
        return combinations(self)


class ActiveAttack(_Adversary[V], ABC):
    """An attack that takes over a seat and departs from the protocol.

    Class fact `setup`: the view (a frozen dataclass of grants) it gets before the run.
    """

    setup: ClassVar[type]

    def usable(self, received: Tensor) -> bool:
        """Whether it can act on a batch (B, ...); the honest party deals with any other.

        By default not on an empty one, and not on an absent party's, which has no numbers.
        """
        return len(received) > 0 and not received.is_meta

    @abstractmethod
    def seize(
        self, honest: Stage, setup: V, first: Tensor, *, rng: Stream
    ) -> tuple[Stage, ListenerState]:
        """Replace the honest party by one of the same kind, with no parameter open any more.

        Args:
            honest: a `Server`, a `Middle` or a `Client`.
            setup: what it has before the run.
            first: the first usable smashed data that arrive at a server, (B, ...), which the new
                party gets, too; a client, which is replaced before the run, has its own inputs
                here, (N, ...).
            rng: the attacker's stream, whose scope is open.
        """

    def candidates(self, setup: V) -> Sequence[Self]:
        """The settings that a dress rehearsal compares, the default first; one: no choice."""
        return combinations(self)


AnyAttack = Attack[Any] | Listener[Any] | ActiveAttack[Any]


@final
@dataclass(frozen=True, kw_only=True)
class NoView:
    """Nothing but what everybody knows."""

    task: Task


@final
@dataclass(frozen=True, kw_only=True)
class NoAttack(Attack[NoView]):
    """Nobody attacks: only the victim's utility and costs are measured."""

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    view: ClassVar[type] = NoView
    family: ClassVar[Family] = "utility"
    citation: ClassVar[str] = "none: the victim alone"

    def run(self, view: NoView, *, rng: Stream) -> Outcome:
        """Nothing."""
        return Outcome()
