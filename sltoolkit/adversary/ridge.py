"""Ridge regression in closed form, whose leave-one-out error is cheap for every weight.

The method is that of Hoerl and Kennard 1970; if features outnumber rows, it is solved in the dual
form of Saunders, Gammerman and Vovk 1998. Features are standardized. The intercept is not
penalized.
"""

from typing import final

import torch
from torch import Tensor

TINY = 1e-10
"""Eigenvalues below this share of the largest are rounding errors of zero."""


@final
class Ridge:
    """Outputs as a linear function of features, for any weight of the penalty.

    With standardized features Z (r rows) and centered outputs X it minimizes
        || Z W - X ||^2 + weight * scale * || W ||^2,
    where `scale` is the mean of the nonzero eigenvalues of Z'Z, so that a weight has the same
    effect for few features and for many.

    Args:
        features: (n, K, d), K observations of each of n samples. They are standardized in place.
        outputs: (n, p).

    Attributes:
        scale: the factor of a weight in the formula above.
    """

    def __init__(self, features: Tensor, outputs: Tensor) -> None:
        self.samples, self.draws, _ = features.shape
        rows = features.flatten(0, 1)
        self._mean, self._deviation = rows.mean(0), rows.std(0, correction=0)
        self._deviation[self._deviation == 0] = 1
        rows.sub_(self._mean).div_(self._deviation)
        self.intercept = outputs.mean(0)
        self._outputs = (outputs - self.intercept).double()
        dual = len(rows) < rows.shape[1]
        values, vectors = torch.linalg.eigh(_gram(rows.T if dual else rows))
        kept = values > TINY * values.max().clamp(min=TINY)
        values, vectors = values[kept], vectors[:, kept]
        self.scale = float(values.mean()) if len(values) else 1.0
        self._values = values
        # both forms give directions in feature space, and the rows' coordinates along them
        if dual:
            self._left = vectors
            self._right = rows.T @ (vectors / values).to(rows)
        else:
            self._right = (vectors / values.sqrt()).to(rows)
            self._left = (rows @ self._right).double()
        # the right side of the normal equations, along the directions
        sums = self._left.unflatten(0, (self.samples, self.draws)).sum(1)
        self._loads = sums.T @ self._outputs

    def predict(self, features: Tensor, weight: float) -> Tensor:
        """Outputs (N, p) for features (N, d)."""
        standard = (features - self._mean) / self._deviation
        along = (standard @ self._right).double() * self._kept(weight)
        found: Tensor = (along @ self._loads).to(self.intercept) + self.intercept
        return found

    def left_out_error(self, weight: float, directions: Tensor | None = None) -> float:
        """Mean squared error on every sample, by the fit without any of its K observations.

        The error has a closed form: if H maps outputs to fitted outputs and r are the residuals of
        the fit, then the residuals of sample i without its own rows are (I - H_ii)^-1 r_i, with
        H_ii the block of its K rows (Cook 1977). The standardization remains that of all rows.

        Args:
            weight: the weight of the penalty.
            directions: (p, q), the directions along which the error is measured; by default all
                outputs. Along random directions of length 1 its expectation is the same.
        """
        x, loads = self._outputs, self._loads
        if directions is not None:
            x, loads = x @ directions, loads @ directions
        kept = self._kept(weight)
        rows = self._left.unflatten(0, (self.samples, self.draws))
        fitted = rows @ (kept[:, None] * loads)
        hat = rows * kept @ rows.mT + 1 / len(self._left)
        rest = torch.eye(self.draws, dtype=hat.dtype, device=hat.device) - hat
        left_out = torch.linalg.solve(rest, x[:, None] - fitted)
        return float(left_out.square().mean())

    def _kept(self, weight: float) -> Tensor:
        kept: Tensor = self._values / (self._values + weight * self.scale)
        return kept


def _gram(rows: Tensor, *, block: int = 2048) -> Tensor:
    """Z'Z of rows Z (r, d), in float64, a block of rows at a time for memory."""
    total = rows.new_zeros((rows.shape[1], rows.shape[1]), dtype=torch.float64)
    for part in rows.split(block):
        total += part.double().T @ part.double()
    return total
