"""Direction in cases whose results are known exactly."""

import pytest
import torch
from support.label_views import auc, cross_entropy_gradients, guess, hints_of, rand, view
from torch import nn

from sltoolkit.attacks.labels.direction import Direction
from sltoolkit.contracts.defense import NoDefense
from sltoolkit.contracts.knowledge import Hints
from sltoolkit.data.samples import Samples, Split
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import UShaped, Vanilla
from sltoolkit.streams import Stream
from sltoolkit.testing.ears import RecordingEar
from sltoolkit.training.phases import run_phases
from sltoolkit.training.run import seat_parties

pytestmark = pytest.mark.golden


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
