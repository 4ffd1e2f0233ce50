"""The lines of a chart, from synthetic rows whose numbers are known."""

import pandas as pd
import pytest
from support.charts import only, row

from sltoolkit.metrics import t_interval
from sltoolkit.report.series import AXES, charts


def test_a_point_is_the_mean_over_victims_with_its_t_interval() -> None:
    values = {"conv1": (0.9, 0.8, 0.7), "relu2": (0.5, 0.6, 0.4)}
    chart = only([
        row(cut=cut, victim_seed=seed, value=v)
        for cut, each in values.items() for seed, v in enumerate(each)
    ])  # fmt: skip
    method, prior = chart.lines
    assert (chart.axis, chart.metric, method.panel, method.method) == (
        "cut", "ssim", "undefended", "decoder",
    )  # fmt: skip
    assert dict(method.points) == {
        cut: t_interval(v, within=(-1.0, 1.0)) for cut, v in values.items()
    }
    assert [i.value for i in prior.points.values()] == pytest.approx([0.1, 0.1])
    assert chart.places == ["conv1", "relu2"]  # in the order of the spec, not of the alphabet


def test_attacker_seeds_count_as_one_victim() -> None:
    rows = [
        row(cut=cut, attacker_seed=a, value=v, n=16, ci_low=v - 0.1, ci_high=v + 0.1)
        for cut in ("a", "b") for a, v in enumerate((0.2, 0.4))
    ]  # fmt: skip
    chart = only(rows)
    interval = chart.lines[0].points["a"]
    assert interval.value == pytest.approx(0.3)
    assert (interval.n, interval.over) == (16, "targets")  # one network
    assert (interval.low, interval.high) == pytest.approx((0.2, 0.4))
    assert chart.over_targets


def test_amounts_are_numbers_in_ascending_order_and_other_sweeps_stay_apart() -> None:
    rows = [
        row(swept=f"data.aux={aux}, training.lr={lr}", value=aux / 1000)
        for aux in (400, 50) for lr in (0.1, 0.2)
    ]  # fmt: skip
    found = charts(pd.DataFrame(rows), {})
    assert [c.axis for c in found] == ["data.aux", "data.aux"]
    assert {c.setting.rpartition(", ")[2] for c in found} == {"training.lr=0.1", "training.lr=0.2"}
    assert found[0].places == [50.0, 400.0]
    assert found[0].lines[0].points[400.0].value == 0.4


def test_steps_come_from_what_the_referee_scored_on_the_way() -> None:
    progress = {"c": {"1": {"ssim": 0.2, "mse": 9.0}, "8": {"ssim": 0.45, "mse": 9.0}}}
    chart = only([row()], progress)
    assert chart.axis == "step"
    assert not chart.over_targets  # only the end of the attack has an interval
    assert {p: i.value for p, i in chart.lines[0].points.items()} == {1.0: 0.2, 8.0: 0.45}


def test_nothing_that_failed_or_stands_alone_is_drawn() -> None:
    assert charts(pd.DataFrame([row()]), {}) == []
    failed = [row(cut=c, status="failed", metric=None) for c in "ab"]
    assert charts(pd.DataFrame(failed), {}) == []


def test_every_axis_can_be_drawn() -> None:
    swept = {"data.aux": (5, 9), "data.aux_from": ("mnist", "x"), "training.epochs": (1, 2)}
    rows = [row(swept=f"{k}={v}", cell=f"{k}{v}") for k, vs in swept.items() for v in vs]
    rows += [row(cut="b", cell="c"), row(cut="a", cell="d")]
    found = charts(pd.DataFrame(rows), {"d": {"1": {"ssim": 0.1}, "2": {"ssim": 0.2}}})
    assert {c.axis for c in found} == set(AXES)
