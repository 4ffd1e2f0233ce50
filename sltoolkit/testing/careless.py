"""A listener that ruins all it is given, but keeps the contract, since these are its own copies."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from sltoolkit.contracts.attack import BatchView, Family, Listener, ListenerState, Role
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.outcomes import Outcome, Reconstruction
from sltoolkit.streams import Stream
from sltoolkit.testing.recorder import Public


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class HeardView:
    """A listener's view at the end."""

    smashed: Tensor
    task: Task


class _Careless(ListenerState):
    def __init__(self, attack: "Careless") -> None:
        self.attack = attack

    def hear(self, heard: BatchView) -> None:
        assert heard.network is not None
        self.attack.listen(heard, heard.network())

    def finish(self, view: HeardView) -> Outcome:
        return Reconstruction(images=torch.zeros(view.smashed.shape[1], *view.task.input_shape))


@dataclass(frozen=True, kw_only=True)
class Careless(Listener[Public]):
    """Trains the network it is given, draws random numbers, reseeds, overwrites what it heard."""

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    setup: ClassVar[type] = Public
    view: ClassVar[type] = HeardView
    citation: ClassVar[str] = "nobody 2026"

    def open(self, setup: Public, first: BatchView, *, rng: Stream) -> ListenerState:
        """Begin to listen."""
        return _Careless(self)

    def listen(self, heard: BatchView, network: nn.Module) -> None:
        """Ruin one batch, and the network's copy."""
        network.train().requires_grad_(True)
        network(torch.rand(4, *heard.messages["smashed", "in"].shape[1:])).sum().backward()
        torch.manual_seed(0)
        for payload in heard.messages.values():
            payload.zero_()
