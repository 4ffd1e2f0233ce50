"""Label metrics against scikit-learn and by hand."""

import numpy as np
import pytest
import torch
from jaxtyping import config
from sklearn.metrics import roc_auc_score
from torch import Tensor

from sltoolkit.errors import SpecError
from sltoolkit.metrics import accuracy, advantage, leak_auc

pytestmark = pytest.mark.golden


def scores_and_labels(n: int, classes: int, *, levels: int = 0) -> tuple[Tensor, Tensor]:
    """Weakly informative scores; `levels` rounds them to that many steps, which makes many ties."""
    rng = np.random.default_rng(classes + levels)
    labels = rng.integers(classes, size=n)
    scores = rng.normal(size=(n, classes)) + np.eye(classes)[labels]
    if levels:
        scores = np.round(scores * levels) / levels
    return torch.from_numpy(scores), torch.from_numpy(labels)


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("levels", [0, 1])
def test_leak_auc_is_scikit_learns_mean_one_vs_rest(classes: int, levels: int) -> None:
    scores, labels = scores_and_labels(300, classes, levels=levels)
    expected = [roc_auc_score((labels == c).numpy(), scores[:, c].numpy()) for c in range(classes)]
    assert leak_auc(scores, labels).item() == pytest.approx(np.mean(expected), abs=1e-12)


def test_leak_auc_is_over_the_classes_present() -> None:
    scores, labels = scores_and_labels(200, 5)
    labels[labels == 4] = 0
    expected = [roc_auc_score((labels == c).numpy(), scores[:, c].numpy()) for c in range(4)]
    assert leak_auc(scores, labels).item() == pytest.approx(np.mean(expected), abs=1e-12)


def test_leak_auc_of_a_binary_score_is_its_auc() -> None:
    scores, labels = scores_and_labels(100, 2)
    r = scores[:, 1]
    expected = roc_auc_score(labels.numpy(), r.numpy())
    assert leak_auc(torch.stack([-r, r], 1), labels).item() == pytest.approx(expected)


def test_leak_auc_counts_ties_as_half() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    assert leak_auc(torch.zeros(4, 2), labels) == 0.5
    r = torch.tensor([0.0, 1.0, 1.0, 2.0])  # of 4 pairs: 3 won, 1 tied
    assert leak_auc(torch.stack([-r, r], 1), labels).item() == 3.5 / 4


def test_leak_auc_keeps_the_attacks_own_orientation() -> None:
    """Choosing the sign by the truth would turn a wrong attack into a perfect one."""
    labels = torch.tensor([0, 0, 1, 1])
    right = torch.nn.functional.one_hot(labels).double()
    assert leak_auc(right, labels) == 1.0
    assert leak_auc(-right, labels) == 0.0


def test_leak_auc_does_not_depend_on_a_monotone_scale() -> None:
    scores, labels = scores_and_labels(100, 3)
    assert leak_auc(scores, labels) == leak_auc(scores.exp() * 7, labels)


def test_leak_auc_of_one_class_is_refused() -> None:
    with pytest.raises(SpecError, match="of one"):
        leak_auc(torch.rand(5, 3), torch.ones(5, dtype=torch.long))


def test_a_diverged_guess_is_nan() -> None:
    scores = torch.tensor([[0.0, 1.0], [torch.nan, 0.0], [1.0, 0.0]])
    labels = torch.tensor([1, 0, 1])
    assert leak_auc(scores, labels).isnan()
    hits = accuracy(scores, labels)
    assert hits[[0, 2]].tolist() == [1.0, 0.0]
    assert hits[1].isnan()


def test_accuracy_is_per_target() -> None:
    scores, labels = scores_and_labels(50, 4)
    expected = [float(row.argmax() == y) for row, y in zip(scores, labels, strict=True)]
    assert accuracy(scores, labels).tolist() == expected


def test_labels_without_a_score_are_refused() -> None:
    for wrong in (3, -1):
        with pytest.raises(SpecError, match=r"lie in \[0, 3\)"):
            accuracy(torch.rand(2, 3), torch.tensor([0, wrong]))


@pytest.mark.parametrize(("rows", "labels"), [(3, 2), (0, 0)])
def test_scores_and_labels_must_pair(
    rows: int, labels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "jaxtyping_disable", True)
    for metric in (accuracy, leak_auc):
        with pytest.raises(SpecError, match="one row of scores per label"):
            metric(torch.rand(rows, 2), torch.zeros(labels, dtype=torch.long))


def test_advantage_is_the_share_of_what_the_majority_leaves_open() -> None:
    assert advantage(0.9, 0.9) == 0.0
    assert advantage(1.0, 0.9) == 1.0
    assert advantage(0.95, 0.9) == pytest.approx(0.5)
    assert advantage(0.8, 0.9) == pytest.approx(-1.0)
    for nothing_to_guess in (0.0, 1.0):
        with pytest.raises(SpecError, match="majority"):
            advantage(0.5, nothing_to_guess)
