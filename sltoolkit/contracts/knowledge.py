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
    """The attacker's own samples: x (N, C, H, W) and y (N,)."""

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
    """What was heard of a client's weights, each time after it learned from one batch of targets.

    Group g of the G groups holds `batch` targets in a row: the update heard is theirs together,
    and in which order they were in the batch it doesn't tell.

    Attributes:
        network: the client's network before it learned, in training mode, as it computes: its
            BatchNorm layers see the batch's statistics, and its dropout masks are nobody else's.
        heard: by names of the network's parameters, each (R, G, ...) for R releases: gradients of
            the batch's mean loss, or the weights after the client's steps, as they were received.
        kind: which of the two.
        whole: whether the network ends in logits, on which the client computes the loss; else it
            is a part, and its gradients came back over the wire.
        batch: targets per group.
        steps: how many steps the client took, each on the whole group.
        training: how it steps (everybody runs the same program); its optimizer starts fresh.
        client: that program, defense included, for samples of the attacker's own: what would be
            heard of x (N, ...) and y (N,), in groups; its randomness is the attacker's. None where
            the attacker doesn't know all of the network.
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
        """Gradients by parameter, (G, ...), the releases averaged.

        Of weights it is what their change amounts to, (before - after) / (lr * steps): the
        gradient itself after one step of SGD (weight decay is taken off), roughly the mean one
        after several; for Adam rather its sign.
        """
        mean = {name: value.mean(0) for name, value in self.heard.items()}
        if self.kind == "weight_grad":
            return mean
        way = self.training.lr * self.steps
        decay = self.training.weight_decay if self.training.optimizer == "sgd" else 0.0
        before = {name: weight.detach() for name, weight in self.network.named_parameters()}
        return {n: (before[n] - after) / way - decay * before[n] for n, after in mean.items()}

    def about(self, x: Tensor, y: Tensor, rng: Stream) -> "Updates":
        """What would have been heard of samples of the attacker's own, (N, ...) and (N,).

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
        ask: what answers one query, (B, C, H, W) -> (B, ...).
        per_batch: whether the inputs of one query share what the defense draws (`Defense.per_batch`
            is public).

    Attributes:
        queries: how many inputs have been answered so far, repeats counted.
    """

    def __init__(self, ask: Callable[[Tensor], Tensor], *, per_batch: bool = False) -> None:
        self._ask = ask
        self._per_batch = per_batch
        self.queries = 0

    def __call__(self, x: Tensor, *, repeats: int = 1, chunk: int = _CHUNK) -> Tensor:
        """Query it: evaluation mode, fresh noise each time.

        Args:
            x: inputs, (B, C, H, W) in [0, 1].
            repeats: how many releases of each input.
            chunk: inputs per query, for memory; where they share what the defense draws, each
                query has draws of its own.

        Returns:
            (repeats, B, ...), without a graph.
        """
        with torch.no_grad():
            rounds = [
                torch.cat([self._ask(part) for part in x.split(chunk)]) for _ in range(repeats)
            ]
        self.queries += repeats * len(x)
        return torch.stack(rounds)

    def mean(self, x: Tensor, *, repeats: int) -> Tensor:
        """The mean of several releases of each input, (B, ...); never holds more than two.

        It is what attackers learn from. Each input is released with draws of its own: whoever
        learns from many that share one mask learns about that mask.
        """
        chunk = 1 if self._per_batch else _CHUNK
        total = self(x, chunk=chunk)[0]
        for _ in range(repeats - 1):
            total = total + self(x, chunk=chunk)[0]
        return total / repeats
