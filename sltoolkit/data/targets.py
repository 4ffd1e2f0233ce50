"""Which private records an attack is asked about, and the hints it may be given."""

from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from sltoolkit.data.samples import Samples, Split
from sltoolkit.errors import DataError, SpecError
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True)
class Targets:
    """The targets of all attacks on a victim; the same ones for every victim on a split.

    Attributes:
        count: targets of reconstruction attacks.
        part: where they come from.
        releases: how often each is released; attackers average (or learn from) all of them.
        batch: targets in the batch of one update, where updates are heard. Its order is nobody's
            to know, so then all reconstructions are judged in the best order of each batch.
        labels: targets of label attacks: training samples whose gradients are recorded.
        hints: training samples per class, besides the targets, whose labels may be granted.
        epoch: the epoch of the training in which gradients are recorded.
    """

    count: int = 64
    part: Literal["private_holdout", "private_train"] = "private_holdout"
    releases: int = 1
    batch: int = 1
    labels: int = 256
    hints: int = 3
    epoch: Literal["first", "last"] = "last"

    def __post_init__(self) -> None:
        least = {"count": 1, "releases": 1, "batch": 1, "labels": 1, "hints": 0}
        for name, smallest in least.items():
            value = getattr(self, name)
            if value < smallest:
                raise SpecError(f"targets.{name} must be at least {smallest}, got {value}")
        if self.count % self.batch:
            raise SpecError(
                f"targets.count {self.count} is no multiple of targets.batch {self.batch}: "
                "an update is computed on a full batch"
            )


def image_targets(data: Split, held: Samples, targets: Targets) -> Samples:
    """The reconstruction targets: a fixed draw from the part (of what the client held).

    Raises:
        DataError: if the part is too small.
    """
    part = held if targets.part == "private_train" else data.private_holdout
    if targets.count > len(part):
        raise DataError(
            f"{targets.count} targets asked for, but {targets.part} of {data.name} has only "
            f"{len(part)} samples: lower targets.count or enlarge the part"
        )
    return part[_draw(part, "images")[: targets.count]]


def label_targets(held: Samples, targets: Targets) -> tuple[Samples, Samples]:
    """The label attacks' targets and the hints, disjoint, from what the client trained on."""
    order = _draw(held, "labels")
    y = held.y[order].cpu()
    picked = torch.zeros(len(order), dtype=torch.bool)
    for c in y.unique():
        picked[(y == c).nonzero().flatten()[: targets.hints]] = True
    return held[order[~picked][: targets.labels]], held[order[picked]]


def _draw(samples: Samples, purpose: str) -> Tensor:
    g = Stream(0).child("targets").fresh(purpose).torch()
    return torch.randperm(len(samples), generator=g).to(samples.x.device)
