"""Views for the tests of attacks that hear smashed data and can query: decoder, regression, ..."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from sltoolkit.contracts.knowledge import Aux, Release
from support.white_box_views import seeded, task_of

V = TypeVar("V")


def noisy(client: Callable[[Tensor], Tensor], std: float, *, seed: int = 0) -> Release:
    """A client that adds fresh Gaussian noise to what it sends."""
    g = seeded(seed)

    def answer(x: Tensor) -> Tensor:
        z = client(x)
        return z + std * torch.randn(z.shape, generator=g, dtype=z.dtype)

    return Release(answer)


def view_of(
    kind: Callable[..., V],
    release: Release | Callable[[Tensor], Tensor],
    x: Tensor,
    aux: Tensor,
    *,
    repeats: int = 1,
    y: Tensor | None = None,
    **more: Any,
) -> V:
    """The view of targets x (N, ...), with aux samples (and their labels y)."""
    release = release if isinstance(release, Release) else Release(release)
    smashed = release(x, repeats=repeats)
    release.queries = 0
    return kind(
        smashed=smashed,
        release=release,
        aux=Aux(x=aux, y=torch.zeros(len(aux), dtype=torch.int64) if y is None else y),
        task=task_of(x, smashed),
        **more,
    )


def gaussian_channel() -> tuple[Tensor, Tensor, float, Tensor]:
    """x = root g (6), z = A x + sigma noise (4): root, A, sigma, and the optimal decoder (6, 4)."""
    root = torch.randn(6, 6, generator=seeded(0)) / 6**0.5
    covariance, a, sigma = root @ root.T, torch.randn(4, 6, generator=seeded(1)), 0.5
    gain = a @ covariance @ a.T + sigma**2 * torch.eye(4)
    return root, a, sigma, covariance @ a.T @ torch.linalg.inv(gain)


def gaussian_minimum() -> float:
    """tr(Sigma - W A Sigma) / 6 of that channel: the least mean squared error of any decoder."""
    root, a, _, optimal = gaussian_channel()
    covariance = root @ root.T
    return float(torch.trace(covariance - optimal @ a @ covariance)) / 6
