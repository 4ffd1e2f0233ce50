"""One client made of several parties that hold different features."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense, PartySetup
from sltoolkit.data.samples import Samples
from sltoolkit.privacy.guarantee import Guarantee
from sltoolkit.wire.turn import Phase, Turn


def blocks_of(x: Tensor, parties: int) -> tuple[Tensor, ...]:
    """Inputs split along the last axis (features); the first blocks may be wider by one."""
    return x.tensor_split(parties, dim=-1)


def block_samples(samples: Samples, parties: int) -> list[Samples]:
    """The same samples as each party holds them: its block of features and all labels."""
    return [replace(samples, x=block) for block in blocks_of(samples.x, parties)]


@final
class Blocks(nn.Module):
    """Every party's network on its block of features; smashed data joined along the last axis.

    Args:
        heads: the parties' networks.
    """

    def __init__(self, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, x: Tensor) -> Tensor:
        """Smashed data of all parties (B, ..., q_0 + ... + q_K-1) for whole inputs."""
        return torch.cat(self.apart(x), dim=-1)

    def apart(self, x: Tensor) -> list[Tensor]:
        """Smashed data of each party (B, ..., q_k) for whole inputs."""
        blocks = blocks_of(x, len(self.heads))
        return [head(block) for head, block in zip(self.heads, blocks, strict=True)]


@final
@dataclass(eq=False, init=False)
class JointClient(Defense):
    """Each party's own defense on its own slice of the smashed data.

    Args:
        parties: the parties' own copies of the defense, in order.
        widths: the width of each party's smashed data along the last axis.
    """

    citation: ClassVar[str] = "composition of the parties' defenses"

    def __init__(self, parties: Sequence[Defense], widths: Sequence[int]) -> None:
        self.parties = tuple(parties)
        self.widths = tuple(widths)

    def as_configured(self, defense: Defense) -> "JointClient":
        """The same parties with the defense as configured, before any training."""
        return JointClient([copy.deepcopy(defense) for _ in self.parties], self.widths)

    @property
    def phases(self) -> tuple[Phase, ...]:  # type: ignore[override]
        """The phases of every party, which are alike."""
        return self.parties[0].phases

    @property
    def learns(self) -> bool:  # type: ignore[override]
        """Whether the parties' defenses act through training."""
        return self.parties[0].learns

    @property
    def per_batch(self) -> bool:  # type: ignore[override]
        """Whether the parties' defenses draw once for a batch."""
        return self.parties[0].per_batch

    def begin(self, setup: PartySetup) -> PartySetup:
        """Each party begins with its own network of the module's `Blocks`, and its own shapes."""
        network = next(m for m in setup.module.modules() if isinstance(m, Blocks))
        columns = torch.arange(setup.task.input_shape[-1])
        blocks = blocks_of(columns, len(self.parties))
        parts = zip(self.parties, network.heads, blocks, self.widths, strict=True)
        for k, (party, head, block, width) in enumerate(parts):
            task = replace(
                setup.task,
                input_shape=(*setup.task.input_shape[:-1], len(block)),
                smashed_shape=(*setup.task.smashed_shape[:-1], width),
            )
            party.begin(replace(setup, module=head, task=task, rng=setup.rng.child(str(k))))
        return setup

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """The parties' slices of `z`, each as its party sends it."""
        slices = z.split(self.widths, dim=-1)
        parts = zip(self.parties, slices, self._turns(turn), strict=True)
        return torch.cat([party.smash(own, its) for party, own, its in parts], dim=-1)

    def guarantee(self, *, releases: int, delta: float) -> Guarantee | None:
        """The guarantee over all parties: each releases something about every record."""
        each = self.parties[0]
        return each.guarantee(releases=releases * len(self.parties), delta=delta)

    def learned(self) -> Mapping[str, nn.Module]:
        """All parties' learned networks, prefixed by party."""
        return {
            f"{k}.{name}": module
            for k, party in enumerate(self.parties)
            for name, module in party.learned().items()
        }

    def _turns(self, turn: Turn) -> Iterator[Turn]:
        count = len(self.parties)
        blocks = [None] * count if turn.x is None else blocks_of(turn.x, count)
        for k, x in enumerate(blocks):
            yield replace(turn, x=x, rng=turn.rng.child(str(k)))
