"""Rows from victims and verdicts: what identifies them, and what is left out."""

from dataclasses import asdict

import pytest
import torch
from support.toys import CUT, QUICK, TARGETS, network, split

import sltoolkit as sl
from sltoolkit.contracts.attack import NoAttack
from sltoolkit.metrics import bootstrap_targets
from sltoolkit.rows.build import (
    attack_columns,
    attempt_columns,
    recipe_columns,
    rows_of,
    tuned_text,
    victim_columns,
)
from sltoolkit.rows.columns import COLUMNS, Row
from sltoolkit.streams import Stream


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
    assert (found["chance"], found["utility"]) == (1 / 3, victim.utility)
    assert found["epoch_bytes"] == sum(victim.bytes.values()) / QUICK.epochs
    assert found["train_seconds"] == victim.costs.seconds > 0


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
