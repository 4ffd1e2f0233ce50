"""Rows from victims and verdicts: what identifies them, and what is left out."""

from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from support.toys import CUT, QUICK, TARGETS, network, split

import sltoolkit as sl
from sltoolkit.contracts.attack import NoAttack
from sltoolkit.metrics import bootstrap_targets
from sltoolkit.rows.build import (
    attack_columns,
    attempt_columns,
    guessing_columns,
    recipe_columns,
    rows_of,
    tuned_text,
    victim_columns,
)
from sltoolkit.rows.columns import COLUMNS, Row
from sltoolkit.streams import Stream
from sltoolkit.testing.cheats.defenses import OnlyTrained


@pytest.fixture(scope="module")
def victim() -> sl.Victim:
    """A victim for tests that only look."""
    return sl.train(
        network, split(), cut=CUT, defense=sl.DPActivations(epsilon=2.0), seed=5, training=QUICK,
        targets=TARGETS,
    )  # fmt: skip


def test_a_victims_columns_are_its_recipe_and_what_was_measured(victim: sl.Victim) -> None:
    found = victim_columns(victim)
    assert found.items() >= recipe_columns(victim.recipe).items()
    assert set(found) <= set(COLUMNS)
    assert (found["victim_seed"], found["cut"], found["defense"]) == (5, CUT, "dp_activations")
    assert found["training"] == asdict(QUICK)
    assert (found["utility"], found["balanced_accuracy"]) == (
        victim.utility, victim.balanced_accuracy,
    )  # fmt: skip
    assert found.items() >= guessing_columns(victim.data).items()
    assert found["epoch_bytes"] == sum(victim.bytes.values()) / QUICK.epochs
    assert found["train_seconds"] == victim.costs.seconds > 0


def test_constant_guesses_are_measured_on_the_private_holdout() -> None:
    data, held = split(), split().private_holdout
    rare = replace(held, y=(torch.arange(len(held)) == 0).long())
    found = guessing_columns(replace(data, private_holdout=rare))
    assert found == {"chance": 1 - 1 / len(held), "balanced_chance": 1 / 2}


def test_what_was_trained_elsewhere_has_no_settings_of_a_training() -> None:
    whole = network()
    victim = sl.frozen(whole[:4], whole[4:], split(), targets=TARGETS)
    found = victim_columns(victim)
    assert (found["training"], found["epochs"], found["train_seconds"]) == (None, 1, 0.0)
    assert (found["model"], found["cut"]) == ("Sequential", "given")
    assert (found["heterogeneity"], found["reducer_error"]) == (None, None)


def test_a_victim_that_nobody_attacks_has_a_row_without_numbers(victim: sl.Victim) -> None:
    row = Row(**victim_columns(victim), **attack_columns(NoAttack(), seed=0))
    assert (row.family, row.status, row.metric, row.role) == ("utility", "ok", None, None)
    assert row.value != row.value
    assert row.utility == victim.utility


def test_rows_of_an_attack_share_all_but_the_metric(victim: sl.Victim) -> None:
    attack = sl.Retrieval(distance="cosine")
    result = sl.attack(victim, attack, seed=2)
    rows = rows_of(result.identity, result.verdict)
    assert [row.metric for row in rows] == list(result.verdict.scores)
    assert len({(row.attack, row.role, row.releases, row.epsilon) for row in rows}) == 1
    known = attempt_columns(victim, attack, seed=2, targets=victim.targets)
    assert result.identity.items() >= known.items()
    assert (rows[0].mounted, rows[0].target_set) == ("afterwards", "private_holdout")
    assert rows[0].adaptive  # because it may query the defended client
    assert rows[0].epsilon == pytest.approx(2.0)
    assert rows[0].delta == 1e-5
    for row in rows:
        priors = result.verdict.baselines[str(row.metric)]
        assert row.baseline == priors[row.baseline_name]
        assert row.retrieval == result.verdict.retrieval_score[str(row.metric)]
        assert row.ci_low <= row.value <= row.ci_high
        assert row.gain_low <= row.gain <= row.gain_high
    by_metric = {str(row.metric): row for row in rows}
    scores = result.verdict.scores["mse"]
    prior = torch.tensor(result.verdict.prior_scores["mse"][by_metric["mse"].baseline_name])
    want = bootstrap_targets(prior - scores, Stream(0).fresh("bootstrap").numpy())
    found = by_metric["mse"]
    assert [found.gain_low, found.gain_high] == pytest.approx([want.low, want.high], rel=1e-5)
    shifted = prior.mean() - by_metric["mse"].ci_high
    assert by_metric["mse"].gain_low != pytest.approx(float(shifted))  # pairs count


def test_victims_that_share_a_network_have_rows_that_say_so(victim: sl.Victim) -> None:
    whole = network()
    one, same = (sl.frozen(whole[:4], whole[4:], split(), seed=s, targets=TARGETS) for s in (0, 1))
    assert victim_columns(one)["network"] == victim_columns(same)["network"] != ""
    other = sl.frozen(network()[:4], whole[4:], split(), targets=TARGETS)
    assert len({v.network for v in (one, other, victim)}) == 3


def test_chosen_parameters_are_written_in_alphabetical_order() -> None:
    assert tuned_text({"steps": 30, "lr": 0.1}) == "lr=0.1,steps=30"
    assert tuned_text({}) == ""


BOTH = sl.Targets(part="both", count=24, labels=12, hints=2)


def _judged(defense: sl.Defense | None, targets: sl.Targets = BOTH) -> sl.Result:
    victim = sl.train(network, split(), cut=CUT, defense=defense, training=QUICK, targets=targets)
    return sl.attack(victim, sl.Regression())


def test_a_defense_that_protects_only_trained_records_is_flagged() -> None:
    found = _judged(OnlyTrained(std=8.0))
    rows = {row.metric: row for row in found.records}

    for metric in ("psnr_db", "mse"):
        row, scores = rows[metric], found.verdict.scores[metric]
        assert row.value_trained == pytest.approx(float(scores[:12].mean()))
        assert row.value_unseen == pytest.approx(float(scores[12:].mean()))
        assert row.target_set == "both"
        assert row.trained_only
    assert "far less leaks about records that the victim trained on" in repr(found)
    assert "far less leaks about records" in found._repr_html_()


@pytest.mark.parametrize("defense", [None, sl.GaussianNoise(std=0.5), sl.GaussianNoise(std=8.0)])
def test_an_even_handed_victim_is_not_flagged(defense: sl.Defense | None) -> None:
    found = _judged(defense)
    assert [row.trained_only for row in found.records] == [False] * len(found.records)
    assert "far less" not in repr(found)


@pytest.mark.parametrize("part", ["private_train", "private_holdout"])
def test_targets_of_one_kind_tell_nothing_of_the_other(part: Any) -> None:
    found = _judged(OnlyTrained(std=8.0), replace(BOTH, part=part, count=12))
    for row in found.records:
        assert row.trained_only is None
        assert row.value_trained != row.value_trained
