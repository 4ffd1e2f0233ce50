"""Image metrics, one number per target: mean squared error, PSNR and SSIM.

Everything is computed in float64: SSIM subtracts a squared mean from a mean square, which in
float32 loses more than the agreement with scikit-image that is promised here.
"""

import torch
from torch import Tensor

from sltoolkit.errors import SpecError
from sltoolkit.shapes import Batch, Images, PerTarget

MSE_FLOOR = 1e-10
"""PSNR's smallest mean squared error: identical images have 100 dB, not infinity."""

SSIM_MIN_SIDE = 11
"""The side of SSIM's window, in pixels."""

_FLAT = 1e-300  # instead of a sum of squares of 0: a constant x has nothing to be stretched
_RADIUS = SSIM_MIN_SIDE // 2
_SIGMA = 1.5
_BLOCK = 24  # windows per matrix product: one product up to 34 pixels, few wasted zeros above
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2  # (K1 L)^2 and (K2 L)^2 of Wang et al. with data range L = 1
_CHUNK = 2**16  # pixels filtered at once: the working set stays in a core's cache


def mse(x: Batch, y: Batch) -> PerTarget:
    """Mean squared error per target.

    Args:
        x: what an attack recovered, (n, ...), images in [0, 1] or features.
        y: the truth, of the same shape.

    Returns:
        (n,) float64; NaN for a target in which either side is NaN.

    Raises:
        SpecError: the shapes differ (broadcasting would compare the wrong things), or there are no
            targets.
    """
    _same_shape(x, y)
    return (x.double() - y.double()).square().reshape(len(x), -1).mean(1)


def mse_affine(x: Batch, y: Batch) -> PerTarget:
    """Mean squared error per target after the best affine map of its values, a x + b.

    It measures what is wrong beyond brightness, contrast and sign, for attacks that can't determine
    these. The map is fitted to the truth by least squares, with one a and b per target, which no
    attacker could do.

    Args:
        x: what an attack recovered, (n, ...).
        y: the truth, of the same shape.

    Returns:
        (n,) float64, at most each target's variance.

    Raises:
        SpecError: the shapes differ, or there are no targets.
    """
    _same_shape(x, y)
    u, v = (t.double().flatten(1) - t.double().flatten(1).mean(1, keepdim=True) for t in (x, y))
    # a residual, not a difference of squares: that would not be zero for an exact map
    a = (u * v).sum(1, keepdim=True) / u.square().sum(1, keepdim=True).clamp(min=_FLAT)
    return (v - a * u).square().mean(1)


def psnr_db(x: Batch, y: Batch) -> PerTarget:
    """Peak signal-to-noise ratio per image or signal in dB, for a peak of 1.

    A caller averages the dB of the images. That is at least the dB of their average error, by
    Jensen's inequality, so a paper that averages the error first prints a lower number.

    Args:
        x: (n, c, h, w) or (n, c, l) in [0, 1].
        y: of the same shape.

    Returns:
        (n,) float64, at most 100 (`MSE_FLOOR`).

    Raises:
        SpecError: the shapes differ, or there are no targets.
    """
    return -10 * mse(x, y).clamp(min=MSE_FLOOR).log10()


