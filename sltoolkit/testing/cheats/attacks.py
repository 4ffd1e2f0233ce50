"""Attacks that cheat, each in a way that was seen or is tempting, and an honest attack."""

import gc
import math
import sys
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from sltoolkit.contracts.attack import Attack, Family, Role
from sltoolkit.contracts.defense import Defense, Task
from sltoolkit.contracts.knowledge import Aux, Release
from sltoolkit.contracts.outcomes import Outcome, Reconstruction
from sltoolkit.metrics import METRICS
from sltoolkit.streams import Stream
from sltoolkit.training.victim import Victim
from sltoolkit.wire.turn import Turn


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ReleaseView:
    """The view of a decoder."""

    smashed: Tensor
    aux: Aux
    release: Release
    task: Task


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ServerView:
    """A view with the server's network."""

    smashed: Tensor
    server_weights: nn.Module
    task: Task


@dataclass(frozen=True, kw_only=True)
class Toy(Attack[ReleaseView]):
    """What most of the cheats declare."""

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = ReleaseView
    citation: ClassVar[str] = "nobody 2026"

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """Replaced by each cheat."""
        raise NotImplementedError


def cells(function: Any) -> dict[str, Any]:
    """The variables of a function's closure, by name."""
    names = function.__code__.co_freevars
    return dict(zip(names, (c.cell_contents for c in function.__closure__ or ()), strict=True))


def resized(values: Tensor, view: ReleaseView) -> Reconstruction:
    """Arbitrary numbers in the shape of images."""
    n, shape = view.smashed.shape[1], view.task.input_shape
    size = n * math.prod(shape)
    flat = values.detach().flatten()[:size]
    flat = flat.repeat(math.ceil(size / len(flat)))[:size]
    return Reconstruction(images=flat.reshape(n, *shape).clone())


@final
@dataclass(frozen=True, kw_only=True)
class Honest(Toy):
    """No cheat: it retrieves the nearest aux image, and the suite must let it pass."""

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """The aux images with the nearest smashed data, with a little allowed random jitter."""
        z = view.release(view.aux.x).mean(0).flatten(1)
        nearest = torch.cdist(view.smashed.mean(0).flatten(1), z).argmin(1)
        own = torch.rand(1, generator=rng.torch()).to(z)
        jitter = torch.rand(1, device=z.device) + own  # scope and stream
        return Reconstruction(images=view.aux.x[nearest] + 1e-3 * jitter)


@final
@dataclass(frozen=True, kw_only=True)
class LooksAround(Toy):
    """Asks the garbage collector, and happens to learn nothing from it."""

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """Gray images if garbage collection is on."""
        return resized(torch.tensor([0.5 * gc.isenabled()], device=view.smashed.device), view)


@final
@dataclass(frozen=True, kw_only=True)
class PatchesRegistry(Toy):
    """Puts a metric that is always satisfied into the registry."""

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """Gray images, which the new metric calls perfect."""
        kind: Any = replace(METRICS["mse"], function=lambda x, y: x.new_zeros(len(x)).double())
        METRICS.update(mse=kind)  # type: ignore[attr-defined]
        return resized(torch.tensor([0.5], device=view.smashed.device), view)


@final
@dataclass(frozen=True, kw_only=True)
class TurnsMetric(Toy):
    """Turns a metric's direction, so that an error counts as a leak."""

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """Images far off, which now leak most."""
        object.__setattr__(METRICS["mse"], "higher_is_more_leak", True)
        return resized(torch.tensor([1e3], device=view.smashed.device), view)


@final
@dataclass(frozen=True, kw_only=True)
class PatchesReferee(Toy):
    """Lets the referee score something else than what it handed back."""

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """Gray images, in whose place the referee would score the truth."""
        referee: Any = sys.modules["sltoolkit.referee.judge"]
        honest = referee.score
        referee.score = lambda _, truth: honest(Reconstruction(images=truth.x), truth)
        return resized(torch.tensor([0.5], device=view.smashed.device), view)


@final
@dataclass(frozen=True, kw_only=True)
class ReadsTruthBehindOracle(Toy):
    """Walks through the closure of the queries to the deployed client."""

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """Images made from the client's weights."""
        return resized(cells(view.release._ask)["member"].client.state_dict()["conv.weight"], view)


@final
@dataclass(frozen=True, kw_only=True)
class FindsVictimInMemory(Toy):
    """Asks the garbage collector for all victims, and copies their held-out images."""

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """The brightest held-out pixels of all victims in memory."""
        gc.collect()  # removes victims without references
        found = [o.data.private_holdout.x for o in gc.get_objects() if type(o) is Victim]
        alike = [x for x in found if x.shape == found[-1].shape]  # other tests keep victims, too
        return resized(torch.stack(alike).amax(0), view)


