"""What a defense costs and achieves, against undefended victims of the same seeds."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest
from support.rows import line, row

from sltoolkit.errors import SpecError
from sltoolkit.metrics import Interval, paired_difference, worst_difference
from sltoolkit.report.against_undefended import budget_kept, check_budget
from sltoolkit.report.tables import summary

NAN = math.nan
PLAIN = (0.82, 0.80, 0.84)


def victims(
    defense: str, accuracy: Sequence[float], gain: Sequence[float], seeds: Sequence[int] = (),
    **columns: Any,
) -> list[dict[str, Any]]:  # fmt: skip
    """Rows of one decoder on each victim."""
    drawn = zip(seeds or range(len(accuracy)), accuracy, gain, strict=True)
    return [
        row(defense=defense, defense_params="{}", victim_seed=s, utility=u, attack="decoder",
            gain=g, value=g + 0.1, **columns)
        for s, u, g in drawn
    ]  # fmt: skip


def defended(
    accuracy: Sequence[float], seeds: Sequence[int] = (), budget: float = 0.03, **columns: Any
) -> dict[str, Any]:
    """The line of a defense beside undefended victims."""
    gains = [0.1 + i / 100 for i in range(len(accuracy))]
    rows = victims("none", PLAIN, (0.8, 0.7, 0.75)) + victims(
        "nopeek", accuracy, gains, seeds, **columns
    )
    return line(summary(pd.DataFrame(rows), budget), "nopeek")


def test_loss_and_drop_are_paired_by_seed() -> None:
    found = defended((0.83, 0.80, 0.81), seeds=(2, 0, 1))  # another order
    loss = paired_difference(PLAIN, (0.80, 0.81, 0.83))
    got = [found[f"accuracy_loss{end}"] for end in ("", "_low", "_high")]
    assert got == pytest.approx([loss.value, loss.low, loss.high])
    drop = worst_difference({"decoder": [0.8, 0.7, 0.75]}, {"decoder": [0.11, 0.12, 0.10]})
    got = [found[f"reconstruction_drop_{end}"] for end in ("low", "high")]
    assert got == pytest.approx(drop)
    assert math.isnan(found["labels_drop_low"])
    assert found["pairs"] == 3


@pytest.mark.parametrize(
    ("accuracy", "kept"),
    [
        ((0.82, 0.80, 0.84), "yes"),  # equal accuracy
        ((0.81, 0.79, 0.83), "yes"),
        ((0.79, 0.77, 0.81), "yes"),  # exactly 3 points
        ((0.78, 0.76, 0.80), "no"),
        ((0.82, 0.76, 0.84), "unclear"),  # 1.3 points, but perhaps more
        ((0.99, 0.30, 0.99), "no"),  # the interval is wide enough for any verdict
        ((0.99, 0.55, 0.99), "unclear"),
    ],
)
def test_a_wide_interval_makes_no_defense_usable(accuracy: tuple[float, ...], kept: str) -> None:
    found = defended(accuracy)
    assert found["budget_kept"] == kept
    assert found["unusable"] == (kept == "no")


def test_the_budget_is_a_parameter() -> None:
    assert defended((0.72, 0.70, 0.74))["unusable"]
    assert not defended((0.72, 0.70, 0.74), budget=0.1)["unusable"]
    assert defended((0.81, 0.79, 0.83), budget=0.0)["budget_kept"] == "no"
    assert defended(PLAIN)["accuracy_budget"] == 0.03


@pytest.mark.parametrize("wrong", [-0.01, 3, NAN, True, "much", None])
def test_a_budget_is_a_share(wrong: Any) -> None:
    with pytest.raises(SpecError, match=r"from 0 to 1 \(3 points are 0\.03\), got"):
        check_budget(wrong)


def test_balanced_accuracy_obeys_the_budget_too() -> None:
    rare: dict[str, Any] = {"chance": 0.8, "balanced_chance": 0.5}
    rows = victims("none", PLAIN, (0.8, 0.7, 0.75), **rare, balanced_accuracy=0.7)
    cheap = (0.815, 0.795, 0.835)
    rows += victims("nopeek", cheap, (0.1, 0.2, 0.1), **rare, balanced_accuracy=0.6)
    found = line(summary(pd.DataFrame(rows)), "nopeek")
    assert found["accuracy_loss_high"] < 0.03
    assert found["balanced_accuracy_loss"] == pytest.approx(0.1)
    assert found["budget_kept"] == "no"


def test_a_single_pair_shows_nothing() -> None:
    rows = victims("none", PLAIN[:1], (0.8,)) + victims("nopeek", (0.82,), (0.1,))
    found = line(summary(pd.DataFrame(rows)), "nopeek")
    assert (found["accuracy_loss"], found["budget_kept"]) == (0, "unclear")
    assert math.isnan(found["reconstruction_drop_low"])


def test_without_a_pair_nothing_is_compared() -> None:
    for found in (
        line(summary(pd.DataFrame(victims("nopeek", PLAIN, (0.1, 0.2, 0.1)))), "nopeek"),
        defended(PLAIN, seeds=(7, 8, 9)),
        line(summary(pd.DataFrame(victims("none", PLAIN, (0.8, 0.7, 0.75)))), "undefended"),
    ):
        assert math.isnan(found["accuracy_loss"])
        assert math.isnan(found["reconstruction_drop_low"])
        assert found["pairs"] == 0
        assert (found["budget_kept"], found["unusable"]) == ("", False)


@pytest.mark.parametrize(
    ("accuracy", "balanced", "useless"),
    [
        ((0.95, 0.95, 0.95), (0.5, 0.5, 0.5), True),  # always the majority
        ((0.94, 0.95, 0.94), (0.53, 0.5, 0.47), True),
        ((0.90, 0.91, 0.90), (0.84, 0.86, 0.85), False),  # finds the rare class
        ((0.97, 0.97, 0.98), (0.7, 0.72, 0.75), False),
        ((0.90, 0.91, 0.90), (NAN, NAN, NAN), True),
    ],
)
def test_a_useless_victim_does_no_better_than_the_majority_share(
    accuracy: tuple[float, ...], balanced: tuple[float, ...], useless: bool
) -> None:
    rows = pd.DataFrame(victims("none", accuracy, (0.8, 0.7, 0.75)))
    rows = rows.assign(chance=0.95, balanced_chance=0.5, balanced_accuracy=balanced)
    found = line(summary(rows), "undefended")
    assert (found["useless"], found["unusable"]) == (useless, useless)


def test_one_victim_does_not_show_that_it_finds_the_rare_class() -> None:
    rows = pd.DataFrame(victims("none", (0.94,), (0.8,), balanced_accuracy=0.53))
    assert line(summary(rows.assign(chance=0.95, balanced_chance=0.5)), "undefended")["useless"]


def test_all_losses_must_stay_within_the_budget() -> None:
    kept, over = (Interval(value=x, low=x, high=x, n=3) for x in (0.02, 0.04))
    assert budget_kept([kept, kept], 0.03) == "yes"
    assert budget_kept([kept, over], 0.03) == "no"
    assert budget_kept([], 0.03) == ""
