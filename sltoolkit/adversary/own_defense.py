"""What attackers make of the grant `mechanism`: their own copy of the client's defense."""

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense
from sltoolkit.streams import Stream
from sltoolkit.wire.turn import Turn

DRAWS = 4
"""How many draws of the mechanism one evaluation of a defended client averages."""

_CHUNK = 64
"""How many examples' draws are averaged at a time, for memory."""


@final
class OwnDefense:
    """The attacker's copy of the defense. It works as in a deployed client: it learns nothing.

    If the mechanism isn't known, codes stay as they are and nothing is drawn. If the real defense
    learns together with its client, the copy stays as that defense was at the beginning.

    Args:
        mechanism: makes the copy; None if it isn't known.
        rng: for the copy and its draws; the same fresh stream gives the same copy and draws.
    """

    def __init__(self, mechanism: Callable[[Stream], Defense] | None, rng: Stream) -> None:
        self._defense = None if mechanism is None else mechanism(rng)
        self._rng = rng

    @property
    def per_batch(self) -> bool:
        """Whether the examples of a batch share what is drawn."""
        return self._defense is not None and self._defense.per_batch

    def __call__(self, z: Tensor, x: Tensor) -> Tensor:
        """One draw of what is sent in place of the codes z (B, ...) of inputs x (B, ...)."""
        return self.mean(z, x, draws=1)

    def mean(self, z: Tensor, x: Tensor, *, draws: int = DRAWS) -> Tensor:
        """The mean of a few draws, (B, ...), with its graph."""
        drawn = self._drawn(z, x, draws)
        return drawn[0] if len(drawn) == 1 else torch.stack(drawn).mean(0)

    def apart(self, z: Tensor, x: Tensor, *, draws: int) -> Tensor:
        """The mean of draws, (B, ...), where no two examples share a draw; for training decoders.

        If many examples shared one mask, a decoder would fit that mask.
        """
        if self._defense is None:
            return z
        size = 1 if self._defense.per_batch else _CHUNK
        parts = zip(z.split(size), x.split(size), strict=True)
        return torch.cat([self.mean(*part, draws=draws) for part in parts])

    def _drawn(self, z: Tensor, x: Tensor, draws: int) -> list[Tensor]:
        if self._defense is None:
            return [z]
        unknown = torch.full((len(x),), -1, dtype=torch.int64, device=x.device)
        turn = Turn(
            ids=unknown, x=x.detach(), y=None, step=0, epoch=0, phase="release", rng=self._rng
        )
        with self._rng.scope():
            return [self._defense.smash(z, turn) for _ in range(draws)]


@final
class Defended(nn.Module):
    """A client whose codes are the mean of a few draws of a defense."""

    def __init__(self, client: nn.Module, defense: OwnDefense) -> None:
        super().__init__()
        self.client = client
        self._defense = defense

    def forward(self, x: Tensor) -> Tensor:
        """Codes (B, ...) of inputs (B, ...)."""
        return self._defense.mean(self.client(x), x)
