"""Pools from any map-style data set, such as those of torchvision or your own."""

import operator
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sltoolkit.data.layout import Array, channels_first
from sltoolkit.data.pool import Pool, from_arrays
from sltoolkit.errors import DataError

MODES = ("L", "RGB", "RGBA")
"""Modes of images whose bytes are brightnesses from 0 to 255."""


class MapStyle(Protocol):
    """A map-style data set, as PyTorch calls it."""

    def __len__(self) -> int:
        """The number of samples."""

    def __getitem__(self, index: int, /) -> Any:
        """A sample (x, y); further entries are ignored."""


def from_dataset(
    dataset: MapStyle, *, name: str = "dataset", classes: Sequence[str] | None = None,
    groups: Array | Tensor | None = None,
) -> Pool:  # fmt: skip
    """A pool from a map-style data set, read once from beginning to end.

    Turn augmentation and normalization off: pixels must be uint8 or lie in [0, 1].

    Args:
        dataset: gives (x, y, ...) at 0 to len-1. x is an image of PIL, or a tensor or array of
            shape (C, H, W), (H, W, C), (H, W) or (d,); y an integer. The source id of a sample
            is its index.
        name: the data set's name.
        classes: class names; by default the numbers 0 to max(y).
        groups: (N,) integers; samples of one person, patient or photograph share one.

    Raises:
        DataError: if the data set is empty, its samples differ in shape or type (the message names
            the first that differs), or `from_arrays` refuses them.
    """
    if len(dataset) == 0:
        raise DataError(f"{name}: the data set is empty")
    inputs: list[Array] = []
    labels: list[int] = []
    for index in range(len(dataset)):
        x, y = _sample(dataset[index], f"{name}: sample {index}")
        if inputs and (x.shape, x.dtype) != (inputs[0].shape, inputs[0].dtype):
            raise DataError(
                f"{name}: sample {index} is {x.shape} {x.dtype}, sample 0 is {inputs[0].shape} "
                f"{inputs[0].dtype}: bring all to one size and type"
            )
        inputs.append(x)
        labels.append(y)
    x = channels_first(np.stack(inputs), name, fix="give tensors of shape (C, H, W), C 1, 3 or 4")
    return from_arrays(
        x, np.array(labels), name=name, classes=classes, groups=groups,
        layout="NCHW" if x.ndim == 4 else None,
    )  # fmt: skip


def _sample(sample: Any, where: str) -> tuple[Array, int]:
    if not isinstance(sample, tuple | list) or len(sample) < 2:
        raise DataError(f"{where} is a {type(sample).__name__}, expected a pair (x, y)")
    try:
        label = operator.index(sample[1])
    except TypeError as error:
        raise DataError(f"{where} has the label {sample[1]!r}, expected an integer") from error
    return _pixels(sample[0], where), label


def _pixels(x: Any, where: str) -> Array:
    if isinstance(x, Image.Image) and x.mode not in MODES:
        raise DataError(
            f"{where} is a picture of mode {x.mode}, expected one of {', '.join(MODES)}: "
            "use .convert('RGB')"
        )
    if isinstance(x, torch.Tensor):
        x = x.detach().cpu().numpy()
    if not isinstance(x, np.ndarray | Image.Image):
        raise DataError(
            f"{where} has an x of type {type(x).__name__}, expected a tensor, an array or a "
            "picture; give the data set a transform"
        )
    return np.asarray(x)
