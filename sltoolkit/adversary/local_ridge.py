"""Ridge regression of each block of pixels on a window of cells, with one map for all places.

It is the best linear convolutional decoder, in closed form. Every place of every sample is one row
of the regression, so a few samples determine it. Signals are treated as images of height 1.
"""

from collections.abc import Iterator, Sequence
from functools import reduce
from math import ceil
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from sltoolkit.networks.layers import centered, halvings

FOLDS = 5
"""The number of folds for the left-out error."""

CHUNK = 16
"""How many samples' windows are held in memory at once."""


@final
class LocalRidge:
    """Outputs as a linear function of a window of features, for any weight of the penalty.

    One cell of the features lies over a block of s x s pixels, where the sides of both tell s, a
    power of two. The block is predicted from the `reach` x `reach` cells around that cell. Features
    and pixels are centered place by place, and features are scaled channel by channel. With Z the
    windows and X the blocks, the fit minimizes || Z W - X ||^2 + weight * scale * || W ||^2, where
    `scale` is the mean eigenvalue of Z'Z.

    Args:
        features: (n, K, C, H, W) or (n, K, C, L), K observations of each of n >= 2 samples.
        outputs: (n, c, h, w) or (n, c, l).
        reach: the side of a window, which is odd.
    """

    def __init__(self, features: Tensor, outputs: Tensor, reach: int) -> None:
        sides, cells = outputs.shape[2:], features.shape[3:]
        stride = 2 ** halvings(sides, cells)
        flat = outputs.dim() == 3
        self._cells = tuple(ceil(side / stride) for side in sides)
        self._padded = tuple(stride * side for side in self._cells)
        self._sides = tuple(sides)
        self._kernel = (1, reach) if flat else (reach, reach)
        self._block = (1, stride) if flat else (stride, stride)
        self._mean, self._deviation = _center_and_scale(features)
        self.intercept = outputs.mean(0)
        self._numbers = outputs.numel() * features.shape[1]
        # per fold: Z'Z, Z'X and the sum of X's squares
        self._folds = [
            _products(self._rows(features[f::FOLDS], outputs[f::FOLDS]))
            for f in range(min(FOLDS, len(features)))
        ]
        self._gram = torch.stack([g for g, _, _ in self._folds]).sum(0)
        self._loads = torch.stack([b for _, b, _ in self._folds]).sum(0)
        self._rest = [_Spectrum(self._gram - g, self._loads - b) for g, b, _ in self._folds]

    def left_out_error(self, weight: float) -> float:
        """Mean squared error on each fold of the samples, by the fit to the other folds."""
        total = 0.0
        for (gram, loads, squares), rest in zip(self._folds, self._rest, strict=True):
            w = rest.solve(weight)
            total += float(squares - 2 * (w * loads).sum() + (w * (gram @ w)).sum())
        return total / self._numbers

    def predict(self, features: Tensor, weight: float) -> Tensor:
        """Outputs (N, c, ...) for features (N, C, ...)."""
        w = _Spectrum(self._gram, self._loads).solve(weight)
        found = []
        for part in features.split(CHUNK):
            blocks = (self._windows(part).double() @ w).mT.to(part)
            image = functional.fold(
                blocks, self._tall(self._padded), self._block, stride=self._block
            )
            image = image.reshape(len(part), -1, *self._padded)
            found.append(centered(image, self._sides) + self.intercept)
        return torch.cat(found)

    def _rows(self, features: Tensor, outputs: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of windows (r, C k k) and blocks (r, c s s), a few samples at a time."""
        for z, x in zip(features.split(CHUNK), outputs.split(CHUNK), strict=True):
            whole = centered(x - self.intercept, self._padded)
            whole = whole.reshape(len(x), -1, *self._tall(self._padded))
            blocks = functional.unfold(whole, self._block, stride=self._block).mT.flatten(0, 1)
            for draw in z.unbind(1):
                yield self._windows(draw).flatten(0, 1), blocks

    def _windows(self, z: Tensor) -> Tensor:
        """The window around each cell of features (n, C, ...): (n, cells, C k k)."""
        z = centered((z - self._mean) / self._deviation, self._cells)
        z = z.reshape(len(z), -1, *self._tall(self._cells))
        around = self._kernel[0] // 2, self._kernel[1] // 2
        return functional.unfold(z, self._kernel, padding=around).mT

    @staticmethod
    def _tall(sides: Sequence[int]) -> tuple[int, ...]:
        return tuple(sides) if len(sides) == 2 else (1, *sides)


@final
class _Spectrum:
    """The normal equations of a fit, to be solved for any weight."""

    def __init__(self, gram: Tensor, loads: Tensor) -> None:
        values, self._vectors = torch.linalg.eigh(gram)
        self._values = values.clamp(min=0)
        self._scale = float(self._values.mean().clamp(min=torch.finfo(values.dtype).tiny))
        self._along = self._vectors.T @ loads

    def solve(self, weight: float) -> Tensor:
        damped = self._values + weight * self._scale
        w: Tensor = self._vectors @ (self._along / damped[:, None])
        return w


def _products(rows: Iterator[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """Z'Z, Z'X and the sum of X's squares, in float64, over all chunks of rows (at least one)."""
    wide = ((z.double(), x.double()) for z, x in rows)
    products = ((z.T @ z, z.T @ x, x.square().sum()) for z, x in wide)
    return reduce(lambda a, b: (a[0] + b[0], a[1] + b[1], a[2] + b[2]), products)


def _center_and_scale(features: Tensor) -> tuple[Tensor, Tensor]:
    """The mean at every place, (C, ...), and the standard deviation per channel, (C, 1, ...)."""
    places = tuple(range(1, features.dim() - 2))
    mean = features.mean((0, 1))
    variance = features.var((0, 1), correction=0).mean(places, keepdim=True)
    return mean, torch.where(variance > 0, variance, torch.ones_like(variance)).sqrt()
