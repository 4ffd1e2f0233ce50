"""A whole data set before it is split; the only place where arrays are checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from sltoolkit.data.layout import Layout, documented
from sltoolkit.data.samples import Samples
from sltoolkit.errors import DataError

PARTS = ("private_train", "private_holdout", "aux")


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """All samples of a data set.

    Attributes:
        name: the data set's name.
        samples: the samples.
        classes: class names.
        parts: (N,) indices into `PARTS`, where the data set itself says in which part a sample may
            be, for example by regions of a photograph; None where every sample may be in any part.
    """

    name: str
    samples: Samples
    classes: tuple[str, ...]
    parts: Tensor | None = None

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.samples)


def from_arrays(
    x: np.ndarray | Tensor, y: np.ndarray | Tensor, *, name: str = "arrays",
    classes: Sequence[str] | None = None, groups: np.ndarray | Tensor | None = None,
    ids: np.ndarray | Tensor | None = None, parts: np.ndarray | Tensor | None = None,
    layout: Layout | None = None,
) -> Pool:  # fmt: skip
    """A pool from arrays in memory.

    Args:
        x: images (N, C, H, W) or signals (N, C, L), uint8 or float in [0, 1]; or features (N, d),
            uint8 or float, which are taken as they are: only pixels and signals are divided by 255.
        y: class indices, (N,) integers.
        name: the data set's name, in errors and rows.
        classes: class names; by default the numbers 0 to max(y).
        groups: (N,) integers; samples of one person, patient or photograph share one.
        ids: (N,) source ids; by default 0 to N-1.
        parts: as in `Pool`.
        layout: the order of the axes of images and signals, if it is another one or the shape
            leaves doubts: `NCHW`, `NHWC`, `NHW` (gray images) or `NCL` (signals).

    Raises:
        DataError: if shapes don't fit or suggest another layout, values are out of range or not
            numbers, or labels are wrong.
    """
    pixels, labels = torch.as_tensor(x), torch.as_tensor(y)
    if pixels.ndim not in (2, 3, 4) or len(pixels) == 0:
        raise DataError(
            f"{name}: x has shape {tuple(pixels.shape)}, expected images (N, C, H, W), signals "
            "(N, C, L) or features (N, d) with at least one sample"
        )
    if labels.shape != (len(pixels),):
        raise DataError(
            f"{name}: y has shape {tuple(labels.shape)}, expected ({len(pixels)},): one class "
            "index per sample"
        )
    pixels = _scaled(documented(pixels, name, layout=layout), name)
    labels = _class_indices(labels, name, classes)
    count = int(labels.max()) + 1
    names = tuple(classes) if classes is not None else tuple(map(str, range(count)))
    own = torch.arange(len(labels)) if ids is None else torch.as_tensor(ids).long()
    if len(own) != len(labels) or len(own.unique()) != len(own):
        raise DataError(f"{name}: source ids must be one per sample and all different")
    shared = own if groups is None else torch.as_tensor(groups).long()
    if len(shared) != len(labels):
        raise DataError(f"{name}: groups has {len(shared)} entries for {len(labels)} samples")
    return Pool(
        name=name,
        samples=Samples(x=pixels, y=labels, ids=own, groups=shared),
        classes=names,
        parts=None if parts is None else torch.as_tensor(parts).long(),
    )


def _scaled(x: Tensor, name: str) -> Tensor:
    if x.dtype == torch.uint8:
        return x.float() / 255 if x.ndim > 2 else x.float()
    if not x.is_floating_point():
        raise DataError(f"{name}: x has type {x.dtype}, expected uint8 or float")
    bad = int((~torch.isfinite(x)).sum())
    if bad:
        raise DataError(f"{name}: {bad} of {x.numel()} values are no numbers (NaN or infinite)")
    if x.ndim > 2 and (float(x.min()) < 0 or float(x.max()) > 1):
        raise DataError(
            f"{name}: values lie in [{float(x.min()):.3g}, {float(x.max()):.3g}], expected "
            "[0, 1]: divide by 255, or undo the normalization"
        )
    return x.float()


def _class_indices(y: Tensor, name: str, classes: Sequence[str] | None) -> Tensor:
    if y.is_floating_point() and not bool((y == y.round()).all()):
        raise DataError(f"{name}: labels must be integers, found {float(y[y != y.round()][0])}")
    y = y.long()
    top = len(classes) if classes is not None else int(y.max()) + 1
    if int(y.min()) < 0 or int(y.max()) >= top:
        raise DataError(
            f"{name}: labels lie in [{int(y.min())}, {int(y.max())}], expected 0 to {top - 1} "
            f"for {top} classes"
        )
    return y
