"""The contracts that plug-ins implement: defenses, attacks, listeners and active attacks.

A plug-in is a dataclass of hyper-parameters with the paper's defaults; data only arrives when it
is called. It measures nothing, prints nothing and writes nothing: the referee does.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, final

import torch
from torch import Tensor, nn

from sltoolkit.adversary.training_rehearsal import rehearse_hijacking, rehearse_listening
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.outcomes import Outcome
from sltoolkit.parameters.checking import check_parameters
from sltoolkit.parameters.grids import combinations, open_parameters
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
            the seat (by who has none, an eavesdropper say, as seen from the server). A server that
            holds the labels itself finds them as if they had come in.
        ids, step, epoch: which batch it was.
        network: an own copy of the seat's network as it is by now, frozen and in evaluation mode;
            one object throughout the run, which every call renews. None where it has none.
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
    """A listener's ear and memory during one run."""

    @abstractmethod
    def hear(self, heard: BatchView) -> None:
        """Hear one batch's conversation."""

    @abstractmethod
    def finish(self, view: Any) -> Outcome:
        """The run is over: the outcome on the targets in the view."""


class Listener(_Adversary[V], ABC):
    """An attack that listens while the victim trains, and changes nothing.

    Class fact `setup`: the view (a frozen dataclass of grants) it gets before the run.
    """

    setup: ClassVar[type]

    @abstractmethod
    def open(self, setup: V, *, rng: Stream) -> ListenerState:
        """Attach to a run."""

    def candidates(self, setup: V) -> Sequence[Self]:
        """The settings that a dress rehearsal compares, the default first; one: no choice."""
        return (self,)

    def tune(self, setup: V, first: BatchView, *, rng: Stream) -> Self:
        """The setting that does best on small victims of the attacker's own.

        All candidates listen to `training_rehearsal.VICTIMS` trainings of `BATCHES` batches each.

        Args:
            setup: what it has before the run.
            first: the first batch that it hears of the real one: shapes, and its own network.
            rng: the attacker's stream.
        """
        candidates = self.candidates(setup)
        if len(candidates) == 1:
            return candidates[0]
        return rehearse_listening(candidates, setup, first, rng=rng)


class ActiveAttack(_Adversary[V], ABC):
    """An attack that takes over a seat and departs from the protocol.

    Class fact `setup`: the view (a frozen dataclass of grants) it gets before the run.
    """

    setup: ClassVar[type]

    @abstractmethod
    def seize(self, honest: Any, setup: V, *, rng: Stream) -> tuple[Any, ListenerState]:
        """Replace the honest party by one with the same interface."""

    def candidates(self, setup: V) -> Sequence[Self]:
        """The settings that a dress rehearsal compares, the default first; one: no choice."""
        return (self,)

    def tune(self, setup: V, smashed: Tensor, *, rng: Stream) -> Self:
        """The setting that does best where it hijacks small clients of the attacker's own.

        Each candidate hijacks `training_rehearsal.VICTIMS` trainings of `BATCHES` batches each.

        Args:
            setup: what it has before the run.
            smashed: the first that it hears of the real one, (B, ...): the size of a batch, and
                whether values can be negative.
            rng: the attacker's stream.
        """
        candidates = self.candidates(setup)
        if len(candidates) == 1:
            return candidates[0]
        first = BatchView(
            messages={("smashed", "in"): smashed}, ids=torch.arange(len(smashed)), step=0, epoch=0,
            network=None,
        )  # fmt: skip
        return rehearse_hijacking(candidates, setup, first, rng=rng)


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
