"""How long an inverse network is trained, and on which samples."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sltoolkit.adversary.inverse_training import (
    FEW,
    Pairs,
    held_out_inverse,
    steps_for,
    trained_inverse,
)
from sltoolkit.metrics.losses import LOSSES
from sltoolkit.networks.fitting import FOLDS, Fit
from sltoolkit.streams import Stream

Training = Callable[..., tuple[nn.Module, float]]

HOW = Fit(steps=40, loss=LOSSES["mse"], lr=1e-2, batch_size=8)


def asked(
    n: int, held_out: float, train: Training = trained_inverse
) -> tuple[list[set[int]], float]:
    """The sets of own samples whose smashed data were drawn, one after another, and the error."""
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(0))
    seen: list[set[int]] = []

    def draw(rows: Tensor) -> Tensor:
        seen.append(set(rows.tolist()))
        return x[rows]

    with Stream(0).scope():
        pairs = Pairs(x=x, y=None, draw=draw)
        _, error = train(lambda: nn.Linear(3, 3), pairs, how=HOW, held_out=held_out)
    return seen, error


def test_of_many_samples_some_are_held_out_and_never_learned_from() -> None:
    (check, *learned), error = asked(FEW, 0.2)
    assert len(check) == 0.2 * FEW
    assert all(not check & rows for rows in learned)
    assert set.union(check, *learned) == set(range(FEW))
    assert 0 < error < 10


def test_few_samples_are_cross_validated_and_then_all_learned_from() -> None:
    seen, error = asked(30, 0.1)
    assert seen[-1] == set(range(30))
    folds = [rows for rows in seen if len(rows) <= math.ceil(30 / FOLDS)]
    assert set.union(*folds) == set(range(30))
    assert sum(map(len, folds)) == 30
    assert 0 < error < 10


def test_without_a_choice_all_samples_are_learned_from_to_the_end() -> None:
    seen, error = asked(30, 0.0)
    assert seen == [set(range(30))] * 10  # 40 steps of 8 samples are 10 passes
    assert math.isnan(error)


@pytest.mark.parametrize("n", [3, 100])
def test_two_samples_are_always_left_to_learn_from(n: int) -> None:
    (check, *learned), _ = asked(n, 0.999, held_out_inverse)
    assert len(check) == n - 2
    assert set.union(*learned) == set(range(n)) - check


@pytest.mark.parametrize(("samples", "steps"), [(3, 1500), (600, 1500), (4000, 1890)])
def test_few_samples_need_as_many_steps(samples: int, steps: int) -> None:
    assert steps_for(samples, 64) == steps
