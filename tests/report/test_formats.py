"""Numbers as text: intervals, bounds and what is left out."""

import math
from typing import Any

import pandas as pd
import pytest
from support.rows import fail, make_rows

from sltoolkit.report.formats import (
    NOTHING,
    at_most,
    formatted,
    gain_digits,
    gain_text,
    leak_text,
    loss_text,
    number,
    records,
    setting_text,
    spread,
)
from sltoolkit.report.tables import summary

NAN = math.nan


@pytest.mark.parametrize(
    ("value", "options", "text"),
    [
        (0.5, {}, "0.50"),
        (0.5, {"signed": True}, "+0.50"),
        (-0.001, {}, "0.00"),
        (-0.001, {"signed": True}, "+0.00"),
        (-0.126, {"signed": True, "digits": 1}, "-0.1"),
        (math.inf, {}, "inf"),
        (NAN, {}, NOTHING),
    ],
)
def test_a_number_is_never_a_negative_zero(
    value: float, options: dict[str, Any], text: str
) -> None:
    assert number(value, **options) == text


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        ((0.5, 0.25, 0.75), "0.50 [0.25, 0.75]"),
        ((0.5, NAN, NAN), "0.50 (n=1)"),
        ((NAN, NAN, NAN), NOTHING),
    ],
)
def test_a_number_has_its_interval_or_says_that_it_has_none(
    interval: tuple[float, ...], text: str
) -> None:
    names = ("x", "x_low", "x_high")

    assert spread({**dict(zip(names, interval, strict=True)), "seeds": 1}, "x") == text


def gain(low: float, high: float) -> dict[str, Any]:
    return {"f_gain_low": low, "f_gain_high": high, "f_metric": "ssim"}


def test_a_worst_case_is_headed_by_its_upper_end_and_an_unknown_end_says_so() -> None:
    assert gain_text(gain(0.25, 0.75), "f") == "≤ +0.75 [≥ +0.25]"
    assert gain_text(gain(0.25, NAN), "f") == "≤ ? [≥ +0.25]"
    assert at_most(NAN, 0.75, 2) == "≤ +0.75 [≥ ?]"
    assert gain_text(gain(NAN, NAN), "f") == NOTHING


def test_a_metric_is_shown_at_the_end_at_which_most_leaks() -> None:
    line = {
        "x_low": 0.25,
        "x_high": 0.75,
        "y_low": NAN,
        "y_high": NAN,
        "z_low": 0.25,
        "z_high": NAN,
    }
    assert leak_text(line, "x", "ssim", 2) == "≤ 0.75"
    assert leak_text(line, "x", "mse", 4) == "≥ 0.2500"
    assert leak_text(line, "y", "ssim", 2) == NOTHING
    assert leak_text(line, "z", "ssim", 2) == "≤ ?"


def test_errors_need_more_digits_than_shares() -> None:
    assert gain_digits({"f_metric": "mse"}, "f") == 4
    assert gain_digits({"f_metric": "ssim"}, "f") == 2


@pytest.mark.parametrize(
    ("plain", "balanced", "text"),
    [
        (0.034, 0.01, "3.4 points of accuracy"),
        (0.034, 0.244, "24.4 points of balanced accuracy"),
        (0.01, NAN, "1 point of accuracy"),
    ],
)
def test_the_largest_loss_is_named(plain: float, balanced: float, text: str) -> None:
    assert loss_text({"accuracy_loss": plain, "balanced_accuracy_loss": balanced}) == text


def test_only_columns_that_say_something_are_shown() -> None:
    complete = formatted(summary(make_rows(with_labels=False), accuracy_budget=0.2))
    assert not [
        c for c in map(str, complete) if c.startswith(("label", "attribute", "epsilon", "note"))
    ]

    labeled = formatted(summary(make_rows()))
    assert "label gain (leak AUC)" in labeled

    broken = formatted(summary(fail(make_rows(), "weak", "whitebox", 0)))
    assert broken["note"].str.contains("incomplete: ").sum() == 1


def test_what_varies_is_a_column_and_what_is_shared_a_heading() -> None:
    rows = make_rows()
    both = summary(pd.concat([rows, rows.assign(cut="conv2")]))

    assert set(formatted(both)["cut"]) == {"conv1", "conv2"}
    assert setting_text(both) == "photos, lenet, vanilla"
    assert "cut" not in formatted(summary(rows))


def test_records_are_the_lines_of_a_table() -> None:
    table = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})

    assert list(records(table)) == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
