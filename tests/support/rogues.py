"""Attacks that go wrong, and attacks that note what they were given."""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from sltoolkit.contracts.attack import Attack, BatchView, Family, Listener, ListenerState, Role
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.knowledge import Aux
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """The targets' smashed data."""

    smashed: Tensor
    task: Task


@final
@dataclass(frozen=True, kw_only=True)
class Rogue(Attack[View]):
    """An attack that goes wrong in one of several ways.

    Attributes:
        how: `raise`, `nan`, `shape`, `memory`, `exit`; anything else succeeds.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = View
    citation: ClassVar[str] = "none"

    how: str = "raise"

    def run(self, view: View, *, rng: Stream) -> Reconstruction:
        """Gray images, or the failure that `how` asks for."""
        images = torch.full((view.smashed.shape[1], *view.task.input_shape), 0.5)
        if self.how == "raise":
            raise ValueError("this attack\nis broken")
        if self.how == "nan":
            images[0] = torch.nan
        if self.how == "shape":
            images = images[1:]
        if self.how == "memory":
            raise MemoryError
        if self.how == "exit":
            raise SystemExit(3)
        return Reconstruction(images=images)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Setup:
    """A setup that holds whatever is granted."""

    task: Task
    aux: Aux | None
    client_arch: Any | None


GIVEN: list[set[str]] = []
"""What each `Nosy` was given when it began to listen."""


@final
@dataclass(frozen=True, kw_only=True)
class Nosy(Listener[Setup]):
    """A listener that notes what it was given.

    Attributes:
        when: where it raises an error, `open` or `hear`; any other text means nowhere.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    setup: ClassVar[type] = Setup
    view: ClassVar[type] = View
    citation: ClassVar[str] = "none"

    when: str = ""

    def open(self, setup: Setup, first: BatchView, *, rng: Stream) -> ListenerState:
        """Begin to listen."""
        GIVEN.append({k for k, v in vars(setup).items() if v is not None})
        if self.when == "open":
            raise ValueError("it can't listen")
        return _NosyEar(self.when)


@final
class _NosyEar(ListenerState):
    def __init__(self, when: str) -> None:
        self.when, self.rounds = when, 0

    def hear(self, heard: BatchView) -> None:
        self.rounds += 1
        if self.when == "hear":
            raise ValueError("it hears nothing")

    def finish(self, view: View) -> Reconstruction:
        images = torch.full((view.smashed.shape[1], *view.task.input_shape), 0.5)
        return Reconstruction(images=images, diagnostics={"rounds": float(self.rounds)})
