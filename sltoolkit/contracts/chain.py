"""`Chain(a, b)`: several defenses as one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, final

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

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """Pass smashed data through the links in order."""
        for i, link in enumerate(self.links):
            z = link.smash(z, _own(turn, i))
        return z

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
        """The guarantee with the smallest epsilon among those of the links; None if none has one.

        Each link's guarantee holds for the chain: links after it only post-process a private
        release, and links before it only change what it clips.
        """
        held = [link.guarantee(releases=releases, delta=delta) for link in self.links]
        return min((g for g in held if g is not None), key=lambda g: g.epsilon, default=None)

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


def _own(turn: Turn, i: int) -> Turn:
    return replace(turn, rng=turn.rng.child(str(i)))
