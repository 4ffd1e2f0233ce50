"""What views hold: the attacker's own samples, hints, updates and the release oracle."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, final

import torch
from torch import Tensor, nn

from sltoolkit.errors import ThreatModelError
from sltoolkit.parties.settings import Training
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Aux:
    """The attacker's own samples: inputs x (N, ...) and labels y (N,)."""

    x: Tensor
    y: Tensor


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Hints:
    """Private examples whose labels the attacker knows: gradients (H, ...) and labels (H,)."""

    smashed_grad: Tensor
    y: Tensor


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Updates:
    """What a client sent after it learned from a batch of targets: weights or their gradients.

    There are G groups of targets, and one update for each group. A group holds `batch` consecutive
    targets. The update doesn't tell in which order they were in the batch.

    Attributes:
        network: the client's network before it learned, in training mode, as the client computes
            it: its BatchNorm layers use the batch's statistics, and only the client knows its
            dropout masks.
        heard: what was received, by names of the network's parameters, each (R, G, ...) for R
            releases: gradients of the batch's mean loss, or the weights after the client's steps.
        kind: which of the two was received.
        whole: whether the network ends in logits, so that the client computes the loss. Otherwise
            it is a part, whose gradients came back over the wire.
        batch: targets per group.
        steps: how many steps the client took, each on the whole group.
        training: the settings of these steps (everybody runs the same program); the optimizer
            starts fresh.
        client: the client's program, with its defense, for the attacker's own samples: from x
            (N, ...), y (N,) and a stream of the attacker to what would be heard, in groups. None if
            the attacker doesn't know the whole network.
    """

    network: nn.Module
    heard: Mapping[str, Tensor]
    kind: Literal["weights", "weight_grad"]
    whole: bool
    batch: int
    steps: int
    training: Training
    client: Callable[[Tensor, Tensor, Stream], Mapping[str, Tensor]] | None

    def gradients(self) -> dict[str, Tensor]:
        """Gradients by parameter that learns, (G, ...), averaged over releases.

        If weights were heard, they are estimated by (before - after) / (lr * steps). After one step
        of SGD this is the gradient itself (weight decay is subtracted), after several steps roughly
        the mean gradient, and for Adam roughly the gradient's sign.
        """
        mean = {name: value.mean(0) for name, value in self.heard.items()}
        if self.kind == "weight_grad":
            return mean
        way = self.training.lr * self.steps
        decay = self.training.weight_decay if self.training.optimizer == "sgd" else 0.0
        before = {n: w.detach() for n, w in self.network.named_parameters() if w.requires_grad}
        return {n: (w - mean[n]) / way - decay * w for n, w in before.items() if n in mean}

    def about(self, x: Tensor, y: Tensor, rng: Stream) -> "Updates":
        """What would have been heard of the attacker's own samples, x (N, ...) and y (N,).

        Raises:
            ThreatModelError: if the attacker can't compute it.
        """
        if self.client is None:
            raise ThreatModelError("an update of a part of the network can't be computed alone")
        return replace(self, heard=self.client(x, y, rng))


_CHUNK = 512


@final
class Release:
    """The deployed, defended client as an oracle.

    Args:
        ask: answers one query, from inputs (B, ...) to what is sent, (B, ...).
        per_batch: whether the inputs of one query share what the defense draws (`Defense.per_batch`
            is public).

    Attributes:
        per_batch: whether the inputs of one query share what the defense draws.
        queries: how many inputs have been answered so far; each repeat counts.
    """

    def __init__(self, ask: Callable[[Tensor], Tensor], *, per_batch: bool = False) -> None:
        self._ask = ask
        self.per_batch = per_batch
        self.queries = 0

    def __call__(self, x: Tensor, *, repeats: int = 1, chunk: int = _CHUNK) -> Tensor:
        """Query the client, which is in evaluation mode and draws fresh noise each time.

        Args:
            x: inputs, (B, ...); images and signals lie in [0, 1].
            repeats: how many releases of each input.
            chunk: inputs per query, for memory; if the inputs of a query share what the defense
                draws, every query draws anew.

        Returns:
            What is sent, (repeats, B, ...), without a graph.
        """
        with torch.no_grad():
            releases = [
                torch.cat([self._ask(part) for part in x.split(chunk)]) for _ in range(repeats)
            ]
        self.queries += repeats * len(x)
        return torch.stack(releases)

    def mean(self, x: Tensor, *, repeats: int) -> Tensor:
        """The mean of several releases of each input, (B, ...); never holds more than two.

        Attackers learn from this. No two inputs share what the defense draws: an attacker that
        learned from many inputs with one mask would fit that mask.
        """
        chunk = 1 if self.per_batch else _CHUNK
        total = self(x, chunk=chunk)[0]
        for _ in range(repeats - 1):
            total = total + self(x, chunk=chunk)[0]
        return total / repeats
