"""A split whose parts are given apart, by whoever knows what a network was trained on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sltoolkit.data.dataset import MapStyle, from_dataset
from sltoolkit.data.folders import folder
from sltoolkit.data.layout import Array
from sltoolkit.data.npz import npz
from sltoolkit.data.overlap import copied_rows
from sltoolkit.data.pool import PARTS, Pool, from_arrays
from sltoolkit.data.samples import Samples, Split
from sltoolkit.data.split import check_disjoint
from sltoolkit.errors import DataError

Source = (
    Pool | Samples | MapStyle | tuple[Array | Tensor, Array | Tensor] | Array | Tensor | Path | str
)


def parts(
    *, train: Source, holdout: Source, aux: Source, pool: Pool | None = None,
    name: str | None = None, classes: Sequence[str] | None = None,
) -> Split:  # fmt: skip
    """A split with the parts that you give, such as what a network was trained on elsewhere.

    `frozen` takes the accuracy on such a split for one on unseen data; nothing is drawn, and the
    parts may be of different populations. Samples are told apart by ids and groups where they are
    given; arrays, data sets and files get ids of their own.

    Args:
        train: what the network was, or will be, trained on: arrays (x, y) as in `from_arrays`, a
            map-style data set, an `.npz` file, a folder with a folder of pictures per class,
            a pool, or samples; with `pool`, source ids (n,).
        holdout: what it has never seen, in the same ways.
        aux: the attacker's own samples, in the same ways.
        pool: the data set whose source ids are given.
        name: the data set's name; by default that of the pool or of the first file.
        classes: class names; by default those of `train`.

    Raises:
        DataError: if parts share ids, groups or rows, have different shapes, or hold a class that
            isn't in `train`; or an id isn't in `pool`.
    """
    given = dict(zip(PARTS, (train, holdout, aux), strict=True))
    if pool is None:
        pools = {part: _pool(source, part, classes) for part, source in given.items()}
    else:
        pools = {part: _chosen(pool, source, part) for part, source in given.items()}
    first = pools["private_train"]
    names = tuple(classes or first.classes)
    label = name or first.name
    held = {part: _named(own, part, names, first) for part, own in pools.items()}
    if pool is None:
        held = _numbered(held, stated={k for k, s in given.items() if isinstance(s, Samples)})
    equal = 0
    if pool is not None:
        equal = copied_rows(held["aux"], held["private_train"], held["private_holdout"])
    made = Split(name=label, classes=names, drawn=False, equal_by_chance=equal, **held)
    check_disjoint(made)
    seen = copied_rows(made.private_holdout, made.private_train) if pool is None else 0
    if seen:
        raise DataError(
            f"{label}: {seen} of {len(made.private_holdout)} samples of the holdout equal training "
            "samples, value by value: they aren't held out; take these rows out"
        )
    return made


def _pool(source: Source, part: str, classes: Sequence[str] | None) -> Pool:
    if isinstance(source, Pool):
        return source
    if isinstance(source, Samples):
        names = tuple(classes or map(str, range(int(source.y.max()) + 1)))
        return Pool(name="parts", samples=source, classes=names)
    if isinstance(source, Path | str):
        return npz(source) if Path(source).suffix == ".npz" else folder(source)
    if isinstance(source, np.ndarray | Tensor):
        raise DataError(
            f"{part} is a lone array: give inputs and labels, (x, y); ids need pool=..."
        )
    if isinstance(source, tuple) and len(source) == 2:
        return from_arrays(*source, name="parts", classes=classes)
    return from_dataset(source, name="parts", classes=classes)


def _chosen(pool: Pool, ids: Source, part: str) -> Pool:
    """The samples of a pool with these ids."""
    if isinstance(ids, Pool | Samples | Path | str):
        raise DataError(f"{part} is a {type(ids).__name__}, expected source ids of {pool.name}")
    wanted = torch.as_tensor(ids).flatten().long()
    sorted_ids, order = pool.samples.ids.sort()
    place = torch.searchsorted(sorted_ids, wanted).clamp_max(len(pool) - 1)
    unknown = wanted[sorted_ids[place] != wanted]
    if len(unknown) or not len(wanted) or len(wanted.unique()) < len(wanted):
        fault = f"{len(unknown)} aren't in {pool.name}" if len(unknown) else "none, or some twice"
        raise DataError(f"{part}: of the {len(wanted)} source ids, {fault}: give each once")
    return replace(pool, samples=pool.samples[order[place]], parts=None)


def _named(own: Pool, part: str, names: tuple[str, ...], first: Pool) -> Samples:
    """The samples with labels that count in `names`."""
    shape, expected = tuple(own.samples.x.shape[1:]), tuple(first.samples.x.shape[1:])
    if shape != expected:
        raise DataError(f"{part} has samples of shape {shape}, private_train {expected}: use one")
    found = [own.classes[c] for c in own.samples.y.unique().tolist()]
    if unknown := [c for c in found if c not in names]:
        raise DataError(
            f"{part} holds the class {unknown[0]!r}, but the classes are {', '.join(names)}: leave "
            "it out, or give it in private_train"
        )
    place = torch.tensor([names.index(c) if c in names else -1 for c in own.classes])
    return replace(own.samples, y=place[own.samples.y])


def _numbered(parts: dict[str, Samples], *, stated: set[str]) -> dict[str, Samples]:
    """The same, where samples without stated ids get ids, and groups, that no other has."""
    unstated = [
        k for k, s in parts.items()
        if k not in stated and torch.equal(s.ids, torch.arange(len(s)))
    ]  # fmt: skip
    known = [s.ids for k, s in parts.items() if k not in unstated]
    known += [s.groups for s in parts.values() if not torch.equal(s.groups, s.ids)]
    start = 1 + max([int(s.max()) for s in known], default=-1)
    numbered = dict(parts)
    for part in unstated:
        s = parts[part]
        ids = torch.arange(start, start + len(s))
        alone = torch.equal(s.groups, s.ids)
        numbered[part] = replace(s, ids=ids, groups=ids if alone else s.groups)
        start += len(s)
    return numbered
