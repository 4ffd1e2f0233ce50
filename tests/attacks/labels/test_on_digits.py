"""The label attacks on a real U-shaped training, from the seat of the server without labels."""

import pytest
import torch
from sklearn.datasets import load_digits
from support.label_views import auc, guess, hints_of, view
from torch import Tensor, nn

from sltoolkit.attacks.labels.direction import Direction
from sltoolkit.attacks.labels.norm import Norm
from sltoolkit.contracts.defense import NoDefense
from sltoolkit.data.samples import Samples, Split
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import UShaped
from sltoolkit.streams import Stream
from sltoolkit.training.phases import run_phases
from sltoolkit.training.run import seat_parties
from sltoolkit.wire.message import Link
from sltoolkit.wire.transcript import Recording, Transcript

pytestmark = pytest.mark.golden


def digits(*, zero_or_not: bool) -> Split:
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    y = torch.tensor(labels, dtype=torch.int64)
    y = (y == 0).long() if zero_or_not else y
    whole = Samples(x=x, y=y, ids=torch.arange(len(y)), groups=torch.arange(len(y)))
    return Split(
        name="digits",
        private_train=whole[:600],
        private_holdout=whole[600:700],
        aux=whole[700:800],
        classes=("other", "zero") if zero_or_not else tuple("0123456789"),
    )


def u_shaped_gradients(data: Split, *, epoch: int) -> tuple[Tensor, Tensor]:
    """What the server of a U-shaped training heard in one epoch, and the true labels."""
    with Stream(3).scope():
        parts = (
            nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU()),
            nn.Sequential(nn.Flatten(), nn.Linear(512, 48), nn.ReLU()),
            nn.Linear(48, len(data.classes)),
        )
    recorded = frozenset({epoch})
    transcript = Transcript(Recording(kinds=frozenset({"smashed_grad"}), epochs=recorded))
    run = seat_parties(
        parts,
        data,
        protocol=UShaped(),
        defense=NoDefense(),
        training=Training(epochs=epoch + 1, batch_size=32),
        rng=Stream(0),
        ears=[transcript],
    )
    run_phases(run, epoch + 1)
    record = transcript.record(Link("client", "server", "smashed_grad"))
    order = torch.randperm(len(record.ids), generator=torch.Generator().manual_seed(0))
    return record.rows[order], data.private_train.y[record.ids[order]]


@pytest.mark.parametrize("epoch", [0, 4])
@pytest.mark.parametrize("per_class", [1, 5])
def test_ten_digits_leak_their_labels_to_the_server_of_a_u_shaped_network(
    epoch: int, per_class: int
) -> None:
    g, y = u_shaped_gradients(digits(zero_or_not=False), epoch=epoch)
    hints, rest = hints_of(g, y, per_class)
    scores = guess(Direction(), view(g[rest], classes=10, hints=hints))
    assert auc(scores, y[rest]) > 0.99
    assert (scores.argmax(1) == y[rest]).double().mean() > 0.95


@pytest.mark.parametrize("epoch", [0, 4])
def test_an_imbalanced_task_leaks_without_any_hint(epoch: int) -> None:
    g, y = u_shaped_gradients(digits(zero_or_not=True), epoch=epoch)
    assert auc(guess(Norm(), view(g, prior=[0.9, 0.1])), y) > 0.95
    assert auc(guess(Direction(), view(g, prior=[0.9, 0.1])), y) > 0.99
