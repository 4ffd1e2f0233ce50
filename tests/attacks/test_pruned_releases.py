"""Random pruning, with its one mask per batch: attackers learn from masks of all kinds."""

from typing import Any

import pytest
import torch
from support.white_box_views import conv_client, digits, error, seeded
from torch import Tensor

import sltoolkit as sl
from sltoolkit.attacks.inversion._query import LabeledQueryView, QueryView
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.knowledge import Aux, Release
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.streams import Stream

pytestmark = pytest.mark.golden

OWN, TARGETS = digits(240), digits(400)[240:]
TASK = Task(input_shape=(1, 8, 8), smashed_shape=(8, 8, 8), classes=10)


class Pruned:
    """One convolution; each query withholds four of its eight channels, and the mask is noted."""

    def __init__(self, seed: int) -> None:
        self.client, self.generator = conv_client(), seeded(seed)
        self.masks: list[Tensor] = []

    def __call__(self, x: Tensor) -> Tensor:
        mask = torch.randperm(8, generator=self.generator) < 4
        self.masks.append(mask)
        sent: Tensor = self.client(x).masked_fill(mask[:, None, None], 0)
        return sent


def run(attack: Any, view: Any, *, per_batch: bool, **more: Any) -> tuple[Reconstruction, int]:
    """The reconstruction of targets with one mask each, and how many queries it learned from."""
    pruned = Pruned(1)
    given = view(
        smashed=Release(Pruned(0))(TARGETS, chunk=1), release=Release(pruned, per_batch=per_batch),
        aux=Aux(x=OWN, y=torch.zeros(len(OWN), dtype=torch.int64)), task=TASK, **more,
    )  # fmt: skip
    outcome = attack.run(given, rng=Stream(0))
    assert isinstance(outcome, Reconstruction)
    return outcome, len(pruned.masks)


@pytest.mark.parametrize(
    ("attack", "view", "more", "passes"),
    [
        (sl.Decoder(steps=60, width=8, lr=1e-2), LabeledQueryView, {"labels": None}, 12),
        (sl.Regression(draws=2), QueryView, {}, 2),
        (sl.Retrieval(distance="euclidean"), QueryView, {}, 1),
    ],
    ids=["decoder", "regression", "retrieval"],
)
def test_every_own_sample_has_a_mask_of_its_own(
    attack: Any, view: Any, more: dict[str, Any], passes: int
) -> None:
    """An attack that learned from a single mask would fit that mask, and do worse on others."""
    own, masks = run(attack, view, per_batch=True, **more)
    shared, few = run(attack, view, per_batch=False, **more)
    assert masks >= passes * 0.9 * len(OWN) > 10 * few
    assert error(own.images, TARGETS) < 0.8 * error(shared.images, TARGETS)


def test_the_error_that_regression_states_is_the_one_it_makes() -> None:
    """Aux samples are left out with their masks; known masks would make the error look small."""
    found, _ = run(sl.Regression(draws=2), QueryView, per_batch=True)
    stated = found.diagnostics["left_out_mse"]
    assert stated == pytest.approx(error(found.images, TARGETS), rel=0.2)
