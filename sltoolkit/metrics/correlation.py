"""Distance correlation: how strongly z depends on x, linearly or not.

Distances are *not* squared. With squared distances the statistic sees only linear dependence (in
one dimension it is the absolute Pearson correlation), which is a common mistake.
"""

import torch
from torch import Tensor

from sltoolkit.errors import SpecError
from sltoolkit.shapes import Batch, Scalar

_EPS = 1e-12  # what it guards is in units of the data, so that no data are too small for it


def distance_correlation(x: Batch, z: Batch) -> Scalar:
    """The (biased) distance correlation of a batch, differentiable: NoPeek's loss.

    dCor = sqrt(dCov2(x, z) / sqrt(dVar2(x) dVar2(z))) (Szekely, Rizzo and Bakirov 2007,
    definition 4). In high dimension it is near 1 even for independent data (0.997 at 64 samples
    in 3,072 dimensions), so report `unbiased_distance_correlation`.

    Args:
        x: (n, ...), flattened per sample.
        z: (n, ...), flattened per sample.

    Returns:
        A number in [0, 1] of z's precision. Its gradient is finite everywhere: zero where samples
        coincide or nothing varies. A constant side gives sqrt(1e-12).

    Raises:
        SpecError: the numbers of samples differ, or there are fewer than two.
    """
    _check(x, z, at_least=2)
    a, b = _center(_distances(x)), _center(_distances(z))
    scale = (a.square().mean() * b.square().mean()).clamp(min=_EPS**2).sqrt()
    return ((a * b).mean() / scale).clamp(min=_EPS).sqrt().to(z.dtype)


def unbiased_distance_correlation(x: Batch, z: Batch) -> Scalar:
    """The bias-corrected squared distance correlation R*, for reports.

    Szekely and Rizzo 2014 ("Partial distance correlation with methods for dissimilarities"),
    definitions 2 and 3. It estimates dCor squared and is 0 on average for independent data, so it
    may be negative.

    Args:
        x: (n, ...), flattened per sample.
        z: (n, ...), flattened per sample.

    Returns:
        A number in [-1, 1] of z's precision; 0 when a side is constant.

    Raises:
        SpecError: the numbers of samples differ, or there are fewer than four.
    """
    _check(x, z, at_least=4)
    a, b = _u_center(_distances(x)), _u_center(_distances(z))
    scale = (a.square().sum() * b.square().sum()).clamp(min=_EPS**2).sqrt()
    return ((a * b).sum() / scale).to(z.dtype)


def _check(x: Tensor, z: Tensor, *, at_least: int) -> None:
    if len(x) != len(z) or len(x) < at_least:
        raise SpecError(
            f"distance correlation pairs at least {at_least} samples with their releases, "
            f"got {len(x)} and {len(z)}"
        )


def _distances(x: Tensor) -> Tensor:
    """(n, n) float64 Euclidean distances, in units of the samples' spread around their mean.

    They come from the Gram matrix, several times faster than `torch.cdist` and its gradient. In
    float64 and with the mean taken off, its cancellation is far below `_EPS`; squared distances
    below `_EPS` count as 0, with gradient 0. The unit is a constant for the gradient, since the
    correlation is scale-free.
    """
    flat = x.reshape(len(x), -1).double()
    flat = flat - flat.mean(0)
    spread = flat.detach().square().sum(1).mean().sqrt()
    flat = flat / spread.clamp(min=torch.finfo(torch.float64).tiny)
    gram = flat @ flat.T
    norms = gram.diagonal()
    squared = norms[:, None] + norms - 2 * gram
    return squared.clamp(min=_EPS).sqrt() * (squared > _EPS)


def _center(d: Tensor) -> Tensor:
    """Double centering: rows and columns have mean 0."""
    return d - d.mean(0, keepdim=True) - d.mean(1, keepdim=True) + d.mean()


def _u_center(d: Tensor) -> Tensor:
    """U-centering: off the diagonal, rows and columns sum to 0; the diagonal is 0."""
    n = len(d)
    rows = d.sum(0, keepdim=True) / (n - 2)
    columns = d.sum(1, keepdim=True) / (n - 2)
    centered = d - rows - columns + d.sum() / ((n - 1) * (n - 2))
    return centered.fill_diagonal_(0)
