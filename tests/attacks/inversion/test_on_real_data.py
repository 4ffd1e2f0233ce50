"""Attacks that query the client, on real photographs, heartbeats and people."""

from pathlib import Path
from typing import Any

import pytest

import sltoolkit as sl

pytestmark = pytest.mark.golden

Attacks = dict[str, sl.Attack[Any]]
ATTACKS: Attacks = {
    "decoder": sl.Decoder(steps=120, width=8, loss="mse", budget=0),
    "regression": sl.Regression(draws=2),
    "retrieval": sl.Retrieval(),
}
ON_PHOTOGRAPHS: Attacks = {
    "decoder": sl.Decoder(steps=90, width=8, lr=1e-2, batch_size=16, loss="mse", budget=0),
    "regression": sl.Regression(draws=2, reach=0),  # comparing windows takes half a minute
    "retrieval": sl.Retrieval(),
}


def gains(
    data: sl.data.Split, model: str, cut: str, attacks: Attacks, defense: sl.Defense
) -> dict[str, float]:
    """How far each attack's error on 24 targets lies below that of the best prior-only baseline."""
    victim = sl.train(
        model, data, cut=cut, defense=defense, training=sl.Training(epochs=1),
        targets=sl.Targets(count=24),
    )  # fmt: skip
    found = {}
    for name, attack in attacks.items():
        verdict = sl.attack(victim, attack).verdict
        prior = min(verdict.baselines["mse"].values())
        found[name] = 1 - float(verdict.scores["mse"].mean()) / prior
    return found


def check(data: sl.data.Split, model: str, cut: str, attacks: Attacks) -> None:
    undefended = gains(data, model, cut, attacks, sl.NoDefense())
    assert undefended["regression"] > 0.5
    assert undefended["decoder"] > 0.5
    assert undefended["retrieval"] > 0.1
    drowned = gains(data, model, cut, attacks, sl.GaussianNoise(std=300.0))
    assert max(drowned.values()) < 0.03


def test_photographs_leak_and_strong_noise_leaves_the_prior() -> None:
    data = sl.data.load("photos", train=100, holdout=60, aux=150)
    check(data, "lenet", "conv1", ON_PHOTOGRAPHS)


@pytest.mark.parametrize(("name", "model"), [("mitbih", "ecg_cnn"), ("adult", "mlp")])
def test_signals_and_features_leak_and_strong_noise_leaves_the_prior(
    name: str, model: str, shared_data: Path
) -> None:
    data = sl.data.load(name, train=2600, holdout=600, aux=600, root=shared_data)  # whole patients
    check(data, model, "relu1", ATTACKS)


def test_strong_noise_is_answered_with_the_class_by_who_sees_labels() -> None:
    data = sl.data.load("photos", train=100, holdout=60, aux=300)
    victim = sl.train(
        "lenet", data, cut="conv1", defense=sl.GaussianNoise(std=300.0),
        training=sl.Training(epochs=1), targets=sl.Targets(count=60),
    )  # fmt: skip
    verdict = sl.attack(victim, sl.Decoder(steps=200, width=8, loss="mse", budget=0)).verdict
    assert "labels" in verdict.knowledge
    reached = float(verdict.scores["mse"].mean())
    assert reached < 0.8 * verdict.baselines["mse"]["mean_image"]
