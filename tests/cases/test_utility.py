"""What a victim's utility is compared with."""

import numpy as np
import pytest
from support.situations import open_fault, perceptron

import sltoolkit as sl


@open_fault("chance is one over the classes, whatever their shares")
def test_chance_is_the_best_constant_guess() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(1000) < 0.05).astype(int)
    pool = sl.data.from_arrays(rng.random((1000, 1, 8, 8), dtype=np.float32), y)
    data = sl.data.split(pool, train=400, holdout=300, aux=100)
    victim = sl.train(perceptron(), data, cut=1, training=sl.Training(epochs=0))

    row = sl.attack(victim, sl.Retrieval(distance="euclidean")).rows().iloc[0]

    majority = 1 - data.private_holdout.y.float().mean().item()
    assert row["chance"] == pytest.approx(majority, abs=0.02)
