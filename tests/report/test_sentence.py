"""Closing sentences, from synthetic rows whose numbers are known."""

import json

import pandas as pd
import pytest
from support.rows import ACCURACY, STRONG, fail, make_rows

from sltoolkit.report.sentence import sentence
from sltoolkit.report.tables import summary

CHEAP = [a - 0.005 for a in ACCURACY["none"]]
"""Accuracies half a point below the undefended ones of the same seeds."""


def with_accuracy(rows: pd.DataFrame, defense: str, accuracy: list[float]) -> pd.DataFrame:
    """The rows with the accuracies of `weak` or `strong` victims, by seed."""
    params = {"weak": '{"std": 0.5}', "strong": json.dumps(STRONG[1])}[defense]
    hit = rows["defense_params"] == params
    rows.loc[hit, "utility"] = rows.loc[hit, "victim_seed"].map(dict(enumerate(accuracy)))
    return rows


def with_ends(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with bootstraps over each victim's targets."""
    return rows.assign(
        gain_low=rows["gain"] - 0.05, gain_high=rows["gain"] + 0.05,
        ci_low=rows["value"] - 0.05, ci_high=rows["value"] + 0.05,
    )  # fmt: skip


def test_sentence_names_the_leak_the_best_defense_and_its_price() -> None:
    rows = with_accuracy(make_rows(), "strong", CHEAP)
    text = sentence(summary(rows))
    assert text.startswith("Cut after conv1, undefended: the whitebox attack recovers the inputs")
    assert "SSIM ≤ 0.97 against 0.10 from the prior alone; gain ≤ +0.87 [≥ +0.75])" in text
    assert "gaussian_noise(std=2) brings the gain down to ≤ +0.10 [≥ -" in text
    assert "an interval that contains 0: no leak is shown" in text
    assert "at an accuracy of 0.81 instead of 0.82. The norm attack recovers the labels" in text
    # the label leak is the same everywhere
    assert "no defense within the accuracy budget of 3 points is shown to bring the gain" in text
    assert text.endswith("From 3 victims each.")


def test_no_defense_is_recommended_at_any_price() -> None:
    text = sentence(summary(make_rows(with_labels=False)))
    assert "gaussian_noise(std=2)" not in text  # it leaks least, for 12 points
    assert "gaussian_noise(std=0.5) brings the gain down to ≤ +0.65 [≥ +" in text
    assert "but it is not shown to stay within the accuracy budget of 3 points" in text

    text = sentence(summary(make_rows(with_labels=False), accuracy_budget=0.01))
    assert "brings" not in text
    assert "no defense stays within the accuracy budget of 1 point" in text
    assert "the cheapest, gaussian_noise(std=0.5), loses 3 points of accuracy" in text

    text = sentence(summary(make_rows(with_labels=False), accuracy_budget=0.3))
    assert "gaussian_noise(std=2) brings the gain down to ≤ +0.10 [≥ -" in text
    assert "but it is not shown" not in text


def test_a_price_that_is_shown_comes_before_a_smaller_leak_at_an_unknown_price() -> None:
    rows = with_accuracy(make_rows(with_labels=False), "weak", CHEAP)
    text = sentence(summary(with_accuracy(rows, "strong", [0.95, 0.60, 0.90])))
    assert "gaussian_noise(std=0.5) brings the gain down to ≤ +0.65 [≥ +" in text
    assert "not shown to stay" not in text


def test_an_effect_is_claimed_only_where_the_paired_interval_excludes_0() -> None:
    rows = make_rows(with_labels=False)
    for defense in ("weak", "strong"):
        rows = with_accuracy(rows, defense, CHEAP)
    undefended = rows["defense"] == "none"
    rows.loc[~undefended, "gain"] = 0.7 - 0.4 * (rows.loc[~undefended, "victim_seed"] == 1)
    text = sentence(summary(rows))
    assert "brings" not in text
    assert "no defense within the accuracy budget of 3 points is shown to bring the gain" in text
    assert "gaussian_noise(std=0.5) leaves ≤ +" in text


def test_one_victim_shows_no_effect() -> None:
    text = sentence(summary(with_ends(make_rows(seeds=1))))
    assert "brings" not in text
    assert "one pair of victims gives no interval, so no effect is shown" in text
    assert "at an accuracy of 0.80 instead of 0.82" in text
    assert "From one victim, with intervals over its targets" in text


def test_without_undefended_victims_nothing_is_compared() -> None:
    rows = make_rows(with_labels=False)
    text = sentence(summary(rows[rows["defense"] != "none"]))
    assert "brings" not in text
    assert "gaussian_noise(std=2) leaves the whitebox attack ≤ +0.10 [≥ -" in text
    assert "without undefended victims, neither its effect nor its price is known" in text

    rows.loc[rows["defense"] != "none", "victim_seed"] += 10
    text = sentence(summary(rows))
    assert "no defense can be compared with undefended victims of the same seeds" in text


@pytest.mark.parametrize("attacks", [["whitebox", "decoder"], ["whitebox"]])
def test_no_defense_that_is_not_judged_is_recommended(attacks: list[str]) -> None:
    rows = make_rows(with_labels=False)
    for attack in attacks:
        rows = fail(rows, "strong", attack, 0)
    text = sentence(summary(rows, accuracy_budget=1))
    assert "gaussian_noise(std=0.5) brings" in text
    assert "not judged because an attack is missing: gaussian_noise(std=2)" in text


def test_balanced_accuracy_is_stated_where_it_differs() -> None:
    rows = make_rows(with_labels=False).assign(chance=0.6, balanced_chance=0.1)
    same = sentence(summary(rows.assign(balanced_accuracy=rows["utility"])))
    assert "balanced" not in same
    text = sentence(summary(rows.assign(balanced_accuracy=rows["utility"] - 0.1)))
    assert "at an accuracy of 0.79 instead of 0.82 (balanced: 0.69 instead of 0.72)" in text


def test_victims_that_never_learned_are_warned_of() -> None:
    rows = make_rows(with_labels=False).assign(chance=0.9, balanced_chance=0.5)
    text = sentence(summary(rows.assign(balanced_accuracy=0.5)))
    assert "no defense leaves victims that do better than the majority share" in text
    assert (
        "Warning: undefended victims reach an accuracy of 0.82, and a constant guess reaches"
        in (text)
    )
    assert "majority share of 0.90: they have not learned the task" in text

    rare = sentence(summary(rows.assign(balanced_accuracy=0.7)))
    assert "they have learned shows in their balanced accuracy of 0.70 only" in rare

    unsure = sentence(summary(rows.assign(chance=0.8, balanced_accuracy=0.5)))
    assert "are not shown to do better than the majority share of 0.80" in unsure

    for known in (rows.assign(chance=0.5), rows.drop(columns=["chance", "balanced_chance"])):
        assert "Warning" not in sentence(summary(known))


def test_sentence_does_not_call_it_a_leak_where_every_attack_does_worse_than_the_prior() -> None:
    rows = make_rows()
    below = rows["attack"].isin(["whitebox", "decoder"])
    rows.loc[below, "gain"] = -0.2 + 0.001 * rows.loc[below, "victim_seed"]
    rows.loc[below, "value"] = rows.loc[below, "baseline"] + rows.loc[below, "gain"]
    text = sentence(summary(rows))
    assert "undefended: no attack recovers the inputs: " in text
    assert "does worse than the prior (SSIM" in text
    assert "recovers the inputs (" not in text


def test_sentence_does_not_call_it_a_leak_where_the_interval_contains_0() -> None:
    rows = make_rows()
    about = rows["attack"].isin(["whitebox", "decoder"])
    rows.loc[about, "gain"] = 0.03 - 0.02 * rows.loc[about, "victim_seed"]
    text = sentence(summary(rows))
    assert "undefended: no attack is shown to recover the inputs: " in text
    assert "the best, may do no better than the prior (SSIM" in text
    assert "recovers the inputs (" not in text


def test_sentence_says_if_the_accuracy_may_be_over_training_data() -> None:
    rows = make_rows()
    assert "over training data" not in sentence(summary(rows))
    rows["holdout_unseen"] = rows["victim_seed"] > 0
    assert sentence(summary(rows)).count("Accuracy may be over training data") == 1


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_missing_attack_makes_no_leak_out_of_none(seeds: int) -> None:
    rows = with_ends(make_rows(seeds=seeds, with_labels=False).assign(gain=-0.1))
    text = sentence(summary(fail(rows, "none", "whitebox", 0)))
    assert "undefended: no attack is shown to recover the inputs: decoder, the best, " in text
    assert "(a lower bound, without whitebox)" in text


def test_sentence_warns_of_a_defense_that_protects_only_trained_records() -> None:
    rows = make_rows()
    assert "Warning: far less" not in sentence(summary(rows))
    strong = rows["defense_params"].str.contains("2.0")
    rows["trained_only"] = None
    rows.loc[strong & (rows["victim_seed"] == 1), "trained_only"] = True
    text = sentence(summary(rows))
    assert (
        "Warning: far less leaks about records that the victim trained on than about others with "
        "gaussian_noise(std=2), which may protect only the former. From 3 victims each."
    ) in text
