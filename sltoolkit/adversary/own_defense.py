"""What attackers make of the grant `mechanism`: an own copy of the client's defense."""

from collections.abc import Callable
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn

from sltoolkit.streams import Stream
from sltoolkit.wire.turn import Turn

if TYPE_CHECKING:
    from sltoolkit.contracts.defense import Defense

DRAWS = 4
"""Draws of the mechanism that are averaged into one evaluation of a defended client."""

_CHUNK = 64
"""Examples whose draws are averaged at a time, for memory."""


@final
class OwnDefense:
    """An own copy of the defense, in use as a deployed client has it: it learns nothing.

    Where the mechanism isn't known, codes stay as they are and nothing is drawn. Of a defense that
    learns beside its client, the copy is as it began, for good.

    Args:
        mechanism: makes the copy.
        rng: for the copy and its draws; with a stream at its beginning, both are the same again.
    """

    def __init__(self, mechanism: "Callable[[Stream], Defense] | None", rng: Stream) -> None:
        self._defense = None if mechanism is None else mechanism(rng)
        self._rng = rng

    @property
    def per_batch(self) -> bool:
        """Whether the examples of a batch share what is drawn."""
        return self._defense is not None and self._defense.per_batch

    def __call__(self, z: Tensor, x: Tensor) -> Tensor:
        """One draw of what is sent in place of codes z (B, ...) of inputs x (B, ...)."""
        return self.mean(z, x, draws=1)

    def mean(self, z: Tensor, x: Tensor, *, draws: int = DRAWS) -> Tensor:
        """The mean of a few draws, (B, ...), with its graph."""
        drawn = self._drawn(z, x, draws)
        return drawn[0] if len(drawn) == 1 else torch.stack(drawn).mean(0)

    def apart(self, z: Tensor, x: Tensor, *, draws: int) -> Tensor:
        """The same, where no two examples share a draw: what a decoder is to learn from.

        Who learns from many that share one mask learns about that mask.
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
