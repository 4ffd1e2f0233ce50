"""Attacks that cheat, each in a way that was seen or is tempting; the suite must catch them."""

import gc
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from sltoolkit.contracts.attack import Attack, BatchView, Family, Listener, ListenerState, Role
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.knowledge import Aux, Release
from sltoolkit.contracts.outcomes import Outcome, Reconstruction
from sltoolkit.streams import Stream
from sltoolkit.training.victim import Victim


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ReleaseView:
    """What a decoder sees."""

    smashed: Tensor
    aux: Aux
    release: Release
    task: Task


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ServerView:
    """With the server's network."""

    smashed: Tensor
    server_weights: nn.Module
    task: Task


@dataclass(frozen=True, kw_only=True)
class Toy(Attack[ReleaseView]):
    """What all of them declare."""

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = ReleaseView
    citation: ClassVar[str] = "nobody 2026"

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """Replaced by each cheat."""
        raise NotImplementedError


def cells(function: Any) -> dict[str, Any]:
    """What a function closes over."""
    names = function.__code__.co_freevars
    return dict(zip(names, (c.cell_contents for c in function.__closure__ or ()), strict=True))


def resized(values: Tensor, view: ReleaseView) -> Reconstruction:
    """Any numbers as images."""
    n, shape = view.smashed.shape[1], view.task.input_shape
    flat = values.detach().flatten().repeat(n * 64)[: n * 64]
    return Reconstruction(images=flat.reshape(n, *shape).clone())


@final
@dataclass(frozen=True, kw_only=True)
class Honest(Toy):
    """No cheat: retrieves the nearest aux image; the suite must let it pass."""

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """Nearest smashed data, with a little random jitter from the right places."""
        z = view.release(view.aux.x).mean(0).flatten(1)
        nearest = torch.cdist(view.smashed.mean(0).flatten(1), z).argmin(1)
        jitter = torch.rand(1) + torch.rand(1, generator=rng.torch())  # scope and stream
        return Reconstruction(images=view.aux.x[nearest] + 1e-3 * jitter)


@final
@dataclass(frozen=True, kw_only=True)
class ReadsTruthBehindOracle(Toy):
    """Walks the oracle's closure to the deployed client and the samples it held."""

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """The first private images."""
        return resized(cells(view.release._ask)["member"].client.state_dict()["conv.weight"], view)


@final
@dataclass(frozen=True, kw_only=True)
class FindsVictimInMemory(Toy):
    """Asks the garbage collector for all victims and copies their held-out images."""

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """The brightest held-out pixels of all victims in memory."""
        found = [o.data.private_holdout.x for o in gc.get_objects() if type(o) is Victim]
        alike = [x for x in found if x.shape == found[-1].shape]  # other tests keep other victims
        return resized(torch.stack(alike).amax(0), view)


@final
@dataclass(frozen=True, kw_only=True)
class RebuildsVictimStream(Toy):
    """Draws the noise of the targets' release again, from the root of the oracle's stream."""

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """Subtracts it."""
        root = cells(view.release._ask)["rng"]._root
        own = Stream(root).child("victim").fresh("targets")
        noise = torch.randn(view.smashed.shape[1:], generator=own.torch())
        return resized(view.smashed[0] - 0.3 * noise, view)


@final
@dataclass(frozen=True, kw_only=True)
class ReadsLiveDefense(Toy):
    """Takes the defense that is deployed, with its state, in place of the public mechanism."""

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """Subtracts the noise that the live object remembers."""
        view.release(view.aux.x[:1])
        live = cells(view.release._ask)["member"].defense
        return resized(view.smashed[0] - live.last.mean(), view)


@final
@dataclass(frozen=True, kw_only=True)
class DrawsFromVictimStream(Toy):
    """Shares the stream that the oracle's noise comes from."""

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """Random images of the victim's randomness."""
        with cells(view.release._ask)["rng"].scope():
            return resized(torch.rand(64), view)


MEMORY: list[Tensor] = []


@final
@dataclass(frozen=True, kw_only=True)
class Remembers(Toy):
    """Keeps what it saw in one run for the next."""

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """The first target data it ever saw."""
        MEMORY.append(view.smashed.clone())
        return resized(MEMORY[0], view)


