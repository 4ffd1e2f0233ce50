"""Norm and direction side by side, in cases whose results are known exactly."""

import dataclasses

import pytest
import torch
from support.label_views import auc, cross_entropy_gradients, guess, hints_of, rand, view

from sltoolkit.attacks.labels.direction import Direction
from sltoolkit.attacks.labels.norm import Norm
from sltoolkit.contracts.outcomes import LabelGuess
from sltoolkit.errors import ThreatModelError
from sltoolkit.streams import Stream

pytestmark = pytest.mark.golden

ATTACKS = pytest.mark.parametrize("attack", [Norm(), Direction()], ids=["norm", "direction"])


def test_balanced_toy_with_all_logits_zero_is_invisible_to_norm_and_open_to_direction() -> None:
    y = torch.arange(100) % 2
    g = cross_entropy_gradients(torch.zeros(100, 2, dtype=torch.float64), y, rand(2, 5))
    hints, rest = hints_of(g, y, 1)
    assert auc(guess(Norm(), view(g, prior=[0.5, 0.5])), y) == 0.5
    assert auc(guess(Norm(), view(g[rest], hints=hints)), y[rest]) == 0.5
    assert auc(guess(Direction(), view(g[rest], hints=hints)), y[rest]) == 1


@ATTACKS
def test_shuffled_labels_score_one_half_within_the_mann_whitney_bound(
    attack: Norm | Direction,
) -> None:
    n1, n0, trials = 60, 140, 300
    y = (torch.arange(n1 + n0) < n1).long()
    g = cross_entropy_gradients(rand(n1 + n0, 2), y, rand(2, 7)) + 0.1 * rand(n1 + n0, 7, seed=3)
    scores = guess(attack, view(g, prior=[0.7, 0.3]))
    gen = torch.Generator().manual_seed(5)
    aucs = torch.tensor(
        [auc(scores, y[torch.randperm(len(y), generator=gen)]) for _ in range(trials)]
    )
    sd = ((n1 + n0 + 1) / (12 * n1 * n0)) ** 0.5
    inside = ((aucs - 0.5).abs() <= 1.96 * sd).double().mean()
    assert abs(aucs.mean() - 0.5) < 4 * sd / trials**0.5
    assert abs(inside - 0.95) < 4 * (0.95 * 0.05 / trials) ** 0.5


@ATTACKS
@pytest.mark.parametrize("hinted", [False, True])
def test_mean_and_sum_of_the_loss_leak_the_same(attack: Norm | Direction, hinted: bool) -> None:
    y = (torch.arange(64) < 20).long()
    g = cross_entropy_gradients(rand(64, 2), y, rand(2, 7)) + 0.1 * rand(64, 7, seed=3)
    found = []
    for scaled in (g, g / 64):
        hints, rest = hints_of(scaled, y, 3)
        v = view(scaled[rest], hints=hints) if hinted else view(scaled[rest], prior=[0.7, 0.3])
        found.append(auc(guess(attack, v), y[rest]))
    assert found[0] == found[1] != 0.5


@ATTACKS
def test_several_classes_without_hints_are_refused_in_a_sentence(
    attack: Norm | Direction,
) -> None:
    with pytest.raises(ThreatModelError, match=r"3 classes apart only with hints.*'hints'"):
        guess(attack, view(rand(9, 2), classes=3, prior=[0.3, 0.3, 0.4]))


@ATTACKS
@pytest.mark.parametrize("hinted", [False, True])
def test_rows_of_zeros_score_finite_and_change_no_other_direction(
    attack: Norm | Direction, hinted: bool
) -> None:
    y = (torch.arange(30) < 9).long()
    g = cross_entropy_gradients(rand(30, 2), y, rand(2, 4))
    hints = hints_of(g, y, 1)[0] if hinted else None
    padded = torch.cat([g, torch.zeros(2, 4, dtype=g.dtype)])
    scores = guess(attack, view(padded, hints=hints))
    assert bool(torch.isfinite(scores).all())
    torch.testing.assert_close(scores[:30], guess(attack, view(g, hints=hints)))
    if isinstance(attack, Direction):
        torch.testing.assert_close(scores[30:], torch.zeros(2, 2, dtype=scores.dtype))


@ATTACKS
def test_the_view_is_frozen_and_left_as_it_was(attack: Norm | Direction) -> None:
    g = rand(12, 2, 3)
    v = view(g.clone(), prior=[0.8, 0.2])
    outcome = attack.run(v, rng=Stream(0))
    assert isinstance(outcome, LabelGuess)
    assert outcome.scores.shape == (12, 2)
    assert torch.equal(v.smashed_grad, g)
    with pytest.raises(dataclasses.FrozenInstanceError):
        v.smashed_grad = g  # type: ignore[misc]
