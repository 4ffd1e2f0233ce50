"""Maximum mean discrepancy with several Gaussian kernels (MK-MMD)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sltoolkit.errors import SpecError
from sltoolkit.shapes import Scalar

SCALES = (0.125, 0.25, 0.5, 1.0, 2.0)
"""The kernels' squared bandwidths in mean squared distances, 2^-3 to 2^1 as in FORA and DAN."""


def mk_mmd(
    a: Tensor,
    b: Tensor,
    *,
    bandwidths: Sequence[float] | None = None,
    unbiased: bool = True,
) -> Scalar:
    """The squared MK-MMD between two samples; differentiable in both.

    Gretton et al. 2012, equations 3 (unbiased) and 5; Long et al. 2015 (DAN) for several kernels:
        k(x, y) = sum over s of exp(-|| x - y ||^2 / (2 s^2)).
    The kernels are summed, not averaged, as in FORA's public code, so the value grows with their
    number. (The code adds 2 / (n - 1), which has no gradient.)

    Args:
        a: one sample, (n, ...); flattened.
        b: the other sample, (m, ...).
        bandwidths: the s; by default the roots of `SCALES` times the mean squared distance of all
            pairs in both samples (a point with itself included), through which no gradient flows.
        unbiased: whether to leave out the pairs of a point with itself; the value can then be
            negative. The biased value is zero for identical samples.

    Raises:
        SpecError: if a sample has fewer than two points, or the points differ in size.
    """
    first, second = a.flatten(1), b.flatten(1)
    if min(len(first), len(second)) < 2 or first.shape[1] != second.shape[1]:
        raise SpecError(
            "MK-MMD compares two samples of at least 2 points of one size, got shapes "
            f"{tuple(a.shape)} and {tuple(b.shape)}"
        )
    n, m = len(first), len(second)
    distances = _squared_distances(torch.cat([first, second]))
    if bandwidths is None:
        squares = [scale * distances.detach().mean() for scale in SCALES]
    else:
        squares = [distances.new_tensor(s**2) for s in bandwidths]
    tiny = torch.finfo(distances.dtype).tiny  # identical points have no distance to scale by
    kernel = torch.stack([(-distances / (2 * s).clamp(min=tiny)).exp() for s in squares]).sum(0)
    own = len(squares) if unbiased else 0  # a point's kernel with itself, to be left out
    within_a = (kernel[:n, :n].sum() - n * own) / (n * (n - bool(own)))
    within_b = (kernel[n:, n:].sum() - m * own) / (m * (m - bool(own)))
    return within_a + within_b - 2 * kernel[:n, n:].mean()


def _squared_distances(x: Tensor) -> Tensor:
    """(n, n) between all rows of (n, d), by products, since differences would fill (n, n, d).

    Rows are centered, which costs nothing and keeps digits where they are far from the origin.
    """
    x = x - x.detach().mean(0)
    squares = x.square().sum(1)
    distances = squares[:, None] + squares[None, :] - 2 * x @ x.T
    return distances.clamp(min=0).fill_diagonal_(0)
