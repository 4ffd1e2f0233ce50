"""Regression: inputs as a linear function of smashed data, fitted in closed form.

Adversary: a party that hears the smashed data z of the targets, holds samples x of its own (aux)
and can put them through the deployed, defended client (release). It needs no weights, no labels and
no training.

Idea (ridge regression, Hoerl and Kennard 1970): with standardized features Z and centered pixels X,
    x = mean + W' (z - mean z) / std z,   W = argmin ||Z W - X||^2 + weight * s * ||W||^2,
with s the mean of the nonzero eigenvalues of Z'Z. The first layers of a client are nearly linear,
and a few hundred aux samples are enough to learn a linear map. There are two kinds of map. With
`reach` 0 every pixel sees every smashed unit; for a linear Gaussian channel this is the posterior
mean, W = S A' (A S A' + noise)^-1 with S the covariance of x. Otherwise, behind convolutions, each
block of pixels sees a window of cells around it, `reach` on a side, with one W for all places; this
is the best linear convolutional decoder.

The attack is adaptive: it is fitted to what crosses the wire. If two releases of one sample differ,
each aux sample is released several times (`draws`), and no two samples share a mask. R releases of
one target are averaged, and each of those draws is an average of R releases, too. Reach and weight
are those with the least error on aux samples that are left out with all of their draws (and masks):
one sample at a time with reach 0, a fifth of the samples otherwise. Both errors have closed forms
(`sltoolkit.adversary.ridge`, `local_ridge`), so nothing is fitted twice.

Choices that no paper fixes:
1. No matrix larger than `RANK` x `RANK` is decomposed, and at most `ENTRIES` smashed units are
   held. If there are too many samples and units, a random part of aux is used.
2. With reach 0, the left-out error is taken along `DIRECTIONS` random directions of the pixels.
3. Images are clamped to [0, 1], and each feature to its range over aux. A unit that is rarely
   active has a small spread over aux; where it is active, the linear map would extrapolate far.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Protocol, Self, final

import torch
from torch import Tensor
from torch.nn import functional

from sltoolkit.adversary.local_ridge import LocalRidge
from sltoolkit.adversary.ridge import Ridge
from sltoolkit.attacks.inversion._query import QueryView
from sltoolkit.contracts.attack import Attack, Family, Role
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.errors import SpecError
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.streams import Stream

REACHES = (1, 3, 5, 7)
"""The sides of a window to compare (besides reach 0), if the window has at most `WINDOW` units."""

WINDOW = 1024
"""The most units of a window."""

WEIGHTS = (*(10 ** (half / 2) for half in range(-10, 11)), 1e8)
"""The weights of the penalty to compare; with the last, every result is the mean image."""

RANK = 2048
"""The largest side of a matrix to decompose."""

ENTRIES = 2**26
"""The most smashed units of aux to hold in memory."""

DIRECTIONS = 256
"""The number of random directions of the pixels along which an error is measured."""

_PROBES = 8


@final
@dataclass(frozen=True, kw_only=True)
class Regression(Attack[QueryView]):
    """Reconstruct inputs by ridge regression on smashed data.

    Parameters that are None are chosen by the error on aux samples that are left out; their values
    are in the outcome's `tuned`.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server", "eavesdropper", "colluding")
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = QueryView
    citation: ClassVar[str] = (
        "Hoerl, Kennard 1970, Ridge regression: biased estimation for nonorthogonal problems "
        "(Technometrics)"
    )

    reach: Annotated[
        int | None,
        Parameter(
            "side of the window of smashed cells that a block of pixels is read from, odd; 0: all "
            "units, the only choice if smashed data aren't a map as the input is",
            least=0,
        ),
    ] = None
    weight: Annotated[float | None, Parameter("weight of the penalty", above=0)] = None
    draws: Annotated[
        int,
        Parameter(
            "how often each aux sample is released if releases differ; each draw is a mean of as "
            "many releases as a target has",
            least=1,
        ),
    ] = 4

    @classmethod
    def smoke(cls) -> Self:
        """Two draws."""
        return cls(draws=2)

    def run(self, view: QueryView, *, rng: Stream) -> Reconstruction:
        """Fit on aux, then predict from the mean of the targets' releases.

        The diagnostic `left_out_mse` is the error on aux samples that were left out.

        Raises:
            SpecError: if there are fewer than two aux samples, or the given `reach` doesn't fit.
        """
        if len(view.aux.x) < 2:
            raise SpecError(f"regression needs at least 2 aux samples, got {len(view.aux.x)}")
        features, own = self._pairs(view, rng)
        weights = WEIGHTS if self.weight is None else (self.weight,)
        best, images = (float("inf"), 0, 0.0), view.aux.x[:0]
        for reach in self._reaches(view.task):
            fit = _fit(features, own, reach, rng)
            error, weight = min((fit.left_out_error(w), w) for w in weights)
            if error < best[0]:
                best = error, reach, weight
                images = fit.predict(view.smashed.mean(0), weight)
        given = {"reach": self.reach, "weight": self.weight}
        found = {"reach": best[1], "weight": best[2]}
        low, high = (own.amin(0), own.amax(0)) if own.dim() == 2 else own.new_tensor([0.0, 1.0])
        return Reconstruction(
            images=images.clamp(low, high),
            tuned={name: value for name, value in found.items() if given[name] is None},
            diagnostics={"left_out_mse": best[0]},
        )

    def _reaches(self, task: Task) -> Sequence[int]:
        """The reaches to compare; 0 comes last, because its fit changes the features in place.

        Raises:
            SpecError: if the given `reach` is even, or the shapes allow no window.
        """
        alike = len(task.smashed_shape) == len(task.input_shape) > 1
        if self.reach is None:
            axes, channels = len(task.input_shape) - 1, task.smashed_shape[0]
            return [*(r for r in REACHES if alike and channels * r**axes <= WINDOW), 0]
        if self.reach and not (alike and self.reach % 2):
            raise SpecError(
                f"reach is {self.reach}: it must be odd, between maps or signals, or 0 (smashed "
                f"data are {task.smashed_shape}, inputs {task.input_shape})"
            )
        return [self.reach]

    def _pairs(self, view: QueryView, rng: Stream) -> tuple[Tensor, Tensor]:
        """K draws of smashed data of n aux samples, (n, K, ...), and these samples, (n, ...)."""
        repeats, shape = len(view.smashed), view.smashed.shape[2:]
        rows = max(2, ENTRIES // shape.numel())
        order = torch.randperm(len(view.aux.x), generator=rng.torch()).to(view.aux.x.device)
        own = view.aux.x[order[:rows]]
        draws = max(1, min(self.draws, rows // len(own))) if _differs(view) else 1
        features = view.smashed.new_empty((len(own), draws, *shape))
        for draw in range(draws):
            features[:, draw] = view.release.mean(own, repeats=repeats)
        return features, own


class _Fit(Protocol):
    """A ridge regression that can be solved for any weight of the penalty."""

    def left_out_error(self, weight: float) -> float:
        """Mean squared error on samples that were left out."""

    def predict(self, features: Tensor, weight: float) -> Tensor:
        """Inputs (N, ...) of smashed data (N, ...)."""


def _fit(features: Tensor, own: Tensor, reach: int, rng: Stream) -> _Fit:
    if reach:
        return LocalRidge(features, own, reach)
    features = features.flatten(2)
    if features.shape[2] > RANK:
        own = own[:RANK]
        features = features[: len(own), : max(1, RANK // len(own))]
    return _Whole(features, own, _directions(own.flatten(1), rng))


@final
class _Whole:
    """Ridge regression from all units to all pixels; its error is taken along some directions."""

    def __init__(self, features: Tensor, own: Tensor, directions: Tensor | None) -> None:
        self._ridge = Ridge(features, own.flatten(1))
        self._shape, self._directions = own.shape[1:], directions

    def left_out_error(self, weight: float) -> float:
        return self._ridge.left_out_error(weight, self._directions)

    def predict(self, features: Tensor, weight: float) -> Tensor:
        pixels: Tensor = self._ridge.predict(features.flatten(1), weight)
        return pixels.reshape(-1, *self._shape)


def _differs(view: QueryView) -> bool:
    """Whether two releases of the same inputs differ."""
    first, second = view.release(view.aux.x[:_PROBES], repeats=2)
    return not torch.equal(first, second)


def _directions(outputs: Tensor, rng: Stream) -> Tensor | None:
    """Random directions (p, q) of length 1 for outputs (n, p); None if p is small anyway."""
    p = outputs.shape[1]
    if p <= DIRECTIONS:
        return None
    drawn = torch.randn(p, DIRECTIONS, generator=rng.child("directions").torch())
    return functional.normalize(drawn.double(), dim=0).to(outputs.device)
