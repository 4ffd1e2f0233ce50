"""The label attacks in cases whose results are known exactly."""

import dataclasses

import pytest
import torch
from support.label_views import auc, cross_entropy_gradients, guess, hints_of, rand, view
from torch import nn

from sltoolkit.attacks.labels.direction import Direction
from sltoolkit.attacks.labels.norm import Norm
from sltoolkit.contracts.defense import NoDefense
from sltoolkit.contracts.knowledge import Hints
from sltoolkit.contracts.outcomes import LabelGuess
from sltoolkit.data.samples import Samples, Split
from sltoolkit.errors import ThreatModelError
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import UShaped, Vanilla
from sltoolkit.streams import Stream
from sltoolkit.testing.ears import RecordingEar
from sltoolkit.training.phases import run_phases
from sltoolkit.training.run import seat_parties

pytestmark = pytest.mark.golden

ATTACKS = pytest.mark.parametrize("attack", [Norm(), Direction()], ids=["norm", "direction"])


# ---- exact results -------------------------------------------------------------------------------


def gaussians(n: int, *, classes: int, share: float) -> Split:
    """Features around class means; if there are two classes, class 1 has the given share."""
    y = (torch.arange(n) < share * n).long() if classes == 2 else torch.arange(n) % classes
    x = (rand(classes, 6)[y] + rand(n, 6, seed=1)).float()
    whole = Samples(x=x, y=y, ids=torch.arange(n), groups=torch.arange(n))
    return Split(
        name="gaussians",
        private_train=whole,
        private_holdout=whole[:8],
        aux=whole[:8],
        classes=tuple(map(str, range(classes))),
    )


@pytest.mark.parametrize("protocol", [Vanilla(), UShaped()], ids=["vanilla", "u_shaped"])
def test_direction_is_exact_at_every_step_of_training_with_a_linear_head(
    protocol: Vanilla | UShaped,
) -> None:
    data = gaussians(60, classes=2, share=0.3)
    with Stream(1).scope():
        client = nn.Sequential(nn.Linear(6, 8), nn.Tanh())
        middle = nn.Sequential(nn.Linear(8, 8), nn.Tanh())
        head = nn.Linear(8, 2)
    parts = (client, head) if protocol.parts == 2 else (client, middle, head)
    ear = RecordingEar()
    run = seat_parties(
        parts,
        data,
        protocol=protocol,
        defense=NoDefense(),
        training=Training(epochs=10, batch_size=60, lr=0.5, optimizer="sgd"),
        rng=Stream(0),
        ears=[ear],
    )
    run_phases(run, 10)
    heard = ear.sent("smashed_grad", "server" if protocol.parts == 2 else "client")
    assert len(heard) == 10
    for g, y in ((m.payload, m.turn.y) for m in heard):
        assert y is not None
        assert auc(guess(Direction(), view(g, prior=[0.7, 0.3])), y) == 1
        hints, rest = hints_of(g, y, 1)
        assert auc(guess(Direction(), view(g[rest], hints=hints)), y[rest]) == 1


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("scale", [0.0, 1.0, 5.0])
def test_direction_is_exact_behind_an_orthonormal_head_of_any_number_of_classes(
    classes: int, scale: float
) -> None:
    # u = (onehot - p) / (1 - p_y) = e_y - w with w a distribution over the other classes, so
    # cos = (1 + w.w') / (|u||u'|) > 1/2 within a class; between two it is at most
    # w.w' / (|u||u'|) <= (|w|/|u|)(|w'|/|u'|) < 1/2, because |u|^2 = 1 + |w|^2 and |w| < 1.
    y = torch.arange(200) % classes
    head = torch.linalg.qr(rand(16, classes)).Q.T
    g = cross_entropy_gradients(scale * rand(200, classes, seed=2), y, head)
    hints, rest = hints_of(g, y, 1)
    scores = guess(Direction(), view(g[rest], classes=classes, hints=hints))
    assert auc(scores, y[rest]) == 1
    assert bool((scores.argmax(1) == y[rest]).all())
    own = torch.nn.functional.one_hot(y[rest], classes).bool()
    assert scores[own].min() > 0.5 > scores[~own].max()


def test_balanced_toy_with_all_logits_zero_is_invisible_to_norm_and_open_to_direction() -> None:
    y = torch.arange(100) % 2
    g = cross_entropy_gradients(torch.zeros(100, 2, dtype=torch.float64), y, rand(2, 5))
    hints, rest = hints_of(g, y, 1)
    assert auc(guess(Norm(), view(g, prior=[0.5, 0.5])), y) == 0.5
    assert auc(guess(Norm(), view(g[rest], hints=hints)), y[rest]) == 0.5
    assert auc(guess(Direction(), view(g[rest], hints=hints)), y[rest]) == 1


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


# ---- orientation, knowledge, edges ---------------------------------------------------------------


def test_direction_calls_the_smaller_cluster_the_minority_of_the_prior() -> None:
    side = torch.where(torch.arange(30) < 9, 1.0, -1.0)
    g = side[:, None] * torch.tensor([1.0, -2.0, 0.5]) * (1 + torch.arange(30.0)[:, None])
    for prior, positive in (([0.7, 0.3], 1), ([0.3, 0.7], 0), (None, 1)):
        for flipped in (g, -g):
            scores = guess(Direction(), view(flipped, prior=prior))
            assert scores.argmax(1).tolist() == [positive] * 9 + [1 - positive] * 21


def test_one_hint_of_one_class_is_enough_for_direction() -> None:
    y = torch.arange(40) % 2
    g = cross_entropy_gradients(rand(40, 2), y, rand(2, 5))
    one = Hints(smashed_grad=g[1:2], y=y[1:2])
    assert auc(guess(Direction(), view(g[2:], hints=one)), y[2:]) == 1


def test_hints_missing_a_class_leave_norm_with_the_prior() -> None:
    g = rand(20, 3)
    one = Hints(smashed_grad=g[:2], y=torch.tensor([1, 1]))
    torch.testing.assert_close(
        guess(Norm(), view(g, prior=[0.2, 0.8], hints=one)),
        guess(Norm(), view(g, prior=[0.2, 0.8])),
        rtol=0,
        atol=0,
    )


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
