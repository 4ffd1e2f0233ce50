"""Regression: inputs as a linear function of smashed data, fitted in closed form.

Adversary: whoever hears the smashed data z of the targets, holds samples x of its own (aux) and can
put them through the deployed, defended client (release): no weights, no labels, no training.

Idea (ridge regression, Hoerl and Kennard 1970, from every smashed unit to every pixel): with units
standardised over the own samples, Z, and pixels centred, X,
    x = mean + W' (z - mean z) / std z,   W = argmin ||Z W - X||^2 + weight * s * ||W||^2,
s the mean eigenvalue of Z'Z that is not zero. The first layers of a client are nearly linear, and
a linear map is what a few hundred own samples can teach. For a linear Gaussian channel it is the
posterior mean, W = S A' (A S A' + noise)^-1 with S the covariance of x.

It is adaptive: it is fitted to what crosses the wire. Where two releases of one sample differ, each
sample is released several times (`draws`); R releases of one target are averaged, and so is each of
those draws. The weight is the one of `WEIGHTS` with the least error on own samples that are left
out one at a time, with all of their draws; that error has a closed form (`sltoolkit.models.ridge`).

Chosen here, as no paper fixes it:
1. No matrix has more than `RANK` sides in what is decomposed, nor more than `ENTRIES` numbers:
   where own samples and units are both more, a random part of the own samples is used.
2. The left-out error is taken along `DIRECTIONS` random directions of the pixels.
"""

from dataclasses import dataclass
from typing import ClassVar, Self, final

import torch
from torch import Tensor
from torch.nn import functional

from sltoolkit.contracts import Attack, Family, Role, Task
from sltoolkit.errors import SpecError
from sltoolkit.models.ridge import Ridge
from sltoolkit.outcomes import Reconstruction
from sltoolkit.streams import Stream
from sltoolkit.threat import Aux, Release

WEIGHTS = (*(10 ** (half / 2) for half in range(-10, 11)), 1e8)
"""Weights of the penalty that are compared; with the last, everything is the mean image."""

RANK = 2048
ENTRIES = 2**26
DIRECTIONS = 256
_PROBES = 8


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class RegressionView:
    """What regression needs: what was heard, queries, and samples of its own."""

    smashed: Tensor
    release: Release
    aux: Aux
    task: Task


@final
@dataclass(frozen=True, kw_only=True)
class Regression(Attack[RegressionView]):
    """Reconstruct inputs by ridge regression on smashed data.

    Attributes:
        weight: of the penalty; None chooses by the error on samples left out, and the outcome's
            `tuned` says which.
        draws: releases of each own sample (each as many as the targets', averaged), where releases
            differ.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server", "eavesdropper", "colluding")
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = RegressionView
    citation: ClassVar[str] = (
        "Hoerl, Kennard 1970, Ridge regression: biased estimation for nonorthogonal problems "
        "(Technometrics)"
    )

    weight: float | None = None
    draws: int = 4

    @classmethod
    def smoke(cls) -> Self:
        """Two draws."""
        return cls(draws=2)

    def run(self, view: RegressionView, *, rng: Stream) -> Reconstruction:
        """Fit on aux, then apply it to the targets' mean release.

        `left_out_mse` is the error on own samples that were left out.

        Raises:
            SpecError: if there are fewer than two own samples, or no draws.
        """
        if len(view.aux.x) < 2 or self.draws < 1:
            raise SpecError(
                f"regression needs at least 2 aux samples and 1 draw, got {len(view.aux.x)} and "
                f"{self.draws}"
            )
        features, own = self._pairs(view, rng)
        ridge = Ridge(features, own.flatten(1))
        directions = _directions(own.flatten(1), rng)
        weights = WEIGHTS if self.weight is None else (self.weight,)
        errors = [ridge.left_out_error(weight, directions) for weight in weights]
        best = min(range(len(weights)), key=errors.__getitem__)
        heard = view.smashed.mean(0).flatten(1)
        return Reconstruction(
            images=ridge.predict(heard, weights[best]).unflatten(1, own.shape[1:]),
            tuned={} if self.weight is not None else {"weight": weights[best]},
            diagnostics={"left_out_mse": errors[best]},
        )

    def _pairs(self, view: RegressionView, rng: Stream) -> tuple[Tensor, Tensor]:
        """Draws of own samples' smashed data, (n, K, d), and these samples, (n, ...)."""
        repeats, d = len(view.smashed), view.smashed[0, 0].numel()
        rows = ENTRIES // d if d <= RANK else min(RANK, ENTRIES // d)
        order = torch.randperm(len(view.aux.x), generator=rng.torch()).to(view.aux.x.device)
        own = view.aux.x[order[: max(2, rows)]]
        draws = max(1, min(self.draws, rows // len(own))) if _differs(view) else 1
        features = view.smashed.new_empty((len(own), draws, d))
        for draw in range(draws):
            features[:, draw] = view.release.mean(own, repeats=repeats).flatten(1)
        return features, own


def _differs(view: RegressionView) -> bool:
    """Whether two releases of the same inputs differ."""
    first, second = view.release(view.aux.x[:_PROBES], repeats=2)
    return not torch.equal(first, second)


def _directions(outputs: Tensor, rng: Stream) -> Tensor | None:
    """Random directions (p, q) of length 1; None where there are few outputs anyway."""
    p = outputs.shape[1]
    if p <= DIRECTIONS:
        return None
    drawn = torch.randn(p, DIRECTIONS, generator=rng.child("directions").torch())
    return functional.normalize(drawn.double(), dim=0).to(outputs.device)
