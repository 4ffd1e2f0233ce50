"""Label metrics: accuracy, leak AUC, and the advantage over guessing the majority."""

import torch
from torch import Tensor

from sltoolkit.errors import SpecError
from sltoolkit.shapes import Labels, PerTarget, Scalar, Scores


def accuracy(scores: Scores, labels: Labels) -> PerTarget:
    """1 where the highest score is the label's, 0 elsewhere; the caller averages.

    Args:
        scores: (n, C), higher means more likely.
        labels: (n,) in [0, C).

    Returns:
        (n,) float64; NaN for a target with a NaN score, which is a failure and not a guess.

    Raises:
        SpecError: no targets, or labels that have no score.
    """
    _check(scores, labels)
    hit = (scores.argmax(1) == labels).double()
    return hit.masked_fill(scores.isnan().any(1), torch.nan)


def leak_auc(scores: Scores, labels: Labels) -> Scalar:
    """Mean one-vs-rest area under the ROC curve over the classes present.

    It is the probability that a target of the class scores higher for that class than a target
    of another one, ties counting half (Mann-Whitney). The orientation is the attack's own: 0.1
    stays 0.1, because max(AUC, 1 - AUC) would choose the sign by the truth.

    Args:
        scores: (n, C), higher means more likely; a binary score r is (-r, r).
        labels: (n,) in [0, C).

    Returns:
        A number in [0, 1], float64; NaN when any score is NaN.

    Raises:
        SpecError: no targets, labels that have no score, or targets of a single class.
    """
    _check(scores, labels)
    n, classes = scores.shape
    member = torch.nn.functional.one_hot(labels.long(), classes).double()
    positives = member.sum(0)
    present = positives > 0
    if present.sum() < 2:
        raise SpecError("leak AUC compares classes, and all targets are of one; take more targets")
    if scores.isnan().any():
        return scores.new_tensor(torch.nan, dtype=torch.float64)
    wins = (_ranks(scores) * member).sum(0) - positives * (positives + 1) / 2
    auc = wins / (positives * (n - positives))
    return auc[present].mean()


def advantage(acc: float, majority: float) -> float:
    """How far the accuracy goes from the majority's share m toward 1: (acc - m) / (1 - m).

    Args:
        acc: accuracy in [0, 1].
        majority: the share of the most frequent class, in (0, 1).

    Raises:
        SpecError: the majority is everything, so that there is nothing to guess.
    """
    if not 0 < majority < 1:
        raise SpecError(f"the majority's share must lie strictly between 0 and 1, got {majority}")
    return (acc - majority) / (1 - majority)


def _check(scores: Tensor, labels: Tensor) -> None:
    if len(scores) != len(labels) or len(labels) == 0:
        raise SpecError(
            f"one row of scores per label, at least one: got {len(scores)} rows and "
            f"{len(labels)} labels"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= scores.shape[1]:
        raise SpecError(
            f"labels must lie in [0, {scores.shape[1]}), since that is the number of scores per "
            f"target, but lie in [{low}, {high}]"
        )


def _ranks(scores: Tensor) -> Tensor:
    """(n, C) float64: the rank of each score in its column from 1, ties sharing their mean."""
    columns = scores.T.contiguous()
    ordered = columns.sort(dim=1).values
    below = torch.searchsorted(ordered, columns)
    not_above = torch.searchsorted(ordered, columns, right=True)
    return ((below + not_above + 1).double() / 2).T
