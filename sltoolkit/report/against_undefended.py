"""What a defense costs and what it achieves, victim by victim against undefended ones.

A victim is paired with the undefended victim of the same seed, so both begin with the same weights
and see the same batches. A defense is worth its price if it stays within the *accuracy budget*: how
much accuracy, and balanced accuracy, it may lose in the mean over pairs.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import pandas as pd

from sltoolkit.errors import SpecError
from sltoolkit.metrics import Interval, paired_difference, t_interval, worst_difference
from sltoolkit.report.plugin_labels import UNDEFENDED
from sltoolkit.report.repetitions import seed_means
from sltoolkit.report.victim_means import NOTHING_MEASURED, by_seed, spread_columns

ACCURACY_BUDGET = 0.03
"""How much accuracy a defense may lose by default; 1 is everything."""

UTILITIES = {"accuracy": "utility", "balanced_accuracy": "balanced_accuracy"}
"""The numbers that the budget is about, and the columns of rows that hold them."""

BudgetKept = Literal["yes", "no", "unclear", ""]
"""Whether a loss stays within the budget: over all of its interval, not even in the mean, in the
mean only; empty if there is nothing to compare with."""

_ROUNDING = 1e-9  # 0.85 - 0.82 is 3 points


def check_budget(budget: float) -> float:
    """The budget itself.

    Raises:
        SpecError: if it is no number from 0 to 1.
    """
    number = isinstance(budget, int | float) and not isinstance(budget, bool)
    if not (number and 0 <= budget <= 1):
        raise SpecError(
            f"accuracy_budget must be a number from 0 to 1 (3 points are 0.03), got {budget!r}"
        )
    return budget


def undefended(setting: pd.DataFrame) -> pd.DataFrame:
    """The rows of a setting without a defense; of the first kind of them if there are several."""
    rows = setting[setting["defense"].isin(UNDEFENDED)]
    first = rows[["defense", "defense_params"]].iloc[:1]
    return rows.merge(first, on=["defense", "defense_params"])


def utility_columns(group: pd.DataFrame, plain: pd.DataFrame, budget: float) -> dict[str, Any]:
    """The columns about the utility of one defense's victims.

    Args:
        group: the rows of the defense.
        plain: the rows of the undefended victims in the same setting; may be empty.
        budget: the accuracy budget.

    Returns:
        `accuracy` and `balanced_accuracy` (t intervals over victims), `chance` and
        `balanced_chance`; `pairs`, the victims that share their seed with an undefended one;
        `accuracy_loss` and `balanced_accuracy_loss` (t intervals over pairs;
        NaN without a pair, and for undefended victims); `accuracy_budget` and `budget_kept` (see
        `BudgetKept`); `useless` (no accuracy beyond the majority share and no balanced accuracy
        that is shown to exceed a constant guess) and `unusable` (useless, or over budget).
    """
    own = {name: by_seed(group, column) for name, column in UTILITIES.items()}
    utility = {
        name: t_interval(list(seeds.values()), within=(0.0, 1.0)) for name, seeds in own.items()
    }
    pairs = shared_seeds(group, plain)
    losses = {
        name: _loss(by_seed(plain, column), own[name], pairs) for name, column in UTILITIES.items()
    }
    floor = {"chance": float(group["chance"].max())}
    floor["balanced_chance"] = float(group["balanced_chance"].max())
    useless = (
        utility["accuracy"].value <= floor["chance"]
        and not utility["balanced_accuracy"].low > floor["balanced_chance"]
    )
    kept = budget_kept([x for x in losses.values() if not math.isnan(x.value)], budget)
    line: dict[str, Any] = {}
    for name in UTILITIES:
        line |= spread_columns(name, utility[name]) | spread_columns(f"{name}_loss", losses[name])
    return line | floor | {
        "pairs": len(pairs), "accuracy_budget": budget, "budget_kept": kept, "useless": useless,
        "unusable": useless or kept == "no",
    }  # fmt: skip


def budget_kept(losses: list[Interval], budget: float) -> BudgetKept:
    """Whether all losses stay within the budget; that a wide interval allows it isn't enough."""
    if not losses:
        return ""
    if any(loss.value > budget + _ROUNDING for loss in losses):
        return "no"
    return "yes" if all(loss.high <= budget + _ROUNDING for loss in losses) else "unclear"


def drop_columns(
    group: pd.DataFrame, plain: pd.DataFrame, family: str, metric: str
) -> dict[str, float]:
    """By how much the worst case of a family of attacks drops, as `F_drop_low` and `F_drop_high`.

    Args:
        group: the rows of a defense.
        plain: the rows of the undefended victims in the same setting; may be empty.
        family: the family of attacks.
        metric: its primary metric.

    Returns:
        The ends of the interval over pairs of victims; NaN with fewer than two, and for undefended
        victims.
    """
    pairs = shared_seeds(group, plain)
    before, after = (_gains(rows, family, metric, pairs) for rows in (plain, group))
    low, high = worst_difference(before, after) if before and after else (math.nan, math.nan)
    return {f"{family}_drop_low": low, f"{family}_drop_high": high}


def shared_seeds(group: pd.DataFrame, plain: pd.DataFrame) -> list[Hashable]:
    """The seeds of pairs; none for undefended victims, which are compared with nothing."""
    own = [] if group["defense"].iloc[0] in UNDEFENDED else sorted(set(group["victim_seed"]))
    return [seed for seed in own if seed in set(plain["victim_seed"])]


def _loss(
    plain: Mapping[Hashable, float], own: Mapping[Hashable, float], pairs: Sequence[Hashable]
) -> Interval:
    if not pairs:
        return NOTHING_MEASURED
    return paired_difference([plain[s] for s in pairs], [own[s] for s in pairs], within=(-1.0, 1.0))


def _gains(
    rows: pd.DataFrame, family: str, metric: str, seeds: Sequence[Hashable]
) -> dict[str, list[float]]:
    """Attack -> mean gain for each of the seeds; NaN for one that it lacks."""
    attacks = rows[rows["family"] == family].groupby("variant", sort=False)
    return {str(name): seed_means(own, seeds, metric, "gain") for name, own in attacks}
