"""Tables, from synthetic rows whose numbers are known."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from support.rows import ACCURACY, GAINS, STRONG, fail, line, make_rows

from sltoolkit.errors import SpecError
from sltoolkit.metrics import Interval, t_interval, worst_case, worst_case_of_network
from sltoolkit.report.figures import tradeoff_figure
from sltoolkit.report.formats import NOTHING, formatted, records, setting_text
from sltoolkit.report.plugin_labels import labels
from sltoolkit.report.sentence import sentence
from sltoolkit.report.tables import details, failures, summary


def test_accuracy_has_the_t_interval_over_victim_seeds() -> None:
    got = line(summary(make_rows()), "undefended")
    want = t_interval(ACCURACY["none"])
    assert [got[f"accuracy{end}"] for end in ("", "_low", "_high")] == pytest.approx(
        [want.value, want.low, want.high]
    )
    assert want.low == pytest.approx(0.82 - 4.302653 * 0.02 / math.sqrt(3))  # t(0.975, 2 df)
    assert got["seeds"] == 3


def test_worst_case_is_that_of_the_metrics_and_names_its_attack() -> None:
    table = summary(make_rows())
    for defense, label in (("none", "undefended"), ("weak", "gaussian_noise(std=0.5)"),
                           ("strong", "gaussian_noise(std=2)")):  # fmt: skip
        want = worst_case({a: GAINS[defense, a] for a in ("whitebox", "decoder")})
        got = line(table, label)
        assert got["reconstruction_attack"] == want.attack
        assert [got[f"reconstruction_gain{end}"] for end in ("_low", "_high")] == pytest.approx(
            [want.low, want.high]
        )
        assert "reconstruction_gain" not in table  # no point
    weak = line(table, "gaussian_noise(std=0.5)")
    assert weak["reconstruction_attack"] == "decoder"
    ends = ["reconstruction_value_low", "reconstruction_value_high"]
    values = worst_case({a: [0.1 + g for g in GAINS["weak", a]] for a in ("whitebox", "decoder")})
    assert [weak[end] for end in ends] == pytest.approx([values.low, values.high])
    assert weak["reconstruction_psnr_db_high"] == pytest.approx(10 + 20 * (values.high - 0.1))
    labels = t_interval([0.4, 0.41, 0.42])
    assert weak["labels_gain_high"] == pytest.approx(labels.high)
    assert (weak["labels_metric"], weak["interval_over"]) == ("leak_auc", "victims")


def test_attacker_seeds_are_averaged_within_a_victim() -> None:
    rows = make_rows(with_labels=False)
    again = rows.assign(attacker_seed=1, gain=rows.gain + 0.1)
    got = line(summary(pd.concat([rows, again])), "undefended")
    want = worst_case({a: [g + 0.05 for g in GAINS["none", a]] for a in ("whitebox", "decoder")})
    assert got["reconstruction_gain_low"] == pytest.approx(want.low)
    assert got["reconstruction_gain_high"] == pytest.approx(0.9)  # the prior reaches 0.1
    assert got["seeds"] == 3


def test_failed_attack_makes_the_worst_case_a_marked_lower_bound() -> None:
    rows = fail(make_rows(), "none", "whitebox", 1)
    table = summary(rows)
    got = line(table, "undefended")
    assert got["reconstruction_incomplete"]
    assert got["reconstruction_missing"] == "whitebox"
    assert got["reconstruction_attack"] == "decoder"
    assert not got["labels_incomplete"]
    assert not line(table, "gaussian_noise(std=2)")["reconstruction_incomplete"]
    text = formatted(table).iloc[0]
    assert text["reconstruction gain (SSIM)"].startswith("≤ ? [≥ +0.5")
    assert text["SSIM (prior)"] == "≤ ? (0.10)"
    assert math.isnan(got["reconstruction_gain_high"])
    assert text["note"] == "incomplete: whitebox"
    assert "a lower bound, without whitebox" in sentence(table)
    assert list(failures(rows)["reason"]) == ["diverged"]


def test_an_attack_that_lacks_a_seed_or_was_run_elsewhere_only_is_missing() -> None:
    rows = make_rows()
    lacking = rows[~((rows.defense == "none") & (rows.attack == "decoder")
                     & (rows.victim_seed == 2))]  # fmt: skip
    assert line(summary(lacking), "undefended")["reconstruction_missing"] == "decoder"
    elsewhere = rows[~((rows.defense == "none") & (rows.attack == "decoder"))]
    assert line(summary(elsewhere), "undefended")["reconstruction_missing"] == "decoder"
    assert not line(summary(rows), "undefended")["reconstruction_incomplete"]


def test_when_everything_failed_the_table_still_says_so() -> None:
    identity = ["dataset", "model", "cut", "protocol", "defense", "defense_params", "attack",
                "attack_params", "family", "victim_seed"]  # fmt: skip
    rows = make_rows()[identity].assign(status="failed", reason="out of memory")
    table = summary(rows)
    assert table["reconstruction_incomplete"].all()
    assert table[["reconstruction_gain_low", "reconstruction_gain_high"]].isna().all().all()
    assert "no attack on the inputs was run to its end" in sentence(table)
    with pytest.raises(SpecError, match="no trade-off"):
        tradeoff_figure(table)


@pytest.mark.parametrize("seeds", [1, 3])
def test_one_network_has_the_bootstrap_over_its_targets_and_says_so(seeds: int) -> None:
    rows = make_rows(seeds=seeds)
    ends = {"gain_low": rows.gain - 0.1, "gain_high": rows.gain + 0.1,
            "ci_low": rows.value - 0.1, "ci_high": rows.value + 0.1}  # fmt: skip
    table = summary(rows.assign(**ends, network="the one"))
    assert set(table["interval_over"]) == {"targets"}
    gains = {a: float(np.mean(GAINS["none", a][:seeds])) for a in ("whitebox", "decoder")}
    want = worst_case_of_network(
        {a: Interval(value=g, low=g - 0.1, high=g + 0.1, n=16) for a, g in gains.items()}
    )
    got = line(table, "undefended")
    assert got["reconstruction_gain_low"] == pytest.approx(want.low)
    assert got["reconstruction_gain_high"] == pytest.approx(0.9)  # where the prior leaves no room
    text = formatted(table).iloc[0]
    assert text["interval over"] == "targets"
    assert text["victims"] == ("1" if seeds == 1 else "3 (one network)")
    one_of = "victim" if seeds == 1 else "network"
    assert f"From one {one_of}, with intervals over its targets" in sentence(table)
    assert text["reconstruction gain (SSIM)"].startswith("≤ +0.9")
    legend = [t.get_text() for t in tradeoff_figure(table).legends[0].get_texts()]
    assert "95 % interval over targets" in legend
    one = details(rows.assign(**ends, network="the one")).iloc[0]
    assert one["interval_over"] == "targets"
    assert one["gain_high"] == pytest.approx(one["gain"] + 0.1)


def test_victims_that_differ_have_intervals_over_victims() -> None:
    rows = make_rows()
    found = summary(rows.assign(network=rows.victim_seed.map(str)))
    assert set(found["interval_over"]) == {"victims"}


def test_intervals_stay_in_the_range_of_the_metric() -> None:
    rows = make_rows(with_labels=False)
    near = rows[(rows.metric == "ssim") & (rows.defense == "none")].copy()
    near["value"] = 1 - 0.02 * near.victim_seed**2
    near["gain"] = near.value - near.baseline
    got = line(summary(near.assign(utility=[1.0, 0.99, 0.9] * 2)), "undefended")
    assert got["reconstruction_value_high"] == 1
    assert got["reconstruction_gain_high"] == pytest.approx(0.9)  # the prior reaches 0.1
    assert got["accuracy_high"] == 1
    assert t_interval([1.0, 0.98, 0.92]).high > 1
    worse = near.assign(metric="mse", gain=-near.gain, baseline=0.0, value=7 * near.victim_seed)
    assert line(summary(worse), "undefended")["reconstruction_value_high"] > 14  # features


def test_one_victim_seed_has_no_interval_of_its_accuracy() -> None:
    table = summary(make_rows(seeds=1))
    text = formatted(table).iloc[0]
    assert text["accuracy"] == "0.82 (n=1)"
    assert text["reconstruction gain (SSIM)"] == NOTHING  # these rows hold no bootstrap
    assert "From one victim, with intervals over its targets" in sentence(table)


def test_numbers_are_formatted_with_their_intervals() -> None:
    table = summary(make_rows())
    text = formatted(table).iloc[0]
    want = t_interval(ACCURACY["none"])
    assert text["accuracy"] == f"0.82 [{want.low:.2f}, {want.high:.2f}]"
    assert text["SSIM (prior)"] == "≤ 0.97 (0.10)"
    assert text["reconstruction gain (SSIM)"] == "≤ +0.87 [≥ +0.75]"
    assert setting_text(table) == "photos, lenet, cut conv1, vanilla"


def test_epsilon_is_composed_over_the_most_releases() -> None:
    rows = make_rows()
    noisy = rows.defense_params == json.dumps(STRONG[1])
    rows.loc[noisy, ["epsilon", "delta"]] = [4.0, 1e-5]
    heard = noisy & (rows.attack == "norm")
    rows.loc[heard, ["epsilon", "releases"]] = [9.5, 7]
    got = line(summary(rows), "gaussian_noise(std=2)")
    assert (got["epsilon"], got["releases"]) == (9.5, 7)
    assert math.isnan(line(summary(rows), "undefended")["epsilon"])
    assert formatted(summary(rows)).iloc[2]["epsilon"] == "9.5 (δ=1e-05, 7 releases)"


def test_victims_at_chance_are_unusable_and_off_the_front() -> None:
    rows = make_rows(with_labels=False).assign(chance=0.1)
    rows.loc[rows.defense_params == json.dumps(STRONG[1]), "utility"] = 0.09
    table = summary(rows)
    assert list(table["useless"]) == [False, False, True]
    assert list(table["unusable"]) == [False, False, True]
    front = [x for x in tradeoff_figure(table).axes[0].lines if x.get_linestyle() == "--"]
    assert min(np.asarray(front[0].get_xdata())) > 0.5
    assert "gaussian_noise(std=2) brings" not in sentence(table)


def test_a_defense_over_budget_is_unusable_and_yet_a_point_of_the_trade_off() -> None:
    table = summary(make_rows(with_labels=False).assign(chance=0.1))
    assert list(table["unusable"]) == [False, False, True]
    assert not table["useless"].any()
    assert formatted(table)["note"].tolist() == ["", "", "unusable: 12 points of accuracy lost"]
    assert formatted(table)["accuracy lost"].iloc[2].startswith("+0.12 [")
    figure = tradeoff_figure(table)
    front = [x for x in figure.axes[0].lines if x.get_linestyle() == "--"]
    assert min(np.asarray(front[0].get_xdata())) == pytest.approx(0.70)
    assert "accuracy above the majority share, 0.1" in figure.axes[0].get_title()


def test_undefended_comes_first_and_settings_stay_apart() -> None:
    rows = make_rows()
    turned = pd.concat([rows.iloc[::-1], rows.assign(cut="conv2", gain=0.0)])
    table = summary(turned)
    assert list(table["cut"]) == ["conv1"] * 3 + ["conv2"] * 3
    assert list(table["label"][[0, 3]]) == ["undefended", "undefended"]
    assert list(formatted(table)["cut"]) == list(table["cut"])
    assert line(table[table.cut == "conv2"], "undefended")["reconstruction_gain_high"] == 0


def test_other_parameters_or_knowledge_make_another_attack() -> None:
    rows = make_rows(with_labels=False)
    collusion = rows.assign(role="colluding", knowledge="client_weights+smashed", gain=0.9)
    got = line(summary(pd.concat([rows, collusion])), "undefended")
    assert "colluding" in got["reconstruction_attack"]
    assert got["reconstruction_gain_low"] == pytest.approx(0.9)


def test_labels_show_the_parameters_that_vary() -> None:
    assert labels(["a", "a", "b"], ['{"x": 1, "y": 2.0}', '{"x": 1, "y": 3.0}', '{"z": 4}']) == [
        "a(y=2)", "a(y=3)", "b",
    ]  # fmt: skip
    assert labels(["b"], ['{"z": 4}'], lone=2) == ["b(z=4)"]
    private = '{"clip": 1.0, "delta": 1e-05, "epsilon": 300.0}'
    assert labels(["dp_activations"], [private], lone=2) == ["dp_activations(epsilon=300)"]
    assert labels(["dp_activations"], [private]) == ["dp_activations"]
    assert labels(["none"], ["{}"]) == ["undefended"]
    assert labels(["a+b"], ['[{"x": 1}, {"z": 0.5}]'], lone=2) == ["a(x=1)+b(z=0.5)"]


def test_details_give_each_attack_and_metric_its_interval() -> None:
    found = details(make_rows())
    one = found[(found.label == "undefended") & (found.variant == "decoder")
                & (found.metric == "ssim")].iloc[0]  # fmt: skip
    want = t_interval(GAINS["none", "decoder"])
    assert (one["gain"], one["gain_low"]) == pytest.approx((want.value, want.low))
    assert one["knowledge"] == "aux+release+smashed"
    assert len(found) == 15


def test_rows_without_their_columns_are_refused() -> None:
    with pytest.raises(SpecError, match="missing: dataset"):
        summary(make_rows().drop(columns="dataset"))
    with pytest.raises(SpecError, match="no row"):
        summary(make_rows().iloc[:0])


def test_inference_has_a_worst_case_of_its_own() -> None:
    found = make_rows(with_labels=False)
    stolen = [
        {**line, "attack": "fsha_property", "family": "inference", "metric": "attribute_auc",
         "baseline": 0.5, "gain": 0.3 + line["victim_seed"] / 100}
        for line in records(found[(found["attack"] == "decoder") & (found["metric"] == "ssim")])
    ]  # fmt: skip
    table = summary(pd.concat([found, pd.DataFrame(stolen)]))
    assert line(table, "undefended")["inference_gain_high"] == pytest.approx(
        t_interval([0.3, 0.31, 0.32]).high
    )
    assert "attribute gain (attribute AUC)" in formatted(table)
    assert "The fsha_property attack recovers the attribute" in sentence(table)
    assert len(tradeoff_figure(table).axes) == 2
