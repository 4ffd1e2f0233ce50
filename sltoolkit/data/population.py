"""Whether the parts of a split are samples of one population, the pool."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sltoolkit.data.pool import Pool
from sltoolkit.errors import SpecError

LEVEL = 1e-6
"""At most this share of random splits is refused."""

EXPECTED = 10
"""A class of which a part should have this many samples must not be missing there."""

_QUARTILES = (0.25, 0.5, 0.75)
_ROWS = 10_000  # rows from which quartiles are taken
_CELLS = 4  # places per axis at which the brightness of images and signals is compared


def check_population(pool: Pool, parts: Mapping[str, Tensor], groups: Tensor) -> None:
    """Check that class shares and marginals of the parts are those of the pool, up to chance.

    Marginals are, of each feature, the shares of samples below (and up to) the pool's quartiles. Of
    images and signals, the features are the mean brightness at 4 places per axis, and the contrast.
    A share q in a part, against p in the pool, is beyond chance if Chernoff's bound on it,
    exp(-n KL(q, p)), is below 1e-6 after a Bonferroni correction over all comparisons. n counts
    what is drawn independently: the samples of the part, divided by the size of its largest group.
    So where there are few groups, shares may vary; but a class is never missing where ten samples
    are expected.

    Args:
        pool: the pool.
        parts: the indices of each part's samples, by name.
        groups: (N,) integers; samples of a group are not independent.

    Raises:
        SpecError: naming the part, the shares and what helps.
    """
    y, traits = pool.samples.y.cpu(), _traits(pool.samples.x.detach().cpu())
    marks = torch.from_numpy(
        np.quantile(traits[:: 1 + len(traits) // _ROWS].numpy(), _QUARTILES, axis=0)
    )
    counts = torch.bincount(y, minlength=len(pool.classes))
    below = _below(traits, marks)
    limit = math.log(2 * len(parts) * (len(counts) + below.numel()) / LEVEL)
    for name, index in parts.items():
        found = torch.bincount(y[index], minlength=len(counts))
        units = len(index) / int(torch.bincount(groups[index]).max())
        expected = counts / len(y)
        absent = (found == 0) & (expected * len(index) >= EXPECTED)
        shifted = units * _divergence(found / len(index), expected) > limit
        if bool((absent | shifted).any()):
            raise SpecError(_shares(pool, name, found / len(index), expected))
        excess = units * _divergence(_below(traits[index], marks), below)
        if bool((excess > limit).any()):
            raise SpecError(_marginal(pool, name, traits, index, int(excess.amax((0, 1)).argmax())))


def _traits(x: Tensor) -> Tensor:
    """The features that are compared: (N, features) float32."""
    if x.ndim == 2:
        return x
    if x.ndim == 3:
        cells = functional.adaptive_avg_pool1d(x.mean(1, keepdim=True), _CELLS**2)
    else:
        cells = functional.adaptive_avg_pool2d(x.mean(1, keepdim=True), _CELLS)
    return torch.cat([cells.flatten(1), x.flatten(1).std(1, correction=0)[:, None]], 1)


def _below(traits: Tensor, marks: Tensor) -> Tensor:
    """Shares of samples up to and below each mark: (2, marks, features)."""
    return torch.stack(
        [
            torch.stack([op(traits, mark).double().mean(0) for mark in marks])
            for op in (torch.le, torch.lt)
        ]
    )


def _divergence(q: Tensor, p: Tensor) -> Tensor:
    """Kullback and Leibler's KL(q, p) of two shares, in nats; 0 where p is 0 or 1, as q then is."""
    q, p = q.double(), p.double()
    found = torch.special.xlogy(q, q / p) + torch.special.xlogy(1 - q, (1 - q) / (1 - p))
    return torch.where((p == 0) | (p == 1), 0.0, found)


def _shares(pool: Pool, part: str, found: Tensor, expected: Tensor) -> str:
    order = (found - expected).abs().argsort(descending=True)[:5].tolist()
    shares = "; ".join(
        f"class {pool.classes[c]}: {float(found[c]):.1%} of {part}, {float(expected[c]):.1%} of "
        "the pool"
        for c in order
    )
    return (
        f"{pool.name}: {part} isn't drawn from the pool's population ({shares}), which random "
        f"draws of independent groups explain with a probability below {LEVEL}, or a class is "
        f"missing. {_HELP}"
    )


def _marginal(pool: Pool, part: str, traits: Tensor, index: Tensor, feature: int) -> str:
    what = f"feature {feature}" if pool.samples.x.ndim == 2 else "brightness or contrast"
    return (
        f"{pool.name}: {part} isn't drawn from the pool's population ({what}: mean "
        f"{float(traits[index, feature].mean()):.3g} in {part}, "
        f"{float(traits[:, feature].mean()):.3g} in the pool), which random draws of independent "
        f"groups explain with a probability below {LEVEL}. {_HELP}"
    )


_HELP = (
    "Try another seed, larger parts or smaller groups; if the parts shall differ, give them apart "
    "with sl.data.parts(train=..., holdout=..., aux=...)"
)
