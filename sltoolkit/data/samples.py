"""Samples with source ids, and the three disjoint parts of a data set."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import final

import torch
from torch import Tensor

from sltoolkit.errors import DataError


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Samples in memory.

    Attributes:
        x: inputs, float32: images (N, C, H, W) or signals (N, C, L) in [0, 1], or features (N, d).
        y: class indices, (N,) int64.
        ids: source ids, (N,) int64, unique within the data set they come from.
        groups: (N,) int64; samples of one photograph, person or patient share a group.
    """

    x: Tensor
    y: Tensor
    ids: Tensor
    groups: Tensor

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.y)

    def __getitem__(self, index: Tensor | slice) -> "Samples":
        """The samples at `index` (a slice, an index tensor or a mask)."""
        return Samples(
            x=self.x[index], y=self.y[index], ids=self.ids[index], groups=self.groups[index]
        )

    @property
    def majority_share(self) -> float:
        """The share of the most frequent class: the accuracy of the best constant guess.

        Raises:
            DataError: if there are no samples.
        """
        if not len(self):
            raise DataError("the majority's share needs at least one sample, got none")
        return int(self.y.bincount().max()) / len(self)

    @staticmethod
    def joined(parts: Iterable["Samples"]) -> "Samples":
        """The samples of all parts, one part after the other."""
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        x, y, ids, groups = map(torch.cat, columns)
        return Samples(x=x, y=y, ids=ids, groups=groups)

    def digest(self) -> str:
        """A hash of pixels, labels and ids: 16 hexadecimal digits."""
        h = hashlib.sha256()
        for part in (self.x, self.y, self.ids):
            h.update(str((tuple(part.shape), part.dtype)).encode())
            h.update(part.contiguous().cpu().numpy().tobytes())
        return h.hexdigest()[:16]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """The three disjoint parts of a data set in an experiment.

    Attributes:
        name: the data set's name.
        private_train: trains the victim.
        private_holdout: measures utility, and provides held-out targets.
        aux: the attacker's own samples.
        classes: class names; their number is the number of classes.
        drawn: whether the parts were drawn from one pool, so that a network that was trained
            elsewhere may have seen any of them; False if somebody states what each part holds.
        equal_by_chance: samples of aux that equal private ones but are other sources, as the pool's
            ids tell.
        digests: hashes by the names of the parts, recorded in every key and row.
    """

    name: str
    private_train: Samples
    private_holdout: Samples
    aux: Samples
    classes: tuple[str, ...]
    drawn: bool = False
    equal_by_chance: int = 0
    digests: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        parts = ("private_train", "private_holdout", "aux")
        object.__setattr__(self, "digests", {p: getattr(self, p).digest() for p in parts})

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input, without the batch axis."""
        return tuple(self.private_train.x.shape[1:])

    def __repr__(self) -> str:
        """Name, shape, classes and sizes."""
        sizes = f"{len(self.private_train)} train, {len(self.private_holdout)} held out"
        return (
            f"Split({self.name}: {'x'.join(map(str, self.shape))}, {len(self.classes)} classes, "
            f"{sizes}, {len(self.aux)} aux)"
        )

    def to(self, device: torch.device | str) -> "Split":
        """The same split with its tensors on `device`."""

        def move(s: Samples) -> Samples:
            return Samples(
                x=s.x.to(device), y=s.y.to(device), ids=s.ids.to(device), groups=s.groups.to(device)
            )

        return replace(
            self,
            private_train=move(self.private_train),
            private_holdout=move(self.private_holdout),
            aux=move(self.aux),
        )
