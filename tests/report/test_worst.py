"""The worst case over the attacks of a family, from rows."""

import math

import pytest
from support.rows import GAINS, fail, make_rows

from sltoolkit.metrics import worst_case
from sltoolkit.report.tables import prepared
from sltoolkit.report.worst import attacks_of, worst_gain, worst_value

ROWS = prepared(make_rows(with_labels=False))
WEAK = ROWS[ROWS.defense_params == '{"std": 0.5}']
SEEDS = (0, 1, 2)


def test_it_is_the_worst_case_of_the_attacks_gains() -> None:
    found = worst_gain(attacks_of(WEAK, ()), SEEDS, "ssim", "victims")
    want = worst_case({a: GAINS["weak", a] for a in ("whitebox", "decoder")})
    assert found.attack == "decoder"
    assert [found.low, found.high] == pytest.approx([want.low, want.high])


def test_an_attack_that_was_only_run_elsewhere_is_missing() -> None:
    found = worst_gain(attacks_of(WEAK, {"decoder", "regression"}), SEEDS, "ssim", "victims")
    assert found.missing == ("regression",)
    assert math.isnan(found.high)
    assert worst_gain(attacks_of(WEAK.iloc[:0], {"a"}), SEEDS, "ssim", "victims").missing == ("a",)


def test_a_metric_that_falls_with_the_leak_is_worst_where_it_is_smallest() -> None:
    errors = WEAK[WEAK.metric == "ssim"].assign(metric="mse", value=0.6 - WEAK.gain)
    low, high = worst_value(attacks_of(errors, ()), SEEDS, "mse", "victims")
    want = worst_case({a: [g - 0.6 for g in GAINS["weak", a]] for a in ("whitebox", "decoder")})
    assert want.high > 0  # no error is below 0
    assert [low, high] == pytest.approx([0.0, -want.low])
    broken = prepared(fail(make_rows(with_labels=False), "weak", "decoder", 0))
    lacking = broken[broken.defense_params == '{"std": 0.5}']
    low, high = worst_value(attacks_of(lacking, ()), SEEDS, "ssim", "victims")
    assert math.isfinite(low)
    assert math.isnan(high)


def test_one_network_has_its_bootstrap() -> None:
    ends = WEAK.assign(gain_low=WEAK.gain - 0.1, gain_high=WEAK.gain + 0.1, network="a")
    found = worst_gain(attacks_of(ends, ()), SEEDS, "ssim", "targets")
    assert (found.over, found.attack) == ("targets", "decoder")
    assert found.high == pytest.approx(0.54)
