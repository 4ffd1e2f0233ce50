"""The private records that an attack is asked about, and the hints that it may get."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal, final

import torch
from torch import Tensor

from sltoolkit.data.samples import Samples, Split
from sltoolkit.errors import DataError, SpecError
from sltoolkit.parameters.checking import check_parameters
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True)
class Targets:
    """The targets of all attacks on a victim, and how they are drawn.

    Every victim seed draws its own targets, the same for all attacks, defenses, models and cuts of
    that seed, so comparisons of these are paired, and an interval over victims covers targets that
    were not drawn. `draw` names one draw for all victims: then intervals are about these targets.

    Nobody can know the order of the targets in the batch of an update, so where a batch holds
    several, all reconstructions are judged in the best order of each batch.
    """

    count: Annotated[int, Parameter("targets of reconstruction attacks", least=1)] = 64
    part: Annotated[
        Literal["private_holdout", "private_train", "both"],
        Parameter("which part these are from; half of them from either with `both`"),
    ] = "private_holdout"
    releases: Annotated[
        int,
        Parameter("releases of each target; attackers average all, or learn from all", least=1),
    ] = 1
    batch: Annotated[
        int, Parameter("targets in the batch of one update, where updates are heard", least=1)
    ] = 1
    labels: Annotated[
        int,
        Parameter("targets of label attacks: training samples with recorded gradients", least=1),
    ] = 256
    hints: Annotated[
        int,
        Parameter("training samples per class, other than targets, with known labels", least=0),
    ] = 3
    epoch: Annotated[
        Literal["first", "last"], Parameter("epoch of the training in which gradients are recorded")
    ] = "last"
    draw: Annotated[
        int | None,
        Parameter("number of a draw that all victims share; None: one for each seed", least=0),
    ] = None

    def __post_init__(self) -> None:
        """Refuse senseless targets.

        Raises:
            SpecError: saying what was expected and what was found.
        """
        check_parameters(self)
        if self.part == "both" and self.count % (2 * self.batch):
            raise SpecError(
                f"targets.count {self.count} is no multiple of {2 * self.batch}: half of the "
                "targets are from either part, in batches of targets.batch"
            )
        if self.count % self.batch:
            raise SpecError(
                f"targets.count {self.count} is no multiple of targets.batch {self.batch}: "
                "an update is computed on a full batch"
            )


def image_targets(data: Split, held: Samples, targets: Targets, *, seed: int) -> Samples:
    """The reconstruction targets.

    Args:
        data: the split.
        held: the training samples of the client under attack.
        targets: how many, from which part, and of which draw.
        seed: the victim's seed, which draws unless `targets.draw` is given.

    Raises:
        DataError: if a part is too small.
    """
    if targets.part == "both":
        half = targets.count // 2
        return Samples.joined(
            image_targets(data, held, replace(targets, count=half, part=part), seed=seed)
            for part in ("private_train", "private_holdout")
        )
    part = held if targets.part == "private_train" else data.private_holdout
    if targets.count > len(part):
        raise DataError(
            f"{targets.count} targets asked for, but {targets.part} of {data.name} has only "
            f"{len(part)} samples: lower targets.count or enlarge the part"
        )
    return part[_drawn(part, "images", targets, seed)[: targets.count]]


def label_targets(held: Samples, targets: Targets, *, seed: int) -> tuple[Samples, Samples]:
    """The label attacks' targets and the hints, disjoint, from what the client trained on.

    Args:
        held: the training samples of the client under attack.
        targets: how many of either, and of which draw.
        seed: the victim's seed, which draws unless `targets.draw` is given.
    """
    order = _drawn(held, "labels", targets, seed)
    y = held.y[order].cpu()
    picked = torch.zeros(len(order), dtype=torch.bool)
    for c in y.unique():
        picked[(y == c).nonzero().flatten()[: targets.hints]] = True
    return held[order[~picked][: targets.labels]], held[order[picked]]


def _drawn(samples: Samples, purpose: str, targets: Targets, seed: int) -> Tensor:
    """The indices of the samples in a random order: an order, so that few are the first of many."""
    draw = seed if targets.draw is None else targets.draw
    g = Stream(draw).child("targets").fresh(purpose).torch()
    return torch.randperm(len(samples), generator=g).to(samples.x.device)
