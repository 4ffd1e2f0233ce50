"""The two ends of every trade-off, on real photographs and real digits."""

from pathlib import Path
from typing import Any

import pytest

import sltoolkit as sl

pytestmark = [pytest.mark.golden, pytest.mark.full_length]

GRANTS = {*sl.STANDARD_GRANTS, "client_weights"}
ATTACKS: dict[str, sl.Attack[Any]] = {
    "decoder": sl.Decoder(steps=130, width=8, lr=1e-2, batch_size=16, budget=0),
    "whitebox": sl.WhiteBox(steps=40, tv_beta=1, start="mean"),
}


def gains(data: sl.data.Split, defense: sl.Defense) -> dict[str, float]:
    """Each attack's SSIM minus that of the best prior-only baseline, on 12 targets of a victim."""
    victim = sl.train(
        "lenet", data, cut="conv1", defense=defense, training=sl.Training(epochs=2),
        targets=sl.Targets(count=12),
    )  # fmt: skip
    found = {}
    for name, attack in ATTACKS.items():
        rows = sl.attack(victim, attack, grants=GRANTS).rows().set_index("metric")
        found[name] = float(rows["gain"].to_dict()["ssim"])
    return found


def photos() -> sl.data.Split:
    return sl.data.load("photos", train=200, holdout=100, aux=150)


def check(data: sl.data.Split) -> None:
    undefended, some, drowned = (
        gains(data, defense)
        for defense in (sl.NoDefense(), sl.GaussianNoise(std=0.5), sl.GaussianNoise(std=300.0))
    )
    assert min(undefended.values()) > 0.3
    assert 0.03 < max(some.values()) < max(undefended.values())
    assert max(drowned.values()) < 0.03


def test_undefended_photographs_leak_some_noise_lies_between_and_much_leaves_the_prior() -> None:
    check(photos())


def test_undefended_digits_leak_some_noise_lies_between_and_much_leaves_the_prior(
    shared_data: Path,
) -> None:
    check(sl.data.load("mnist", train=200, holdout=100, aux=150, root=shared_data))


def test_the_direction_attack_leaks_labels_on_photographs_through_noise_on_smashed_data() -> None:
    victim = sl.train(
        "lenet", photos(), cut=("conv1", "fc2"), protocol="u_shaped",
        defense=sl.GaussianNoise(std=0.5), training=sl.Training(epochs=2),
        targets=sl.Targets(count=4, labels=100),
    )  # fmt: skip
    rows = sl.attack(victim, sl.Direction(), grants={"hints"}).rows().set_index("metric")
    assert rows.loc["leak_auc", "gain"] == pytest.approx(0.5, abs=0.1)