def ssim(x: Images, y: Images) -> PerTarget:
    """Structural similarity per image (Wang, Bovik, Sheikh and Simoncelli 2004, equation 13).

    Equal to scikit-image's `structural_similarity(data_range=1.0, gaussian_weights=True,
    sigma=1.5, use_sample_covariance=False)` with its `channel_axis`: an 11x11 Gaussian window,
    no windows that overlap the border, and the mean over windows and channels. It carries no
    gradient.

    Args:
        x: (n, c, h, w) in [0, 1], sides of at least 11 pixels.
        y: of the same shape.

    Returns:
        (n,) float64 in [-1, 1].

    Raises:
        SpecError: the shapes differ, there are no targets, or a side is shorter than the window.
    """
    _same_shape(x, y)
    n, c, h, w = x.shape
    if min(h, w) < SSIM_MIN_SIDE:
        raise SpecError(
            f"SSIM needs sides of at least {SSIM_MIN_SIDE} pixels, its window, and these images "
            f"are {h}x{w}; use mse (metrics.applicable says which metrics apply to a shape)"
        )
    window = band(_BLOCK, x.device)
    chunks = zip(
        *(t.reshape(n * c, h, w).split(max(1, _CHUNK // (h * w))) for t in (x, y)), strict=True
    )
    return torch.cat([_ssim_planes(a, b, window) for a, b in chunks]).reshape(n, c).mean(1)


def _same_shape(x: Tensor, y: Tensor) -> None:
    if x.shape != y.shape or len(x) == 0:
        raise SpecError(
            "a metric compares at least one target with as many of the same shape, "
            f"got {tuple(x.shape)} and {tuple(y.shape)}"
        )


def band(rows: int, device: torch.device) -> Tensor:
    """SSIM's window slid along a line, (rows, rows + 10) float64.

    Row i holds the 11 Gaussian weights of the window that starts at i, which sum to 1.
    """
    start = torch.arange(rows, device=device, dtype=torch.float64)[:, None]
    offset = torch.arange(rows + 2 * _RADIUS, device=device) - start - _RADIUS
    weights = torch.exp(-0.5 * (offset / _SIGMA) ** 2) * (offset.abs() <= _RADIUS)
    return weights / weights[0].sum()


def _ssim_planes(x: Tensor, y: Tensor, window: Tensor) -> Tensor:
    """(m,) SSIM of (m, h, w) planes.

    It is written in u = x + y and v = x - y, which give the sums that SSIM needs from four filtered
    maps: 4 mx my = mu^2 - mv^2, 2 (mx^2 + my^2) = mu^2 + mv^2, and likewise the (co)variances from
    var u and var v. Both are computed at once and in place, because calls and memory traffic are
    much of the time.
    """
    x, y = x.detach().double(), y.detach().double()  # a measurement: in place, no gradient
    uv = x.new_empty(2, *x.shape)
    torch.add(x, y, out=uv[0])
    torch.sub(x, y, out=uv[1])
    mean2 = _filter(uv.flatten(0, 1), window).square_()
    var = _filter(uv.square_().flatten(0, 1), window).sub_(mean2)
    (mu2, mv2), (var_u, var_v) = (t.reshape(-1, 2, len(x)).unbind(1) for t in (mean2, var))
    mu2.add_(2 * SSIM_C1)
    var_u.add_(2 * SSIM_C2)
    numerator = (mu2 - mv2).mul_(var_u - var_v)
    denominator = (mu2 + mv2).mul_(var_u + var_v)
    return numerator.div_(denominator).mean(0)


def _filter(planes: Tensor, window: Tensor) -> Tensor:
    """(m, h, w) through the separable window, as (h - 10, (w - 10) m) with the planes innermost."""
    m, h, w = planes.shape
    across = _slide(planes.reshape(m * h, w).T, window)
    return _slide(across.reshape(-1, h).T, window)


def _slide(lines: Tensor, window: Tensor) -> Tensor:
    """(size, k) -> (size - 10, k): the window slid along the first axis.

    It is a product with blocks of a banded matrix, since torch has no fast float64 convolution. The
    blocks have a multiple of four rows, for which matrix products are faster.
    """
    n = len(lines) - 2 * _RADIUS
    parts = []
    for start in range(0, n, _BLOCK):
        rows = min(_BLOCK, n - start)
        reach = rows + 2 * _RADIUS
        padded = window[: -(-rows // 4) * 4, :reach]
        parts.append(torch.mm(padded, lines[start : start + reach])[:rows])
    return parts[0] if len(parts) == 1 else torch.cat(parts)
