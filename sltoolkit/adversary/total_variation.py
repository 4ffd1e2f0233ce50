"""Total variation: a measure of how rough an image or a signal is, which attacks use as a prior.

    TV(x) = mean over pixels of (dx^2 + dy^2)^(beta / 2)

Here dx and dy are the differences to the right and to the lower neighbor, and 0 beyond the border;
a signal has only dx. He, Zhang and Lee 2019 (section 4) and Mahendran and Vedaldi 2015 (equation 5)
take sums instead of means.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from sltoolkit.errors import SpecError

_EPSILON = 1e-6
"""Added under the root if beta = 1, since the root has no derivative at a constant image."""


def has_neighbors(shape: Sequence[int]) -> bool:
    """Whether inputs of this shape have neighbors: images (C, H, W) and signals (C, L) do."""
    return len(shape) in (2, 3)


def total_variation(x: Tensor, *, beta: int = 1) -> Tensor:
    """The total variation of each target.

    Args:
        x: images (N, C, H, W) or signals (N, C, L).
        beta: 1 keeps edges; 2 smooths them, and has a derivative everywhere.

    Returns:
        (N,): the mean over pixels (and channels).

    Raises:
        SpecError: for another exponent, or for inputs without neighbors.
    """
    if beta not in (1, 2):
        raise SpecError(f"the exponent of the total variation is 1 or 2, not {beta}")
    if not has_neighbors(x.shape[1:]):
        raise SpecError(f"inputs of shape {tuple(x.shape[1:])} have no neighbors to vary between")
    squares = functional.pad(x.diff(dim=-1), (0, 1)).square()
    if x.dim() == 4:
        squares = squares + functional.pad(x.diff(dim=-2), (0, 0, 0, 1)).square()
    rough: Tensor = squares if beta == 2 else torch.sqrt(squares + _EPSILON)
    return rough.flatten(1).mean(1)
