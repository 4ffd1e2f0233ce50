"""The contracts that attacks implement: attacks after the fact, listeners and active attacks.

An attack is a frozen dataclass of hyper-parameters; data arrives only when it is called. It
measures nothing, prints nothing and writes nothing: the referee does that.
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
            the seat (for an eavesdropper, which has no seat, as seen from the server). If a server
            holds the labels itself, they are here as if they had come in.
        ids: the source ids of the batch, (B,).
        step: the number of the batch, from the beginning of the run.
        epoch: the number of the pass over the data, from the beginning of the run.
        network: returns a copy of the seat's network as it is now, frozen and in evaluation mode.
            It is one object throughout the run, which every call brings up to date. None if the
            seat has no network.
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
        """Refuse senseless parameters; a subclass with its own check must call this one, too.

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
        """Whether it has open parameters; if so, a bench can let it rehearse once, on a pilot."""
        return bool(open_parameters(self))

    def refuses(self, task: Task) -> str | None:
        """Why it can't attack inputs and smashed data of these shapes; None if it can."""
        return None

    def attribute(self, y: Tensor) -> Tensor | None:
        """The private attribute that it infers, (N,) int64, as a function of the labels (N,).

        None if it infers no attribute. If the attacker's seat sees labels, the attribute is no
        secret to it, and the attack is refused.
        """
        return None


class Attack(_Adversary[V], ABC):
    """An attack after the fact: on the trained, deployed victim.

    Class variables: `roles`, from which it can be mounted (the first role that holds its grants is
    taken); `view`, a frozen dataclass whose fields are grants; `family`, what it steals; and
    `citation`.

    The harness rehearses (`sltoolkit.adversary.rehearsal`): it compares the attack's `candidates`
    and `refinements` on the attacker's own samples, and runs the best. If an attack is run with
    open parameters, without a rehearsal, it takes the first value of each grid.
    """

    rehearsal_view: ClassVar[Callable[..., tuple[Any, Tensor] | None] | None] = None
    """(view, rng=...) -> a view in which aux samples take the targets' place, and these samples
    (n, ...); None if there is nothing to rehearse on. An attack that declares no such method
    rehearses on aux samples that are released as the targets were (`release`).
    """

    @abstractmethod
    def run(self, view: V, *, rng: Stream) -> Outcome:
        """Attack what the view holds; all randomness comes from `rng`."""

    def settings_on(self, view: V) -> Callable[[Self, Stream], Outcome]:
        """How settings of this attack run on one view: from a setting and a stream to the outcome.

        The outcome is that of the setting's own `run`. An attack whose settings have a costly part
        in common computes it here once for all of them; by default they have none.
        """
        return lambda setting, rng: setting.run(view, rng=rng)

    def candidates(self, view: V) -> Sequence[Self]:
        """The settings that a rehearsal compares, the default first; one if there is no choice.

        By default these are all combinations of the grids of its open parameters.
        """
        return combinations(self)

    def refinements(self, best: Self, view: V) -> Sequence[Self]:
        """Variations of the best candidate, itself first, in the order in which they are tried.

        They vary what matters less. The first that is not better than the one before ends the
        rehearsal.
        """
        return (best,)


class ListenerState(ABC):
    """What a listener or a hijacker remembers, from its first usable batch to the run's end."""

    @abstractmethod
    def hear(self, heard: BatchView) -> None:
        """Hear one batch's conversation; the first is the batch that `open` or `seize` got."""

    @abstractmethod
    def finish(self, view: Any) -> Outcome:
        """The outcome on the targets in the view, when the run is over."""


class Listener(_Adversary[V], ABC):
    """An attack that listens while the victim trains, and changes nothing.

    The class variable `setup` is a view (a frozen dataclass of grants) that it gets before the run.
    """

    setup: ClassVar[type]

    def usable(self, heard: BatchView, before: int) -> bool:
        """Whether it can learn from this batch; it hears only usable batches.

        Args:
            heard: the batch.
            before: how many batches its seat has heard before this one.
        """
        return True

    @abstractmethod
    def open(self, setup: V, first: BatchView, *, rng: Stream) -> ListenerState:
        """Begin to listen; no parameter is open any more.

        Args:
            setup: what it has before the run.
            first: the first usable batch; `hear` gets it, too.
            rng: the attacker's stream, whose scope is open.
        """

    def candidates(self, setup: V) -> Sequence[Self]:
        """The settings that a training rehearsal compares, the default first."""
        return combinations(self)


class ActiveAttack(_Adversary[V], ABC):
    """An attack that takes over a seat and departs from the protocol.

    The class variable `setup` is a view (a frozen dataclass of grants) that it gets before the run.
    """

    setup: ClassVar[type]

    def usable(self, received: Tensor) -> bool:
        """Whether it can act on a batch (B, ...); the honest party handles any other batch.

        By default it can't act on an empty batch, nor on a placeholder's, which has no numbers.
        """
        return len(received) > 0 and not received.is_meta

    @abstractmethod
    def seize(
        self, honest: Stage, setup: V, first: Tensor, *, rng: Stream
    ) -> tuple[Stage, ListenerState]:
        """Replace the honest party by one of the same kind; no parameter is open any more.

        Args:
            honest: a `Server`, a `Middle` or a `Client`.
            setup: what it has before the run.
            first: for a server, the first usable smashed data that arrive, (B, ...), which the new
                party gets, too. For a client, which is replaced before the run, its own inputs,
                (N, ...).
            rng: the attacker's stream, whose scope is open.
        """

    def candidates(self, setup: V) -> Sequence[Self]:
        """The settings that a training rehearsal compares, the default first."""
        return combinations(self)


AnyAttack = Attack[Any] | Listener[Any] | ActiveAttack[Any]


@final
@dataclass(frozen=True, kw_only=True)
class NoView:
    """Only what everybody knows: shapes and classes."""

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
        """Do nothing; the outcome is empty."""
        return Outcome()
