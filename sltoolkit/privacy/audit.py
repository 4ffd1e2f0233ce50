"""Empirical audits: lower bounds of epsilon from scores of releases in two neighboring worlds.

In the first world a mechanism releases one canary n times, in the second world its neighbor; a test
gives every release a number, the higher the more it looks like the second world. If the mechanism
is (epsilon, delta)-private, every test obeys (Wasserman and Zhou 2010)

    TPR <= e^epsilon FPR + delta,   1 - FPR <= e^epsilon (1 - TPR) + delta,

so the scores bound epsilon from below, at a confidence that is chosen. A bound above what is
claimed refutes the claim; a bound below it proves nothing. Two bounds:

- `epsilon_by_counts`, for every mechanism: Clopper-Pearson bounds of the rates at a threshold
  (Jagielski, Ullman and Oprea 2020, "Auditing differentially private machine learning"; Nasr et al.
  2021, "Adversary instantiation"). n releases of each world that are told apart without an error
  show little more than epsilon = log n, however far apart they are.
- `epsilon_of_gaussian`, for Gaussian mechanisms only, whose scores are normal with the same
  variance in both worlds: the distance of the means in standard deviations is the mu of Gaussian
  differential privacy, which gives epsilon exactly (Dong, Roth and Su 2022; Nasr et al. 2023,
  "Tight auditing"). It is far tighter, and wrong for other mechanisms.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, chdtri, fdtrc, stdtrit

from sltoolkit.errors import SpecError
from sltoolkit.privacy.gaussian import epsilon_of

Scores = NDArray[np.float64]
"""One number per release, (n,)."""


def epsilon_by_counts(
    first: Scores, second: Scores, *, delta: float, confidence: float = 0.999
) -> float:
    """A lower bound of epsilon for any mechanism, from the counts on both sides of a threshold.

    The even scores choose the threshold, and the odd ones are counted, so that the choice costs no
    confidence.

    Args:
        first: the scores of independent releases in the first world.
        second: the same in the second world.
        delta: between 0 and 1.
        confidence: the probability that the bound holds.

    Raises:
        SpecError: if a world has fewer than four scores, a score is no number, or a probability is
            outside its range.
    """
    _require(first, second, delta, confidence)
    choosing, judged = (first[::2], second[::2]), (first[1::2], second[1::2])
    thresholds = np.unique(np.concatenate(choosing))
    shown = _shown(choosing, thresholds, delta, confidence)
    return float(_shown(judged, thresholds[[shown.argmax()]], delta, confidence)[0])


def epsilon_of_rates(
    true_positives: int, false_positives: int, *, n: int, delta: float, confidence: float = 0.999
) -> float:
    """A lower bound of epsilon from a test that was fixed before the releases were counted.

    Args:
        true_positives: releases of the second world that the test assigned to it, out of `n`.
        false_positives: releases of the first world that it assigned to the second, out of `n`.
        n: the releases of either world.
        delta: between 0 and 1.
        confidence: the probability that the bound holds.
    """
    counts = np.array([true_positives]), np.array([false_positives])
    return float(_bound(*counts, n, n, delta, confidence)[0])


def mu_of_gaussian(first: Scores, second: Scores, *, confidence: float = 0.999) -> float:
    """A lower bound of mu = |difference of the means| / sigma, for normal scores; at least 0.

    Half of the error's probability goes to the difference of the means (Student), the other half to
    sigma (chi-square). It is infinite if the scores of each world are all the same.

    Args:
        first: the scores of independent releases in the first world.
        second: the same in the second world.
        confidence: the probability that the bound holds.

    Raises:
        SpecError: as `epsilon_by_counts` does.
    """
    _require(first, second, 0.5, confidence)
    n, m = len(first), len(second)
    freedom, error = n + m - 2, (1 - confidence) / 2
    squares = float(((first - first.mean()) ** 2).sum() + ((second - second.mean()) ** 2).sum())
    slack = float(stdtrit(freedom, 1 - error)) * math.sqrt(squares / freedom * (1 / n + 1 / m))
    apart = float(second.mean() - first.mean()) - slack
    if apart <= 0:
        return 0.0
    # squares / sigma^2 is chi-square; it is below this quantile with the other half of the error
    sigma = math.sqrt(squares / float(chdtri(freedom, 1 - error)))
    return apart / sigma if sigma > 0 else math.inf


def epsilon_of_gaussian(
    first: Scores, second: Scores, *, delta: float, confidence: float = 0.999
) -> float:
    """A lower bound of epsilon for a Gaussian mechanism, from normal scores.

    Args:
        first: the scores of independent releases in the first world.
        second: the same in the second world.
        delta: strictly between 0 and 1.
        confidence: the probability that the bound holds.

    Raises:
        SpecError: as `epsilon_by_counts` does.
    """
    _require(first, second, delta, confidence)
    mu = mu_of_gaussian(first, second, confidence=confidence)
    if mu == 0:
        return 0.0
    ratio = 1 / mu
    return epsilon_of(delta, ratio) if ratio >= 1e-150 else math.inf


def shared_noise(scores: Scores) -> tuple[float, float]:
    """How likely fresh noise is to look as shared as here: by a batch's rows, and by its batches.

    Releases of one record are scored, several in each of several batches. A two-way analysis of
    variance compares what the rows of a batch have in common, and what a row has in common in all
    batches, with what is left.

    Args:
        scores: (batches, rows), at least two of each.

    Returns:
        Two p-values: of noise that is shared within a batch, and of noise that stays with a row.
    """
    batches, rows = scores.shape
    by_batch, by_row = scores.mean(1, keepdims=True), scores.mean(0, keepdims=True)
    left = float(((scores - by_batch - by_row + scores.mean()) ** 2).sum())
    freedom = (batches - 1) * (rows - 1)
    found = []
    for means, each in ((by_batch, rows), (by_row, batches)):
        between = each * float(((means - scores.mean()) ** 2).sum())
        ratio = between / (means.size - 1) * freedom / left if left else math.inf
        found.append(float(fdtrc(means.size - 1, freedom, ratio)) if between else 1.0)
    return found[0], found[1]


def _shown(
    scores: tuple[Scores, Scores], thresholds: Scores, delta: float, confidence: float
) -> Scores:
    """The bound that the counts at each of the ascending thresholds show, (T,)."""
    first, second = map(np.sort, scores)
    false_positives = len(first) - np.searchsorted(first, thresholds, side="left")
    true_positives = len(second) - np.searchsorted(second, thresholds, side="left")
    return _bound(true_positives, false_positives, len(second), len(first), delta, confidence)


def _bound(
    true_positives: NDArray[np.int64],
    false_positives: NDArray[np.int64],
    positives: int,
    negatives: int,
    delta: float,
    confidence: float,
) -> Scores:
    """Both inequalities hold with one lower bound of the TPR and one upper bound of the FPR."""
    error = (1 - confidence) / 2
    tpr = _rate_at_least(true_positives, positives, error)
    fpr = 1 - _rate_at_least(negatives - false_positives, negatives, error)
    ratios = np.maximum((tpr - delta) / fpr, (1 - fpr - delta) / (1 - tpr))
    bound: Scores = np.log(np.maximum(ratios, 1.0))
    return bound


def _rate_at_least(hits: NDArray[np.int64], n: int, error: float) -> Scores:
    """Clopper and Pearson's lower bound of a rate, 0 without a hit."""
    bound: Scores = np.where(hits > 0, betaincinv(np.maximum(hits, 1), n - hits + 1.0, error), 0.0)
    return bound


def _require(first: Scores, second: Scores, delta: float, confidence: float) -> None:
    for scores in (first, second):
        if len(scores) < 4 or not np.isfinite(scores).all():
            raise SpecError(
                "an audit needs at least four finite scores in either world, got "
                f"{int(np.isfinite(scores).sum())} among {len(scores)}"
            )
    for name, value in (("delta", delta), ("confidence", confidence)):
        if not 0 < value < 1:
            raise SpecError(f"{name} of an audit must lie strictly between 0 and 1, got {value}")
