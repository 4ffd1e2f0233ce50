"""The private records that an attack is asked about, and the truth that it is judged by."""

from dataclasses import dataclass, replace
from typing import final

from torch import Tensor

from sltoolkit.contracts.attack import AnyAttack, Family
from sltoolkit.data.samples import Samples
from sltoolkit.data.targets import Targets, image_targets, label_targets
from sltoolkit.errors import SpecError
from sltoolkit.training.victim import Victim


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """What only the referee knows about the targets.

    Attributes:
        x: their inputs, (N, C, H, W).
        y: their labels, or the attribute that the attack guesses, (N,).
        ids: their ids, (N,).
        batch: how many consecutive targets were in the batch of one update, in unknown order.
        trained: whether the victim trained on each of them, (N,) bool; None where nobody asks.
        held_out: samples that no party learned from, for judging stolen models; None if there are
            none.
    """

    x: Tensor
    y: Tensor
    ids: Tensor
    batch: int = 1
    trained: Tensor | None = None
    held_out: Samples | None = None


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """The records that one attack is asked about.

    Attributes:
        records: the targets.
        labeled: the targets of label attacks, whose gradients were recorded.
        hinted: samples whose labels may be granted.
        targets: how all of these were chosen.
    """

    records: Samples
    labeled: Samples
    hinted: Samples
    targets: Targets


def asked_about(victim: Victim, targets: Targets, family: Family) -> Asked:
    """The records that an attack of this family on a victim is asked about.

    Raises:
        DataError: if there are fewer than `targets.count`.
    """
    labeled, hinted = label_targets(victim.client.samples, targets, seed=victim.recipe.seed)
    records = labeled
    if family == "reconstruction":
        held = victim.client.samples
        records = image_targets(victim.data, held, targets, seed=victim.recipe.seed)
    return Asked(records=records, labeled=labeled, hinted=hinted, targets=targets)


def attributed(attack: AnyAttack, samples: Samples) -> Samples:
    """The samples with the attribute that the attack guesses in place of their labels.

    Raises:
        SpecError: if the attack doesn't say which attribute it guesses.
    """
    attribute = attack.attribute(samples.y)
    if attribute is None:
        raise SpecError(f"{type(attack).__name__} guesses an attribute and doesn't say which")
    return replace(samples, y=attribute)
