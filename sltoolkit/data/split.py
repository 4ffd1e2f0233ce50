"""Splitting a pool into private and attacker parts, and checking that they are disjoint."""

import itertools
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from sltoolkit.data.overlap import copied_rows
from sltoolkit.data.pool import PARTS, Pool
from sltoolkit.data.samples import Samples, Split
from sltoolkit.errors import DataError
from sltoolkit.streams import Stream

NEAR = 0.02
"""Images whose 8x8 gray thumbnails differ by less (root mean square) are near-duplicates."""


def split(pool: Pool, *, train: int, holdout: int, aux: int, seed: int = 0) -> Split:
    """Draw the three parts: disjoint by source id and by group, without near-duplicates.

    A group goes to one part only; its samples beyond the size of the part are left out. A sample
    of a later part that is a near-duplicate of one in an earlier part is left out, too.

    Args:
        pool: the data set.
        train: samples of `private_train`.
        holdout: samples of `private_holdout`.
        aux: samples of the attacker.
        seed: the seed of the draw, which is independent of the victim's seed.

    Raises:
        DataError: if the pool is too small, or a class is missing in the training part.
    """
    wanted = dict(zip(PARTS, (train, holdout, aux), strict=True))
    for part, count in wanted.items():
        if count < 1:
            raise DataError(f"{pool.name}: {part} needs at least 1 sample, {count} asked for")
    order = torch.randperm(len(pool), generator=Stream(seed).child("split").torch())
    taken: dict[str, Tensor] = {}
    used = torch.empty(0, dtype=torch.int64)  # groups that already belong to a part
    for k, (part, count) in enumerate(wanted.items()):
        free = order if pool.parts is None else order[pool.parts[order] == k]
        free = free[~torch.isin(pool.samples.groups[free], used)]
        earlier = torch.cat([*taken.values()]) if taken else torch.empty(0, dtype=torch.int64)
        taken[part] = _take(pool, free, count, earlier, part, wanted)
        used = torch.cat([used, pool.samples.groups[taken[part]].unique()])
    parts = {part: pool.samples[index] for part, index in taken.items()}
    absent = set(range(len(pool.classes))) - set(parts["private_train"].y.tolist())
    if absent:
        names = ", ".join(pool.classes[c] for c in sorted(absent))
        raise DataError(
            f"{pool.name}: no training sample of class {names} among {train}: "
            "ask for more training samples"
        )
    made = Split(name=pool.name, classes=pool.classes, **parts)
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
    if copies:
        raise DataError(
            f"{data.name}: {copies} of {len(data.aux)} samples of aux equal private ones, value by "
            "value, under other ids: an attacker must not own what it is asked to recover; take "
            "these rows out of aux"
        )


def _take(
    pool: Pool, free: Tensor, count: int, earlier: Tensor, part: str, wanted: dict[str, int]
) -> Tensor:
    if pool.parts is None:
        free = _groups_together(free, pool.samples.groups)
    picked = torch.empty(0, dtype=torch.int64)
    while len(picked) < count and len(free):
        batch, free = free[: count - len(picked)], free[count - len(picked) :]
        picked = torch.cat([picked, batch[~near_duplicates(pool.samples, batch, earlier)]])
    if len(picked) < count:
        asked = " + ".join(f"{n} {p}" for p, n in wanted.items())
        raise DataError(
            f"{pool.name}: only {len(picked)} samples are left for {part}, {count} asked for "
            f"({asked} of {len(pool)}; groups stay together, near-duplicates are left out): "
            "ask for fewer samples"
        )
    return picked


def _groups_together(free: Tensor, groups: Tensor) -> Tensor:
    # by the place of each group's first sample, so that a part uses few groups
    _, inverse = groups[free].unique(return_inverse=True)
    first = torch.full((int(inverse.max()) + 1,) if len(free) else (0,), len(free))
    first.scatter_reduce_(0, inverse, torch.arange(len(free)), "amin")
    return free[torch.argsort(first[inverse], stable=True)]


def near_duplicates(samples: Samples, index: Tensor, earlier: Tensor) -> Tensor:
    """Whether each sample at `index` nearly equals one at `earlier`: (len(index),) bool."""
    if len(earlier) == 0 or len(index) == 0:
        return torch.zeros(len(index), dtype=torch.bool)
    mine, theirs = _thumbnails(samples.x[index]), _thumbnails(samples.x[earlier])
    near = NEAR if samples.x.ndim == 4 else 1e-6
    found = [
        torch.cdist(chunk, theirs).amin(1) < near * mine.shape[1] ** 0.5
        for chunk in mine.split(1024)
    ]
    return torch.cat(found)


def _thumbnails(x: Tensor) -> Tensor:
    if x.ndim != 4:
        return x.flatten(1).double()
    return functional.adaptive_avg_pool2d(x.mean(1, keepdim=True), 8).flatten(1).double()
