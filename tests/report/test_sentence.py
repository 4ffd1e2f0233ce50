"""Closing sentences, from synthetic rows whose numbers are known."""

from support.rows import make_rows

from sltoolkit.report.sentence import sentence
from sltoolkit.report.tables import summary


def test_sentence_names_the_leak_the_best_defense_and_its_price() -> None:
    text = sentence(summary(make_rows()))
    assert text.startswith("Cut after conv1, undefended: the whitebox attack recovers the inputs")
    assert "SSIM ≤ 0.97 against 0.10 from the prior alone; gain ≤ +0.87 [≥ +0.75])" in text
    assert "gaussian_noise(std=2) brings the gain down to ≤ +0.10 [≥ -" in text
    assert "an interval that contains 0: no leak is shown" in text
    assert "at an accuracy of 0.70 instead of 0.82" in text
    assert "The norm attack recovers the labels" in text
    assert "no defense brings the gain down" in text  # the label leak is the same everywhere
    assert text.endswith("From 3 victims each.")


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
