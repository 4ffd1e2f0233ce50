"""Draws parts of asked sizes from a pool: groups stay whole, and classes keep their shares."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

Array = np.ndarray[Any, Any]

OUT = -1
"""The part of a sample that belongs to none."""


def drawn(
    y: Array, groups: Array, order: Array, sizes: Sequence[int], *, classes: int,
    homes: Array | None = None,
) -> list[Array]:  # fmt: skip
    """The samples of each part, in the order of the draw; a part may be smaller than asked for.

    Groups are placed whole, the largest first, each where its classes are missing most; what is
    not asked for is a part as well, so that large groups are drawn no more often than small ones.
    Then samples that are alone in their group fill the parts. Where these don't suffice, a part
    takes some samples of one more group, and the others of that group are left out.

    Args:
        y: (N,) class indices.
        groups: (N,) integers; samples of a group go to one part.
        order: (N,) a random permutation.
        sizes: how many samples each part shall have.
        classes: the number of classes.
        homes: (N,) the part in which a sample must be, if the data set itself says so. Then a part
            may hold some samples of a group, and those with another home than the first of their
            group are left out.
    """
    counts = np.bincount(y, minlength=classes)
    if homes is None:
        part = _Placing(y=y, groups=groups, order=order, classes=classes).parts(sizes)
    else:
        part = np.full(len(y), OUT)
        first = dict(zip(groups[order[::-1]].tolist(), homes[order[::-1]].tolist(), strict=True))
        own = homes == np.array([first[g] for g in groups.tolist()])
        for k, size in enumerate(sizes):
            free = order[(own & (homes == k))[order]]
            _fill(part, k, free, y, rounded(counts, size))
    return [order[part[order] == k] for k in range(len(sizes))]


def rounded(weights: Array, total: int) -> Array:
    """Integers in proportion to integer weights, with this total (largest remainders)."""
    low, left = np.divmod(weights * total, max(1, int(weights.sum())))
    low[np.argsort(-left, kind="stable")[: total - int(low.sum())]] += 1
    return low


def _fill(part: Array, k: int, free: Array, y: Array, wanted: Array) -> None:
    """Put the first free samples into part k, as many of each class as wanted, then any others."""
    for c in np.flatnonzero(wanted):
        part[free[y[free] == c][: wanted[c]]] = k
    left = free[part[free] == OUT]
    part[left[: int(wanted.sum()) - int((part[free] == k).sum())]] = k


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Placing:
    """Samples with their groups, to be placed in parts."""

    y: Array
    groups: Array
    order: Array
    classes: int

    def parts(self, sizes: Sequence[int]) -> Array:
        """The part of each sample: (N,)."""
        part = np.full(len(self.y), OUT)
        quotas = self._quotas(sizes)
        alone, shared = self._members()
        left = self._place(part, shared, quotas)
        for k, size in enumerate(sizes):
            missing = _missing(part, k, self.y, quotas[k])
            free = alone[part[alone] == OUT]
            for c in np.flatnonzero(missing):
                part[free[self.y[free] == c][: missing[c]]] = k
            self._fill_from_groups(part, k, [m for m in left if len(m) <= size], quotas[k])
            left = [m for m in left if (part[m] == OUT).all()]
            free = alone[part[alone] == OUT]
            part[free[: size - int((part == k).sum())]] = k
        return part

    def _quotas(self, sizes: Sequence[int]) -> Array:
        """Samples of each class for each part and, last, for none: (parts + 1, classes)."""
        quotas, left = [], np.bincount(self.y, minlength=self.classes)
        for size in sizes:
            quotas.append(rounded(left, min(size, int(left.sum()))))
            left = left - quotas[-1]
        return np.stack([*quotas, left])

    def _members(self) -> tuple[Array, list[Array]]:
        """The samples that are alone in their group, and the members of each larger group."""
        ordered = self.groups[self.order]
        size = np.bincount(ordered)[ordered]
        several = self.order[size > 1]
        by_group = several[np.argsort(self.groups[several], kind="stable")]
        bounds = np.flatnonzero(np.diff(self.groups[by_group])) + 1
        shared = np.split(by_group, bounds) if len(several) else []
        place = np.argsort(self.order)
        # by size, then by the place of the first member in the draw
        return self.order[size == 1], sorted(shared, key=lambda m: (-len(m), place[m[0]]))

    def _place(self, part: Array, shared: Sequence[Array], quotas: Array) -> list[Array]:
        """Put whole groups into parts; the groups that are left over are returned."""
        need, left = quotas.copy(), []
        for members in shared:
            own = np.bincount(self.y[members], minlength=self.classes)
            score = ((need - own / 2) / quotas.clip(1) * own).sum(1)
            score[need.sum(1) < len(members)] = -np.inf
            k = int(score.argmax())
            if k == len(quotas) - 1 or score[k] == -np.inf:
                k = len(quotas) - 1
                left.append(members)
            else:
                part[members] = k
            need[k] -= own
        return left

    def _fill_from_groups(self, part: Array, k: int, left: list[Array], quota: Array) -> None:
        """Fill part k with some samples of further groups, from those that help most."""
        counts = [np.bincount(self.y[m], minlength=self.classes) for m in left]
        while (missing := _missing(part, k, self.y, quota)).any() and left:
            help_of = [int(np.minimum(c, missing).sum()) for c in counts]
            best = int(np.argmax(help_of))
            members = left.pop(best)
            wanted = np.minimum(counts.pop(best), missing) if help_of[best] else missing
            _fill(part, k, members, self.y, wanted)


def _missing(part: Array, k: int, y: Array, quota: Array) -> Array:
    """How many samples of each class part k still takes, in all as many as it lacks."""
    missing = quota - np.bincount(y[part == k], minlength=len(quota))
    short = int(missing.sum())
    wanted = missing.clip(0)
    return wanted if wanted.sum() <= short else rounded(wanted, max(0, short))
