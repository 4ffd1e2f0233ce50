"""What the rows claim about differential privacy."""

import math
from collections import Counter
from typing import Any

import pytest
from scipy.special import log_ndtr
from support.situations import AttentionAcrossTokens, parted, perceptron
from torch import Tensor, nn

import sltoolkit as sl
from sltoolkit.errors import SLToolkitError
from sltoolkit.privacy import compose, epsilon_of


def test_a_guarantee_per_example_needs_a_client_that_treats_examples_alone() -> None:
    def network() -> nn.Module:  # attention across the batch, which is torch's default
        across = AttentionAcrossTokens(width=16, batch_first=False)
        return nn.Sequential(across, nn.Flatten(), nn.Linear(128, 2))

    def train() -> sl.Victim:
        return sl.train(
            network, parted(), cut=0, training=sl.Training(epochs=1),
            defense=sl.DPActivations(epsilon=50.0, clip=5.0),
        )  # fmt: skip

    refused = False
    try:
        train()
    except SLToolkitError:
        refused = True
    assert refused


def _releases_of_the_busiest_record(
    monkeypatch: pytest.MonkeyPatch, defense: sl.DPActivations
) -> tuple[int, float]:
    sent: Counter[int] = Counter()
    smash = sl.DPActivations.smash

    def counting(self: sl.DPActivations, z: Tensor, turn: Any) -> Tensor:
        if turn.phase == "train":
            sent.update(turn.ids.tolist())
        return smash(self, z, turn)

    monkeypatch.setattr(sl.DPActivations, "smash", counting)
    listener = sl.PCAT.paper()
    grants = {"aux", "release", "prior", "client_arch"}
    victim = sl.train(
        perceptron(), parted(), cut=1, defense=defense, protocol=sl.SplitFedV2(clients=3),
        partition=sl.WithReplacement(size=300), listeners=[listener], grants=grants,
        training=sl.Training(epochs=2), targets=sl.Targets(count=4),
    )  # fmt: skip
    row = sl.attack(victim, listener, grants=grants).rows().iloc[0]
    return max(sent.values()), float(row["epsilon"])


def test_epsilon_composes_all_releases_of_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    defense = sl.DPActivations(epsilon=5.0, clip=5.0)

    releases, claimed = _releases_of_the_busiest_record(monkeypatch, defense)

    true = epsilon_of(1e-5, compose(defense.sigma / 10, releases))  # sensitivity: twice the clip
    assert claimed >= true * 0.999


@pytest.mark.parametrize(
    "epsilon",
    [1e3, 1e12, 1e200],
)
def test_the_noise_of_any_epsilon_is_found_or_refused(
    epsilon: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Counter[str]()

    def counted(value: float) -> float:
        calls["log_ndtr"] += 1
        assert calls["log_ndtr"] < 10_000, "it would never return"
        return float(log_ndtr(value))

    monkeypatch.setattr("sltoolkit.privacy.gaussian.log_ndtr", counted)

    sigma = sl.DPActivations(epsilon=epsilon, clip=1.0).sigma

    assert sigma == pytest.approx(math.sqrt(2 / epsilon), rel=0.2)  # sigma / 2 is 1 / sqrt(2 eps)
