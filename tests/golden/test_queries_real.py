"""Attacks that query the client, on real photographs, heartbeats and people."""

from pathlib import Path
from typing import Any

import pytest

import sltoolkit as sl

ATTACKS: dict[str, sl.Attack[Any]] = {
    "decoder": sl.Decoder(epochs=12, width=8),
    "regression": sl.Regression(draws=2),
    "retrieval": sl.Retrieval(),
}


def gains(data: sl.data.Split, model: str, cut: str, defense: sl.Defense) -> dict[str, float]:
    """By how much each attack's error on 24 targets is below the best prior-only baseline's."""
    victim = sl.train(
        model, data, cut=cut, defense=defense, training=sl.Training(epochs=1),
        targets=sl.Targets(count=24),
    )  # fmt: skip
    found = {}
    for name, attack in ATTACKS.items():
        verdict = sl.attack(victim, attack).verdict
        prior = min(verdict.baselines["mse"].values())
        found[name] = 1 - float(verdict.scores["mse"].mean()) / prior
    return found


def check(data: sl.data.Split, model: str, cut: str) -> None:
    undefended = gains(data, model, cut, sl.NoDefense())
    assert undefended["regression"] > 0.5
    assert undefended["decoder"] > 0.5
    assert undefended["retrieval"] > 0.1
    assert max(gains(data, model, cut, sl.GaussianNoise(std=300.0)).values()) < 0.03


def test_photographs_leak_and_strong_noise_leaves_the_prior() -> None:
    check(sl.data.load("photos", train=100, holdout=60, aux=250), "lenet", "conv1")


@pytest.mark.parametrize(("name", "model"), [("mitbih", "ecg_cnn"), ("adult", "mlp")])
def test_signals_and_features_leak_and_strong_noise_leaves_the_prior(
    name: str, model: str, shared_data: Path
) -> None:
    data = sl.data.load(name, train=2000, holdout=100, aux=400, root=shared_data)
    check(data, model, "relu1")


def test_strong_noise_is_answered_with_the_class_by_who_sees_labels() -> None:
    data = sl.data.load("photos", train=100, holdout=60, aux=300)
    victim = sl.train(
        "lenet", data, cut="conv1", defense=sl.GaussianNoise(std=300.0),
        training=sl.Training(epochs=1), targets=sl.Targets(count=60),
    )  # fmt: skip
    verdict = sl.attack(victim, sl.Decoder(epochs=12, width=8)).verdict
    assert "labels" in verdict.knowledge
    reached = float(verdict.scores["mse"].mean())
    assert reached < 0.8 * verdict.baselines["mse"]["mean_image"]
