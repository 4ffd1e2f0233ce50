"""Defenses in pairs: against no defense, and against noise of equal accuracy."""

import math

import numpy as np
import pandas as pd
import pytest
from support.rows import ACCURACY, GAINS, fail, make_rows
from support.simulated import at_least

from sltoolkit.metrics import paired_difference, worst_difference
from sltoolkit.report.comparisons import (
    WORST,
    System,
    comparisons,
    equally_accurate,
    formatted_comparisons,
)

ATTACKS = ("whitebox", "decoder")
EQUAL = "noise at equal accuracy"


def with_nopeek(cost: float = 0.06) -> pd.DataFrame:
    """Rows with another defense, which halves the gain of every attack at a price in accuracy."""
    rows = make_rows(with_labels=False)
    plain = rows[rows.defense == "none"]
    learned = plain.assign(
        defense="nopeek", defense_params='{"weight": 1.0}', gain=plain.gain / 2,
        utility=plain.utility - cost,
    )  # fmt: skip
    return pd.concat([rows, learned])


def of(table: pd.DataFrame, label: str, against: str, attack: str) -> dict[str, object]:
    found = table[(table.label == label) & (table.against == against) & (table.attack == attack)]
    assert len(found) == 1
    return {str(k): v for k, v in found.iloc[0].items()}


def test_every_defense_is_compared_with_none_in_pairs() -> None:
    table = comparisons(make_rows(with_labels=False))
    for name, label in (("weak", "gaussian_noise(std=0.5)"), ("strong", "gaussian_noise(std=2)")):
        cost = paired_difference(ACCURACY[name], ACCURACY["none"])
        for attack in ATTACKS:
            found = of(table, label, "undefended", attack)
            want = paired_difference(GAINS[name, attack], GAINS["none", attack])
            assert [found[k] for k in ("gain", "gain_low", "gain_high")] == pytest.approx(
                [want.value, want.low, want.high]
            )
            assert found["accuracy"] == pytest.approx(cost.value)
            assert found["accuracy_high"] == pytest.approx(cost.high)
        worst = of(table, label, "undefended", WORST)
        low, high = worst_difference(
            {a: GAINS[name, a] for a in ATTACKS}, {a: GAINS["none", a] for a in ATTACKS}
        )
        assert [worst["gain_low"], worst["gain_high"]] == pytest.approx([low, high])
        assert math.isnan(float(str(worst["gain"])))  # a difference of worst cases has no point
    assert set(table["against"]) == {"undefended"}  # noise isn't compared with noise
    assert set(table["pairs"]) == {3}


def test_a_defense_is_compared_with_noise_of_equal_accuracy() -> None:
    table = comparisons(with_nopeek(cost=0.075))  # half way between .79 and .70
    found = of(table, "nopeek(weight=1)", EQUAL, "whitebox")
    reference = "gaussian_noise(std=0.5) and for 50% gaussian_noise(std=2)"
    assert found["reference"] == reference
    assert found["accuracy"] == pytest.approx(0)
    between = (np.mean(GAINS["weak", "whitebox"]) + np.mean(GAINS["strong", "whitebox"])) / 2
    assert found["gain"] == pytest.approx(np.mean(GAINS["none", "whitebox"]) / 2 - between)


def test_beyond_the_strengths_of_noise_the_nearest_is_the_reference() -> None:
    better, worse = comparisons(with_nopeek(cost=-0.01)), comparisons(with_nopeek(cost=0.3))
    assert of(better, "nopeek(weight=1)", EQUAL, WORST)["reference"] == "undefended"
    found = of(worse, "nopeek(weight=1)", EQUAL, WORST)
    assert found["reference"] == "gaussian_noise(std=2)"
    assert found["accuracy"] == pytest.approx(-0.18)


def test_the_interval_covers_the_uncertainty_of_the_accuracies() -> None:
    """A defense on the line between two strengths differs from it by nothing."""
    rng, seeds, hits, naive = np.random.default_rng(0), 5, [], []

    def system(accuracy: float, gain: float, shared: "np.ndarray[tuple[int], np.dtype[np.float64]]"
    ) -> System:  # fmt: skip
        reached = (accuracy + rng.normal(0, 0.02, seeds)).tolist()
        gains = {"a": (gain + shared + rng.normal(0, 0.01, seeds)).tolist()}
        return System(label="", accuracy=reached, gains=gains)

    for _ in range(600):
        shared = rng.normal(0, 0.1, seeds)
        own, high, low = (system(*at, shared) for at in ((0.8, 0.5), (0.9, 0.8), (0.7, 0.2)))
        found = paired_difference(own.gains["a"], equally_accurate(own, [low, high]).gains["a"])
        hits.append(found.low <= 0 <= found.high)
        share = (high.mean_accuracy - own.mean_accuracy) / (high.mean_accuracy - low.mean_accuracy)
        fixed = [
            (1 - share) * x + share * y
            for x, y in zip(high.gains["a"], low.gains["a"], strict=True)
        ]
        plain = paired_difference(own.gains["a"], fixed)
        naive.append(plain.low <= 0 <= plain.high)
    assert np.mean(hits) >= at_least(0.93, len(hits))
    assert np.mean(naive) < 0.8


def test_a_missing_attack_leaves_no_upper_end() -> None:
    table = comparisons(fail(make_rows(with_labels=False), "strong", "decoder", 0))
    found = of(table, "gaussian_noise(std=2)", "undefended", WORST)
    assert math.isnan(float(str(found["gain_high"])))
    assert math.isfinite(float(str(found["gain_low"])))


def test_comparisons_as_text() -> None:
    shown = formatted_comparisons(comparisons(with_nopeek(cost=0.075)))
    first = shown.iloc[0]
    assert (first["defense"], first["minus"]) == ("gaussian_noise(std=0.5)", "undefended")
    assert first["attack"] == WORST
    assert first["gain"].startswith("≤ -0.")
    assert first["accuracy"] == "-0.030 [-0.073, +0.013]"
    assert any(text.startswith(f"{EQUAL}: gaussian_noise(std=0.5) and") for text in shown["minus"])


def test_without_a_second_defense_there_is_nothing_to_compare() -> None:
    rows = make_rows()
    assert comparisons(rows[rows.defense == "none"]).empty
    assert formatted_comparisons(comparisons(rows[rows.defense == "none"])).empty


def test_differences_stay_in_the_range_of_the_metric() -> None:
    rows = make_rows(with_labels=False)
    wild = rows["defense"] == "none"
    rows.loc[wild, "utility"] = rows.loc[wild, "victim_seed"].map({0: 0.0, 1: 1.0, 2: 0.0})
    ssim = wild & (rows["metric"] == "ssim")
    rows.loc[ssim, "value"] = rows.loc[ssim, "victim_seed"].map({0: -1.0, 1: 1.0, 2: -1.0})
    rows.loc[ssim, "gain"] = rows.loc[ssim, "value"] - rows.loc[ssim, "baseline"]
    found = comparisons(rows)
    assert found["accuracy_low"].min() >= -1
    assert found["accuracy_high"].max() <= 1
    assert found["gain_low"].min() >= -2  # SSIM lies in [-1, 1], and the prior is the same
    assert found["gain_high"].max() <= 2
    assert found["gain_high"].max() > 1
