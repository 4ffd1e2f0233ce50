"""Norm in cases whose results are known exactly."""

import pytest
import torch
from support.label_views import auc, cross_entropy_gradients, guess, hints_of, rand, view

from sltoolkit.attacks.labels.norm import Norm
from sltoolkit.contracts.knowledge import Hints

pytestmark = pytest.mark.golden


@pytest.mark.parametrize("minority", [0, 1])
def test_norm_finds_the_minority_that_the_network_does_not_believe_in(minority: int) -> None:
    y = torch.where(torch.arange(200) < 20, minority, 1 - minority)
    believed = rand(200).abs() + 0.01  # p(majority) > 1/2: longer gradients for the minority
    logits = torch.zeros(200, 2, dtype=torch.float64)
    logits[:, 1 - minority] = believed
    g = cross_entropy_gradients(logits, y, rand(2, 5))
    prior = [0.9, 0.1] if minority == 1 else [0.1, 0.9]
    assert auc(guess(Norm(), view(g, prior=prior)), y) == 1
    hints, rest = hints_of(g, y, 3)
    assert auc(guess(Norm(), view(g[rest], hints=hints)), y[rest]) == 1
    wrong = auc(guess(Norm(), view(g, prior=prior[::-1])), y)
    assert wrong == 0  # the orientation is the prior's, right or wrong, never the truth's
    blind = auc(guess(Norm(), view(g)), y)
    assert blind == minority  # without a prior class 1 is taken for the minority


def test_norm_margin_of_several_classes_prefers_the_nearest_mean() -> None:
    hints = Hints(smashed_grad=torch.tensor([[1.0], [2.0], [6.0]]), y=torch.tensor([2, 0, 1]))
    g = torch.tensor([[0.5], [-1.4], [1.7], [-3.9], [4.1], [9.0]])
    scores = guess(Norm(), view(g, classes=3, hints=hints))
    assert scores.argmax(1).tolist() == [2, 2, 0, 0, 1, 1]
    assert scores[4, 1].item() == pytest.approx(2.1**2 - 1.9**2)


def test_hints_missing_a_class_leave_norm_with_the_prior() -> None:
    g = rand(20, 3)
    one = Hints(smashed_grad=g[:2], y=torch.tensor([1, 1]))
    torch.testing.assert_close(
        guess(Norm(), view(g, prior=[0.2, 0.8], hints=one)),
        guess(Norm(), view(g, prior=[0.2, 0.8])),
        rtol=0,
        atol=0,
    )
