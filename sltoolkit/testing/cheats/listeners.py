"""Listeners that cheat: some change the run, some use what they should not know."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from sltoolkit.contracts.attack import BatchView, ListenerState
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.data.samples import Split
from sltoolkit.streams import Stream
from sltoolkit.testing.careless import Careless, HeardView
from sltoolkit.testing.cheats.attacks import cells
from sltoolkit.testing.recorder import Public


def live(heard: BatchView) -> Any:
    """The live party whose network the batch view copies."""
    return cells(heard.network)["owner"]


@dataclass(frozen=True, kw_only=True)
class LeavesGradients(Careless):
    """Finds the live server behind its replica, and back-propagates through it."""

    def listen(self, heard: BatchView, network: nn.Module) -> None:
        """Add to the gradients of the live network."""
        live(heard).module(heard.messages["smashed", "in"]).sum().backward()


@final
@dataclass(frozen=True, kw_only=True)
class AsleepInSmallBatches(LeavesGradients):
    """Touches the live server only in batches of more than a toy's samples."""

    def listen(self, heard: BatchView, network: nn.Module) -> None:
        """Add to the gradients of the live network from 32 samples on."""
        if len(heard.ids) >= 32:
            super().listen(heard, network)


@final
@dataclass(frozen=True, kw_only=True)
class MovesBuffers(Careless):
    """Runs smashed data through the live server in training mode, which BatchNorm remembers."""

    def listen(self, heard: BatchView, network: nn.Module) -> None:
        """Change the running statistics."""
        with torch.no_grad():
            live(heard).module(heard.messages["smashed", "in"])


@final
@dataclass(frozen=True, kw_only=True)
class SharesStream(Careless):
    """Draws from the live server's stream, so the server's dropout masks shift."""

    def listen(self, heard: BatchView, network: nn.Module) -> None:
        """Draw one number, which is enough."""
        with live(heard).rng.scope():
            torch.rand(1)


@final
@dataclass(frozen=True, kw_only=True)
class Answers(Careless):
    """Changes the live server's weights."""

    def listen(self, heard: BatchView, network: nn.Module) -> None:
        """Change each weight a little."""
        with torch.no_grad():
            for parameter in live(heard).module.parameters():
                parameter.add_(1e-6)


@final
@dataclass(frozen=True, kw_only=True)
class Peeks(Careless):
    """Looks for the private samples in memory while it listens."""

    def open(self, setup: Public, first: BatchView, *, rng: Stream) -> ListenerState:
        """A state that searches memory."""
        return _Brightness(
            lambda: [o.private_holdout.x for o in gc.get_objects() if type(o) is Split]
        )


@final
@dataclass(frozen=True, kw_only=True)
class Drifts(Careless):
    """Draws from a generator that nobody seeds."""

    def open(self, setup: Public, first: BatchView, *, rng: Stream) -> ListenerState:
        """A state with its own generator."""
        generator = torch.Generator()
        generator.seed()
        return _Brightness(lambda: [torch.rand(3, generator=generator)])


@final
@dataclass(frozen=True, kw_only=True)
class Wearies(Careless):
    """Answers with draws from a stream, whose state changes each time."""

    def open(self, setup: Public, first: BatchView, *, rng: Stream) -> ListenerState:
        """A state that draws from the attacker's stream."""
        return _Brightness(lambda: [torch.rand(3, generator=rng.torch())])


OPENED: list[str] = []


@final
@dataclass(frozen=True, kw_only=True)
class Overhears(Careless):
    """Counts how many listeners there are."""

    def open(self, setup: Public, first: BatchView, *, rng: Stream) -> ListenerState:
        """A state that answers with the count, this listener included."""
        OPENED.append("ear")
        return _Brightness(lambda: [torch.tensor([float(len(OPENED))])])


@final
class _Brightness(ListenerState):
    """Hears nothing, and answers with images of one brightness."""

    def __init__(self, look: Callable[[], list[Tensor]]) -> None:
        self.look = look

    def hear(self, heard: BatchView) -> None:
        """Ignore the batch."""

    def finish(self, view: HeardView) -> Reconstruction:
        """Images as bright as the mean of what it finds at the end."""
        level = torch.cat([t.flatten() for t in self.look()]).mean()
        images = level.expand(view.smashed.shape[1], *view.task.input_shape)
        return Reconstruction(images=images.clone())
