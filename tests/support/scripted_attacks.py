"""Attacks that hand back what they are told to, for tests of the referee."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from sltoolkit.contracts.attack import Attack, Family, Role
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.knowledge import Aux, Release
from sltoolkit.contracts.outcomes import Outcome, Reconstruction
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ToyView:
    """The view of the scripted attacks."""

    smashed: Tensor
    aux: Aux
    task: Task


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class NothingButTask:
    """A view for attacks that know the answer already."""

    task: Task


@dataclass(frozen=True, kw_only=True, eq=False)
class Says(Attack[ToyView]):
    """Hands back the outcome that it was given."""

    roles: ClassVar[tuple[Role, ...]] = ("server", "eavesdropper", "client")
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = ToyView
    citation: ClassVar[str] = "nobody 2026"

    answer: Callable[[ToyView], Outcome]

    def run(self, view: ToyView, *, rng: Stream) -> Outcome:
        """The outcome that it was given."""
        return self.answer(view)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class SaysLabels(Says):
    """Hands back the outcome that it was given, as a label attack."""

    family: ClassVar[Family] = "labels"
    view: ClassVar[type] = NothingButTask


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class QueryView:
    """A view with the release oracle."""

    smashed: Tensor
    aux: Aux
    release: Release


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Asks(Attack[QueryView]):
    """Hands back the outcome that it was given, which may query the deployed client."""

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = QueryView
    citation: ClassVar[str] = "nobody 2026"

    answer: Callable[[QueryView], Outcome]

    def run(self, view: QueryView, *, rng: Stream) -> Outcome:
        """The outcome that it was given."""
        return self.answer(view)


def mean_of_aux(view: ToyView) -> Outcome:
    """The mean aux image for every target, which uses nothing but the prior."""
    return Reconstruction(images=view.aux.x.mean(0).expand(6, 1, 8, 8))
