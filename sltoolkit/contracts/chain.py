"""`Chain(a, b)`: several defenses as one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense, PartySetup
from sltoolkit.privacy.guarantee import Guarantee
from sltoolkit.wire.turn import Phase, Turn


@final
@dataclass(eq=False, init=False)
class Chain(Defense):
    """Several defenses, one after the other, as one defense.

    What is sent passes through them in order, and what is received in reverse order. Their losses
    add up. If one of them refuses a gradient, the chain refuses it.
    """

    links: tuple[Defense, ...]
    citation: ClassVar[str] = "composition of its links"

    def __init__(self, *links: Defense) -> None:
        self.links = links

    @property
    def phases(self) -> tuple[Phase, ...]:  # type: ignore[override]
        """One training, then the further phases of each link, in order."""
        further = [p for link in self.links for p in link.phases if p.name != "train"]
        return (Phase("train"), *further)

    @property
    def learns(self) -> bool:  # type: ignore[override]
        """Whether a link acts through training."""
        return any(link.learns for link in self.links)

    @property
    def per_batch(self) -> bool:  # type: ignore[override]
        """Whether a link draws once for a batch."""
        return any(link.per_batch for link in self.links)

    def begin(self, setup: PartySetup) -> PartySetup:
        """Let each link wrap what the link before it returned."""
        for i, link in enumerate(self.links):
            own = PartySetup(**{**vars(setup), "rng": setup.rng.child(str(i))})
            setup = PartySetup(**{**vars(link.begin(own)), "rng": setup.rng})
        return setup

    @property
    def post_processes(self) -> bool:  # type: ignore[override]
        """Whether every link that changes smashed data needs nothing else for it."""
        return all(map(_post_processes, self.links))

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """Pass smashed data through the links in order.

        Links that only post-process a guaranteed release get no inputs, labels or ids, so that
        they can do nothing else.
        """
        held = self._guaranteed()
        for i, link in enumerate(self.links):
            blind = held is not None and i > held and _changes_smashed(link)
            z = link.smash(z, _own(_blind(turn) if blind else turn, i))
        return z

    def up_to_guarantee(self, z: Tensor, turn: Turn) -> Tensor:
        """What the link with the guarantee makes of what the links before it send."""
        held = self._guaranteed()
        if held is None:
            return self.smash(z, turn)
        for i, link in enumerate(self.links[:held]):
            z = link.smash(z, _own(turn, i))
        return self.links[held].up_to_guarantee(z, _own(turn, held))

    def labels(self, y: Tensor, turn: Turn) -> Tensor:
        """Pass labels through the links in order."""
        for i, link in enumerate(self.links):
            y = link.labels(y, _own(turn, i))
        return y

    def gradient(self, g: Tensor, turn: Turn) -> Tensor:
        """Pass the gradient to send through the links in order."""
        for i, link in enumerate(self.links):
            g = link.gradient(g, _own(turn, i))
        return g

    def receive(self, g: Tensor, turn: Turn) -> Tensor | None:
        """Pass the received gradient through the links in reverse order, until one refuses it."""
        for i, link in reversed(list(enumerate(self.links))):
            got = link.receive(g, _own(turn, i))
            if got is None:
                return None
            g = got
        return g

    def client_loss(self, z: Tensor, turn: Turn) -> Tensor | None:
        """The sum of the links' losses."""
        losses = [link.client_loss(z, _own(turn, i)) for i, link in enumerate(self.links)]
        present = [loss for loss in losses if loss is not None]
        return sum(present[1:], present[0]) if present else None

    def step(self, turn: Turn) -> None:
        """Let every link step."""
        for i, link in enumerate(self.links):
            link.step(_own(turn, i))

    def guarantee(self, *, releases: int, delta: float) -> Guarantee | None:
        """The smallest epsilon among the links whose guarantee the chain keeps; None without any.

        Links before such a link only change what it clips. Links after it must post-process: a
        later link whose `smash` may read inputs or labels, or has learned from them, voids the
        guarantee. A link with a `smash` of its own is taken for such a one unless it declares
        `post_processes`.
        """
        held = self._guaranteed()
        return None if held is None else self.links[held].guarantee(releases=releases, delta=delta)

    def _guaranteed(self) -> int | None:
        """The position of the link whose guarantee the chain states."""
        stated = {}
        for i in reversed(range(len(self.links))):
            found = self.links[i].guarantee(releases=1, delta=1e-5)
            if found is not None:
                stated[i] = found.epsilon
            if not _post_processes(self.links[i]):
                break
        return min(stated, key=lambda i: stated[i], default=None)

    def learned(self) -> Mapping[str, nn.Module]:
        """The networks of all links; a name begins with the link's position."""
        return {
            f"{i}.{name}": module
            for i, link in enumerate(self.links)
            for name, module in link.learned().items()
        }

    def evidence(self, clean: Tensor, sent: Tensor) -> Mapping[str, float]:
        """The effect of the whole chain; that of a single link is not visible from outside."""
        return Defense.evidence(self, clean, sent)


def _changes_smashed(link: Defense) -> bool:
    return type(link).smash is not Defense.smash


def _post_processes(link: Defense) -> bool:
    return link.post_processes or not _changes_smashed(link)


def _blind(turn: Turn) -> Turn:
    """The turn without anything about the batch's records."""
    return replace(turn, x=None, y=None, ids=torch.full_like(turn.ids, -1))


def _own(turn: Turn, i: int) -> Turn:
    return replace(turn, rng=turn.rng.child(str(i)))
