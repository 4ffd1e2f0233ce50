"""Splitting a pool into private and attacker parts, and checking that they are disjoint."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from sltoolkit.data.draw import drawn
from sltoolkit.data.likeness import families
from sltoolkit.data.overlap import copied_rows
from sltoolkit.data.pool import PARTS, Pool
from sltoolkit.data.population import check_population
from sltoolkit.data.samples import Samples, Split
from sltoolkit.errors import DataError, SpecError, lookup
from sltoolkit.streams import Stream

Duplicates = Literal["together", "ignore"]
"""What becomes of near-duplicate images that different groups hold."""


def split(
    pool: Pool, *, train: int, holdout: int, aux: int, seed: int = 0,
    duplicates: Duplicates = "together",
) -> Split:  # fmt: skip
    """Draw the three parts: disjoint by source id and by group, each with the pool's population.

    Each part has the pool's class shares. A group goes to one part only, and so do near-duplicate
    images (`likeness.families`). Equal rows of features are different people, unless they share a
    group. What was drawn is compared with the pool (`population.check_population`).

    Args:
        pool: the data set.
        train: samples of `private_train`.
        holdout: samples of `private_holdout`.
        aux: samples of the attacker.
        seed: the seed of the draw, which is independent of the victim's seed.
        duplicates: `together` puts near-duplicate images, and equal signals, into one part;
            `ignore` takes samples for different ones unless they share a group.

    Raises:
        DataError: if the pool is too small, or a class is missing in the training part.
        SpecError: if a group is larger than each part, or class shares or marginals of a part
            differ from the pool's beyond chance; the message gives the shares and says what helps.
    """
    wanted = dict(zip(PARTS, (train, holdout, aux), strict=True))
    for part, count in wanted.items():
        if count < 1:
            raise DataError(f"{pool.name}: {part} needs at least 1 sample, {count} asked for")
    lookup(_FAMILIES, duplicates, "treatment of duplicates")
    groups = _FAMILIES[duplicates](pool.samples)
    if pool.parts is None:
        _check_groups(pool, groups, wanted, duplicates)
    order = torch.randperm(len(pool), generator=Stream(seed).child("split").torch())
    taken = drawn(
        pool.samples.y.numpy(), groups.numpy(), order.numpy(), tuple(wanted.values()),
        classes=len(pool.classes), homes=None if pool.parts is None else pool.parts.numpy(),
    )  # fmt: skip
    index = {part: torch.from_numpy(i) for part, i in zip(PARTS, taken, strict=True)}
    _check_sizes(pool, index, wanted, groups)
    parts = {part: pool.samples[i] for part, i in index.items()}
    absent = set(range(len(pool.classes))) - set(parts["private_train"].y.tolist())
    if absent:
        raise DataError(_absent(pool, sorted(absent), train))
    check_population(pool, index, groups)
    equal = copied_rows(parts["aux"], parts["private_train"], parts["private_holdout"])
    made = Split(name=pool.name, classes=pool.classes, drawn=True, equal_by_chance=equal, **parts)
    check_disjoint(made)
    return made


def with_foreign_aux(data: Split, other: Pool, *, count: int, seed: int = 0) -> Split:
    """The split with attacker samples from another data set.

    Their source ids and groups become negative, so that they differ from all private ones.

    Args:
        data: the split.
        other: the other data set.
        count: samples of the attacker.
        seed: the seed of the draw.

    Raises:
        DataError: if `other` has too few samples, another shape, or more classes.
    """
    shape, classes = tuple(other.samples.x.shape[1:]), len(other.classes)
    if shape != data.shape or classes > len(data.classes):
        raise DataError(
            f"the attacker's samples from {other.name} have shape {shape} and {classes} classes, "
            f"but those of {data.name} shape {data.shape} and {len(data.classes)}: an attacker of "
            "this client needs the same shape, and no more classes"
        )
    if count > len(other):
        raise DataError(
            f"{other.name} has {len(other)} samples, {count} asked for the attacker: lower aux"
        )
    order = torch.randperm(len(other), generator=Stream(seed).child("foreign").torch())
    drawn = other.samples[order[:count]]
    return replace(data, aux=replace(drawn, ids=-1 - drawn.ids, groups=-1 - drawn.groups))


def check_disjoint(data: Split) -> None:
    """Check that parts share no source id, no group, and that aux holds no copy of a private row.

    `train` and `frozen` check every split, also one of your own making.

    Raises:
        DataError: naming the parts and what they share.
    """
    for one, other in itertools.combinations(PARTS, 2):
        a, b = getattr(data, one), getattr(data, other)
        for what in ("ids", "groups"):
            shared = int(torch.isin(getattr(a, what), getattr(b, what)).sum())
            if shared:
                raise DataError(
                    f"{data.name}: {shared} samples of {one} share {what} with {other}: an "
                    "attacker must not own what it is asked to recover; split by source and group"
                )
    copies = copied_rows(data.aux, data.private_train, data.private_holdout)
    if copies > data.equal_by_chance:
        raise DataError(
            f"{data.name}: {copies} of {len(data.aux)} samples of aux equal private ones, value by "
            "value, under other ids: an attacker must not own what it is asked to recover; take "
            "these rows out of aux"
        )


def _compact(samples: Samples) -> Tensor:
    numbers: Tensor = torch.unique(samples.groups, return_inverse=True)[1]
    return numbers


_FAMILIES: dict[str, Callable[[Samples], Tensor]] = {"together": families, "ignore": _compact}
"""Treatment of duplicates -> function that numbers what must stay in one part."""


def _check_groups(pool: Pool, groups: Tensor, wanted: dict[str, int], duplicates: str) -> None:
    counts = torch.bincount(groups)
    largest, most = int(counts.max()), max(wanted.values())
    if largest > most:
        first = int((groups == counts.argmax()).nonzero()[0])
        alike = len(pool.samples.groups[groups == counts.argmax()].unique()) > 1
        raise SpecError(
            f"{pool.name}: a group of {largest} samples (with source id "
            f"{int(pool.samples.ids[first])}) is larger than the largest part, {most}, and a group "
            "goes to one part: ask for larger parts, or take samples of this group out"
            + ("; if its images look alike but are different sources, pass duplicates='ignore'"
               if alike and duplicates == "together" else "")
        )  # fmt: skip


def _check_sizes(
    pool: Pool, taken: dict[str, Tensor], wanted: dict[str, int], groups: Tensor
) -> None:
    used = torch.cat([groups[i] for i in taken.values()])
    for part, count in wanted.items():
        if len(taken[part]) >= count:
            continue
        left = torch.bincount(groups[~torch.isin(groups, used)])
        if pool.parts is None and len(left) and int(left.max()) > count:
            raise SpecError(
                f"{pool.name}: the groups that are left have up to {int(left.max())} samples, and "
                f"a group must not be larger than its part, {count} for {part}: ask for a larger "
                "part, or take samples of large groups out"
            )
        asked = " + ".join(f"{n} {p}" for p, n in wanted.items())
        raise DataError(
            f"{pool.name}: only {len(taken[part])} samples are left for {part}, {count} asked for "
            f"({asked} of {len(pool)}; groups and near-duplicates stay together): "
            "ask for fewer samples"
        )


def _absent(pool: Pool, absent: list[int], train: int) -> str:
    never = [c for c in absent if c not in set(pool.samples.y.tolist())]
    names = ", ".join(pool.classes[c] for c in never or absent)
    if never:
        return (
            f"{pool.name}: no sample at all is of class {names}, of {len(pool.classes)} classes: "
            "number the classes that occur from 0 on, without gaps"
        )
    return (
        f"{pool.name}: no training sample of class {names} among {train}: "
        "ask for more training samples"
    )
