"""What a victim's utility is compared with."""

import numpy as np
import pytest
import torch
from support.situations import perceptron
from torch import nn

import sltoolkit as sl
from sltoolkit.report.sentence import sentence


def test_chance_is_the_best_constant_guess() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(1000) < 0.05).astype(int)
    pool = sl.data.from_arrays(rng.random((1000, 1, 8, 8), dtype=np.float32), y)
    data = sl.data.split(pool, train=400, holdout=300, aux=100)
    victim = sl.train(perceptron(), data, cut=1, training=sl.Training(epochs=0))

    row = sl.attack(victim, sl.Retrieval(distance="euclidean")).rows().iloc[0]

    majority = 1 - data.private_holdout.y.float().mean().item()
    assert row["chance"] == pytest.approx(majority)


def test_an_accuracy_at_the_majority_share_is_called_useless() -> None:
    """A network that says 0 whatever it sees, on 5 % positives."""
    rng = np.random.default_rng(1)
    y = (np.arange(600) % 20 == 0).astype(int)
    pool = sl.data.from_arrays(rng.random((600, 4), dtype=np.float32), y)
    data = sl.data.split(pool, train=300, holdout=200, aux=60)
    negative = nn.Linear(4, 2)
    nn.init.zeros_(negative.weight)
    negative.bias.data = torch.tensor([1.0, 0.0])
    victim = sl.frozen(nn.Identity(), negative, data, targets=sl.Targets(count=8))
    assert victim.utility == data.private_holdout.majority_share > 0.9
    assert victim.balanced_accuracy == 0.5
    assert f"(majority share {victim.utility:.3f}), balanced accuracy 0.500" in repr(victim)

    table = sl.table([sl.attack(victim, sl.Retrieval(distance="euclidean"))])
    assert list(table["unusable"]) == [True]
    shown = sl.formatted(table).iloc[0]
    assert shown["majority share"] == shown["accuracy"].partition(" ")[0]
    assert shown["balanced accuracy"] == "0.50 (n=1)"
    assert shown["note"] == "unusable: not above the majority share"
    assert "they have not learned the task" in sentence(table)
