"""Networks and oracles for protocols in which parties hold different features."""

import copy
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Protocol
from sltoolkit.streams import Stream
from sltoolkit.testing.ears import RecordingEar
from sltoolkit.training.merging import Merge
from sltoolkit.training.phases import deploy
from sltoolkit.training.run import Run
from support.tiny import CLASSES, data, flat, play

Style = Literal["conv", "mlp"]


def parts(count: int, style: Style = "conv") -> tuple[nn.Module, ...]:
    """A network for (1, 6, 6) in two to four parts; `conv` keeps columns apart up to the cut."""
    with Stream(1).scope():
        if style == "conv":
            head: nn.Module = nn.Sequential(
                nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Tanh()
            )
            size = 2 * 6 * 6
        else:
            head, size = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Tanh()), 8
        stages: list[nn.Module] = [
            nn.Sequential(nn.Flatten(), nn.Linear(size, 7), nn.BatchNorm1d(7), nn.Tanh()),
            nn.Sequential(nn.Linear(7, 5), nn.Tanh()),
            nn.Linear(5, CLASSES),
        ]
    merged = [*stages[: count - 2], nn.Sequential(*stages[count - 2 :])]
    return tuple(part.double() for part in (head, *merged))


def play_parts(
    protocol: Protocol, network: tuple[nn.Module, ...], training: Training | None, *,
    defense: Defense | None = None, seed: int = 0,
) -> tuple[Run, RecordingEar]:  # fmt: skip
    return play(protocol, training, parts=network, defense=defense, seed=seed)


def schedule(log: RecordingEar) -> list[Tensor]:
    """The ids of each batch, in order, once for all messages about the batch."""
    return list({m.turn.step: m.turn.ids for m in log.sent("smashed", "client")}.values())


def merged(merge: str, zs: Sequence[Tensor]) -> Tensor:
    """The parties' smashed data, merged party by party."""
    out = zs[0]
    for z in zs[1:]:
        match merge:
            case "concat":
                out = torch.cat([out, z], dim=-1)
            case "sum" | "mean":
                out = out + z
            case "max":
                out = torch.maximum(out, z)
            case "mul":
                out = out * z
    return out / len(zs) if merge == "mean" else out


class Monolith(nn.Module):
    """All parties' networks as one, with the weights that a run's parties began with."""

    def __init__(self, run: Run, merge: str = "concat") -> None:
        super().__init__()
        self.merge = merge
        self.heads = nn.ModuleList(copy.deepcopy(m.initial[0]) for m in run.cast.clients)
        self.hops = nn.Sequential(*(copy.deepcopy(h.initial) for h in run.cast.hops))
        self.rests = nn.ModuleList(copy.deepcopy(h.initial) for h in run.cast.servers)

    def blocks(self, x: Tensor) -> list[Tensor]:
        """Blocks of columns; if they don't divide evenly, the first blocks are wider by one."""
        k, width = len(self.heads), x.shape[-1]
        sizes = [width // k + (i < width % k) for i in range(k)]
        return list(x.split(sizes, dim=-1))

    def merged(self, x: Tensor) -> Tensor:
        zs = [h(b) for h, b in zip(self.heads, self.blocks(x), strict=True)]
        out: Tensor = self.hops(merged(self.merge, zs))
        return out

    def rest(self, t: int = 0) -> nn.Module:
        """The network behind the merge; a vertical server begins with the merge."""
        rest = self.rests[t]
        assert isinstance(rest, nn.Sequential)
        return rest[1] if isinstance(rest[0], Merge) else rest

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.rest()(self.merged(x))
        return out

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        z = self.merged(x)
        labels = [y, y % 2]
        return torch.stack(
            [
                nn.functional.cross_entropy(self.rest(t)(z), labels[t])
                for t in range(len(self.rests))
            ]
        ).sum()

    def learn(self, batches: Sequence[Tensor], training: Training) -> "Monolith":
        """Train in a plain loop on these batches of ids."""
        optimizer = training.optimizer_for(self)
        assert optimizer is not None
        samples = data().private_train
        for ids in batches:
            loss = self.train().loss(samples.x[ids - 1000], samples.y[ids - 1000])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return self.eval()

    def weights(self) -> Tensor:
        """All weights and buffers: of heads, hops and servers."""
        return flat(*self.heads, *self.hops, *self.rests)


def weights(run: Run) -> Tensor:
    """All weights and buffers of the run's deployed networks and of the other servers."""
    (member,), server = deploy(run)
    others = [host.deployed() for host in run.cast.servers[1:]]
    return flat(member.client, *member.hops, server, *others)
