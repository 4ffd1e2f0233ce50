"""How well the deployed system does its task, on the same path that is attacked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from sltoolkit.data.samples import Samples
from sltoolkit.streams import Stream
from sltoolkit.training.deployed import Deployed


@final
@dataclass(frozen=True, kw_only=True)
class Utility:
    """How often the system is right, averaged over its clients.

    Attributes:
        accuracy: the share of samples that are classified correctly.
        balanced_accuracy: the mean over classes of that share among the samples of a class (over
            the classes that occur). With two classes that is (sensitivity + specificity) / 2, and
            any constant guess reaches one over the number of classes.
    """

    accuracy: float
    balanced_accuracy: float


def measure_utility(
    members: Sequence[Deployed], server: nn.Module, samples: Samples, rng: Stream, batch: int = 512
) -> Utility:
    """The utility of the deployed members on samples that nobody trained on.

    Args:
        members: the clients as deployed, defense and tail included; each classifies every sample.
        server: the server's network.
        samples: at least one sample.
        rng: the victim's root stream; the defenses' noise comes from children of it.
        batch: how many samples are classified at a time.
    """
    hits = _hits(members, server, samples, rng, batch)
    recalls = [hits[samples.y == c].double().mean() for c in samples.y.unique()]
    return Utility(
        accuracy=int(hits.sum()) / (len(members) * len(samples)),
        balanced_accuracy=float(torch.stack(recalls).mean()) / len(members),
    )


def _hits(
    members: Sequence[Deployed], server: nn.Module, samples: Samples, rng: Stream, batch: int
) -> Tensor:
    """(N,) int64: how many members classify each sample correctly."""
    hits = torch.zeros_like(samples.y)
    with torch.no_grad():
        for k, member in enumerate(members):
            own = member.replica()
            stream = rng.child(f"utility{k}")
            said = []
            for x in samples.x.split(batch):
                logits = server(own.smash(x, stream, hops=len(own.hops))[1])
                logits = own.tail(logits) if own.tail is not None else logits
                said.append(logits.argmax(1))
            hits += torch.cat(said) == samples.y
    return hits
