"""Nearest samples in the space of smashed data, under several distances."""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from sltoolkit.errors import lookup

Distance = Literal["euclidean", "cosine", "standardized"]
DISTANCES: tuple[Distance, ...] = get_args(Distance)


def nearest(z: Tensor, own: Tensor, distance: str = "euclidean") -> tuple[Tensor, Tensor]:
    """The aux sample that is nearest to each target.

    Args:
        z: smashed data of the targets, (N, ...).
        own: smashed data of the aux samples, (n, ...).
        distance: `euclidean`, `cosine` or `standardized`.

    Returns:
        Indices into the aux samples, (N,), the first of equally near ones; and the distances, (N,).

    Raises:
        SpecError: if the distance is unknown.
    """
    space = lookup(_SPACES, distance, "distance")(own.flatten(1))
    distances = torch.cdist(space(z.flatten(1)), space(own.flatten(1)))
    least, found = distances.min(1)
    return found, least


Space = Callable[[Tensor], Tensor]


def _euclidean(own: Tensor) -> Space:
    return lambda z: z


def _cosine(own: Tensor) -> Space:
    # between vectors of length 1, the Euclidean distance grows with the angle
    return lambda z: functional.normalize(z, dim=1)


def _standardized(own: Tensor) -> Space:
    spread = own.std(0, correction=0)
    scale = torch.where(spread > 0, spread, torch.ones_like(spread))
    return lambda z: z / scale


_SPACES: dict[str, Callable[[Tensor], Space]] = {
    "euclidean": _euclidean, "cosine": _cosine, "standardized": _standardized,
}  # fmt: skip