@final
@dataclass(frozen=True, kw_only=True)
class RebuildsVictimStream(Toy):
    """Draws the noise of the targets' release again, from the roots of victims' streams."""

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """Images made from the smashed data without that noise."""
        roots = [o.rng for o in gc.get_objects() if type(o) is Victim]
        shape = view.smashed.shape[1:]
        noise = sum(torch.randn(shape, generator=r.fresh("targets").torch()) for r in roots)
        return resized(view.smashed[0] - 0.3 * noise, view)


@final
@dataclass(frozen=True, kw_only=True)
class GuessesSeed(Toy):
    """Tries seeds, with imports that are allowed, and takes off the noise that each would draw.

    Only a victim whose noise depends on nothing but its seed is in danger. With no seed to try, it
    is an honest attack.
    """

    seeds: int = 51
    std: float = 0.3

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """The aux images that fit the smashed data without the noise of the best guess."""
        guesses = [view.smashed - self.std * self._noise(k, view) for k in range(self.seeds)]
        best = min([view.smashed, *guesses], key=lambda z: float(z.var()))
        z = view.release.mean(view.aux.x, repeats=100).flatten(1)
        nearest = torch.cdist(best.mean(0).flatten(1), z).argmin(1)
        return Reconstruction(images=view.aux.x[nearest])

    def _noise(self, seed: int, view: ReleaseView) -> Tensor:
        own = Stream(seed).child("victim").fresh("targets")
        return torch.randn(view.smashed.shape, generator=own.torch()).to(view.smashed)


@final
@dataclass(frozen=True, kw_only=True)
class ReadsLiveDefense(Toy):
    """Takes the deployed defense with its state, in place of the public mechanism."""

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """Images made from the smashed data without the noise that the live object remembers."""
        view.release(view.aux.x[:1])
        live = cells(view.release._ask)["member"].defense
        return resized(view.smashed[0] - live.last.mean(), view)


@final
@dataclass(frozen=True, kw_only=True)
class DrawsFromVictimStream(Toy):
    """Draws from the stream that the noise of queries comes from."""

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """Random images from the victim's randomness."""
        with cells(view.release._ask)["rng"].scope():
            return resized(torch.rand(64), view)


MEMORY: list[Tensor] = []


@final
@dataclass(frozen=True, kw_only=True)
class Remembers(Toy):
    """Keeps what it saw in one run for the next run."""

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """Images made from the first smashed data that it ever saw."""
        MEMORY.append(view.smashed.clone())
        return resized(MEMORY[0], view)


@final
@dataclass(frozen=True, kw_only=True)
class SeedsItself(Toy):
    """Draws from a generator outside its stream, so every result is different."""

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """Random images from an unseeded generator."""
        return resized(torch.rand(64, generator=_unseeded()), view)


def _unseeded() -> torch.Generator:
    generator = torch.Generator()
    generator.seed()
    return generator


@final
@dataclass(frozen=True, kw_only=True)
class LeavesGradients(Attack[ServerView]):
    """Back-propagates through the server's network, and leaves the gradients in it."""

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = ServerView
    citation: ClassVar[str] = "nobody 2026"

    def run(self, view: ServerView, *, rng: Stream) -> Outcome:
        """Black images; the gradients are harmless if the network is a copy."""
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
        """Black images; writing is harmless if the network is a copy."""
        with torch.no_grad():
            for parameter in view.server_weights.parameters():
                parameter.zero_()
        return Reconstruction(images=torch.zeros(view.smashed.shape[1], *view.task.input_shape))


@final
@dataclass(kw_only=True, eq=False)
class RememberedNoise(Defense):
    """Noise that the live object remembers, and that the public parameters don't reveal."""

    citation: ClassVar[str] = "nobody 2026"
    strength: ClassVar[str] = "std"
    std: float = 0.3

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """Add fresh noise."""
        self.last = torch.randn(z.shape, generator=turn.rng.torch())
        return z + self.std * self.last


@final
@dataclass(kw_only=True)
class LooseView:
    """A view that can be changed, and whose field is no grant."""

    truth: Tensor


@final
@dataclass(frozen=True, kw_only=True)
class PublicView:
    """A view without anything that was heard."""

    task: Task


@final
@dataclass(frozen=True, kw_only=True)
class AsksForTruth(Toy):
    """Declares a view that isn't frozen."""

    view: ClassVar[type] = LooseView


@final
@dataclass(frozen=True, kw_only=True)
class HearsNothing(Toy):
    """Needs no grant at all."""

    view: ClassVar[type] = PublicView


@final
@dataclass(frozen=True, kw_only=True)
class CitesNobody(Toy):
    """Cites no paper."""

    citation: ClassVar[str] = "somebody, some time"


@final
@dataclass(kw_only=True)
class Loose(Attack[ReleaseView]):
    """Its parameters can be changed between runs."""

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = ReleaseView
    citation: ClassVar[str] = "nobody 2026"

    sharpness: float = 1.0

    def run(self, view: ReleaseView, *, rng: Stream) -> Outcome:
        """Never called."""
        raise NotImplementedError
