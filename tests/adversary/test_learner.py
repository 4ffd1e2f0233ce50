"""Learners: Adam's steps, joint losses, and the record of losses."""

import pytest
import torch
from torch import nn

from sltoolkit.adversary.learner import CURVE_POINTS, RECENT, Learner, Losses, learn
from sltoolkit.streams import Stream


def linear(seed: int = 0) -> nn.Linear:
    with Stream(seed).scope():
        return nn.Linear(3, 2).double()


X = torch.rand(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_a_learner_steps_as_torchs_adam_does() -> None:
    ours, theirs = Learner(linear(), X, 0.01), linear()
    adam = torch.optim.Adam(theirs.parameters(), lr=0.01)
    for _ in range(4):
        learn((ours(X).square().mean(), [ours]))
        adam.zero_grad()
        theirs(X).square().mean().backward()
        adam.step()

    for a, b in zip(ours.weights, theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_it_trains_in_the_dtype_of_what_it_is_for_and_in_training_mode() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.Dropout()).eval()

    learner = Learner(network, X, 0.1)

    assert learner.network.training
    assert {w.dtype for w in learner.weights} == {torch.float64}


def test_frozen_weights_stay_and_a_network_without_weights_has_nothing_to_learn() -> None:
    half_frozen = linear()
    half_frozen.bias.requires_grad_(False)
    bias = half_frozen.bias.clone()
    learner, idle = Learner(half_frozen, X, 0.1), Learner(nn.Flatten(), X, 0.1)

    learn((idle(learner(X)).square().mean(), [learner, idle]))

    assert torch.equal(half_frozen.bias, bias)
    assert idle.weights == []


def test_gradients_are_taken_before_anybody_moves() -> None:
    # the second loss reads the first one's network, which must not have moved yet
    first, second = Learner(linear(0), X, 0.5), Learner(linear(1), X, 0.5)
    expected = torch.autograd.grad((second(X) * first(X).detach()).mean(), second.weights)

    learn(
        (first(X).square().mean(), [first]),
        ((second(X) * first(X)).mean(), [second]),
    )

    for weight, gradient in zip(second.weights, expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient)


def test_a_loss_teaches_those_it_is_for_alone() -> None:
    learner, other = Learner(linear(0), X, 0.1), Learner(linear(1), X, 0.1)
    before = [w.detach().clone() for w in other.weights]

    learn(((learner(X) * other(X)).mean(), [learner]))

    assert all(torch.equal(a, b) for a, b in zip(before, other.weights, strict=True))


def test_diagnostics_are_means_over_the_last_steps() -> None:
    losses = Losses()
    for step in range(RECENT + 10):
        losses.note(fit=torch.tensor(float(step), requires_grad=True))

    found = losses.diagnostics()

    assert found["steps"] == RECENT + 10
    assert found["fit"] == pytest.approx(sum(range(10, RECENT + 10)) / RECENT)
    assert not losses.each["fit"][0].requires_grad


def test_before_any_step_there_is_nothing_but_their_number() -> None:
    assert Losses().diagnostics() == {"steps": 0.0}
    assert Losses().curve("fit") == {}


@pytest.mark.parametrize("steps", [1, CURVE_POINTS, CURVE_POINTS + 1, 3 * CURVE_POINTS])
def test_a_curve_has_at_most_so_many_points_each_the_mean_since_the_one_before(steps: int) -> None:
    losses = Losses()
    for step in range(steps):
        losses.note(fit=torch.tensor(float(step)))

    curve = losses.curve("fit")

    every = min(curve)
    assert len(curve) <= CURVE_POINTS
    assert list(curve) == list(range(every, steps + 1, every))
    for end, mean in curve.items():
        assert mean == pytest.approx(sum(range(end - every, end)) / every)