@final
@dataclass(frozen=True, kw_only=True)
class SeedsItself(Toy):
    """Draws from a generator outside its stream: another result every time."""

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """Random images of an unseeded generator."""
        return resized(torch.rand(64, generator=_unseeded()), view)


def _unseeded() -> torch.Generator:
    generator = torch.Generator()
    generator.seed()
    return generator


@final
@dataclass(frozen=True, kw_only=True)
class LeavesGradients(Attack[ServerView]):
    """Back-propagates through the server's network and leaves the gradients lying there."""

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = ServerView
    citation: ClassVar[str] = "nobody 2026"

    def run(self, view: ServerView, *, rng: Stream) -> Outcome:
        """Harmless on a copy."""
        view.server_weights.requires_grad_(True)
        view.server_weights(view.smashed[0]).sum().backward()
        return Reconstruction(images=torch.zeros(view.smashed.shape[1], *view.task.input_shape))


@final
@dataclass(frozen=True, kw_only=True)
class OverwritesView(Attack[ServerView]):
    """Writes into the network that its view holds."""

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = ServerView
    citation: ClassVar[str] = "nobody 2026"

    def run(self, view: ServerView, *, rng: Stream) -> Outcome:
        """Harmless on a copy."""
        with torch.no_grad():
            for parameter in view.server_weights.parameters():
                parameter.zero_()
        return Reconstruction(images=torch.zeros(view.smashed.shape[1], *view.task.input_shape))


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class NoSetup:
    """A listener's view before the training: shapes alone."""

    task: Task


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class HeardView:
    """A listener's view at the end."""

    smashed: Tensor
    task: Task


class _Ear(ListenerState):
    def __init__(self, attack: "Cheating", rng: Stream) -> None:
        self.attack, self.rng = attack, rng

    def hear(self, heard: BatchView) -> None:
        assert heard.network is not None
        self.attack.listen(heard, heard.network())

    def finish(self, view: HeardView) -> Outcome:
        return Reconstruction(images=torch.zeros(view.smashed.shape[1], *view.task.input_shape))


@dataclass(frozen=True, kw_only=True)
class Cheating(Listener[NoSetup]):
    """A listener that does something wrong, or nothing wrong, in every batch."""

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    setup: ClassVar[type] = NoSetup
    view: ClassVar[type] = HeardView
    citation: ClassVar[str] = "nobody 2026"

    def open(self, setup: NoSetup, first: BatchView, *, rng: Stream) -> ListenerState:
        """An ear."""
        return _Ear(self, rng)

    def listen(self, heard: BatchView, network: nn.Module) -> None:
        """No cheat: trains its copy, draws random numbers, reseeds, overwrites what it heard."""
        network.train().requires_grad_(True)
        network(torch.rand(4, *heard.messages["smashed", "in"].shape[1:])).sum().backward()
        torch.manual_seed(0)
        for payload in heard.messages.values():
            payload.zero_()


@final
@dataclass(frozen=True, kw_only=True)
class ListenerLeavesGradients(Cheating):
    """Finds the live server behind its replica, and back-propagates through it."""

    def listen(self, heard: BatchView, network: nn.Module) -> None:
        """Adds to the gradients of the live network."""
        live = cells(heard.network)["owner"].module
        live(heard.messages["smashed", "in"]).sum().backward()


@final
@dataclass(frozen=True, kw_only=True)
class ListenerMovesBuffers(Cheating):
    """Runs smashed data through the live server in training mode: BatchNorm remembers it."""

    def listen(self, heard: BatchView, network: nn.Module) -> None:
        """Moves running statistics."""
        with torch.no_grad():
            cells(heard.network)["owner"].module(heard.messages["smashed", "in"])


@final
@dataclass(frozen=True, kw_only=True)
class ListenerSharesStream(Cheating):
    """Draws from the live server's stream: its dropout masks shift."""

    def listen(self, heard: BatchView, network: nn.Module) -> None:
        """One number is enough."""
        with cells(heard.network)["owner"].rng.scope():
            torch.rand(1)


@final
@dataclass(frozen=True, kw_only=True)
class ListenerAnswers(Cheating):
    """Changes the live server's weights."""

    def listen(self, heard: BatchView, network: nn.Module) -> None:
        """A bit."""
        with torch.no_grad():
            for parameter in cells(heard.network)["owner"].module.parameters():
                parameter.add_(1e-6)
