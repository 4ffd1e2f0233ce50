"""Tables of results: one line per defense, the attacks behind it, and what failed.

The input is the long form of results: one metric of one cell per row, failed cells included.
"""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from sltoolkit.errors import SpecError
from sltoolkit.metrics import KINDS, Over
from sltoolkit.report.against_undefended import (
    ACCURACY_BUDGET,
    check_budget,
    drop_columns,
    undefended,
    utility_columns,
)
from sltoolkit.report.plugin_labels import UNDEFENDED, labels
from sltoolkit.report.repetitions import interval, over
from sltoolkit.report.worst import attacks_of, worst_gain, worst_value
from sltoolkit.rows.columns import BLANK, DEFENSE, NEEDED, SETTING, THREAT

FAMILIES = {"reconstruction": "reconstruction", "labels": "labels", "inference": "attribute"}
"""Families of attacks that have a worst case -> what they hand back, a key of `KINDS`."""


def summary(rows: pd.DataFrame, accuracy_budget: float = ACCURACY_BUDGET) -> pd.DataFrame:
    """One line per defense (and its parameters) in each setting, undefended first.

    Columns: the setting and the defense; `label`; `seeds`; those of `utility_columns` (accuracy
    beside the majority share, what the defense costs, whether it is `unusable`); `holdout_unseen`
    (whether the accuracy is known to be on unseen data); `trained_only` (whether some attack
    learned far less about records that the victim trained on than about others); `interval_over`:
    what the intervals of attacks are over, `victims` or, for one network, its `targets`; per family
    of attacks `F` the worst case over attacks: `F_gain_low` and `F_gain_high`, the ends of the
    interval for the largest mean gain, `F_value_low` and `F_value_high`, the same for the metric
    itself, `F_metric` (the family's primary one), `F_attack` (which has the largest mean gain) and
    its mean `F_baseline`, `F_incomplete` (there is no upper end), `F_missing` (the attacks that
    failed, lack a seed, or were only run against other defenses of the setting), and `F_drop_low`
    and `_high`, the drop from undefended victims, paired by seed; `reconstruction_psnr_db_low` and
    `_high`; `epsilon`, `delta` and `releases` composed over the most releases that an attack
    received.

    A worst case has no point: the largest of several means is too large on average. Rank defenses
    by the upper end. Attacker seeds are averaged within a victim seed.

    Args:
        rows: the long form; a failed cell has status `failed` and no numbers.
        accuracy_budget: how much accuracy a defense may lose, paired with undefended victims of
            the same seeds, before it is unusable; from 0 to 1.

    Raises:
        SpecError: if there are no rows, columns are missing, or the budget is out of range.
    """
    check_budget(accuracy_budget)
    lines = []
    for _, setting in _settings(prepared(rows)):
        ran = {f: sorted(set(setting.loc[setting["family"] == f, "attack"])) for f in FAMILIES}
        primaries = {f: primary_metric(setting, f) for f in FAMILIES}
        plain = undefended(setting)
        for _, group in setting.groupby(DEFENSE, sort=False):
            utility = utility_columns(group, plain, accuracy_budget)
            lines.append(_line(group, plain, ran, primaries) | utility)
    table = pd.DataFrame(lines)
    table["label"] = labels(list(table["defense"]), list(table["defense_params"]), lone=2)
    table["order"] = ~table["defense"].isin(UNDEFENDED)
    in_turn = [part.sort_values("order", kind="stable") for _, part in _settings(table)]
    return pd.concat(in_turn, ignore_index=True).drop(columns="order")


def details(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per defense, attack and metric: means over victim seeds, the gain's interval.

    `interval_over` is what the interval is over: `victims` or, for one network, its `targets`.
    """
    frame = prepared(rows)
    frame["label"] = labels(list(frame["defense"]), list(frame["defense_params"]), lone=2)
    keys = [*SETTING, "label", "family", "variant", "metric"]
    ok = frame[(frame["status"] == "ok") & frame["metric"].notna()]
    lines = []
    for _, cells in ok.groupby(keys, sort=False):
        seeds = sorted(set(cells["victim_seed"]))
        repeated = over(cells)
        gain = interval(cells, seeds, str(cells["metric"].iloc[0]), "gain", repeated)
        lines.append(
            {**{k: cells[k].iloc[0] for k in keys},
             "value": cells["value"].mean(), "baseline": cells["baseline"].mean(),
             "baseline_name": _joined(cells["baseline_name"]), "gain": gain.value,
             "gain_low": gain.low, "gain_high": gain.high, "interval_over": repeated,
             "seeds": len(seeds), "role": _joined(cells["role"]),
             "knowledge": _joined(cells["knowledge"]), "tuned": _joined(cells["tuned"]),
             "seconds": cells["seconds"].mean()}
        )  # fmt: skip
    return pd.DataFrame(lines)


def failures(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per failed cell, with its reason."""
    frame = prepared(rows)
    frame["label"] = labels(list(frame["defense"]), list(frame["defense_params"]), lone=2)
    columns = [*SETTING, "label", "variant", "victim_seed", "attacker_seed", "reason"]
    return frame.loc[frame["status"] == "failed", columns].drop_duplicates(ignore_index=True)


def prepared(rows: pd.DataFrame) -> pd.DataFrame:
    """A copy with every column, and with `variant`: the attack's name and what sets it apart.

    Raises:
        SpecError: if there are no rows, or columns are missing.
    """
    missing = [column for column in NEEDED if column not in rows]
    if missing or rows.empty:
        raise SpecError(
            f"results need at least one row and the columns {', '.join(NEEDED)}; "
            + (f"missing: {', '.join(missing)}" if missing else "there is no row")
        )
    frame = rows.reset_index(drop=True).copy()
    for column, blank in BLANK.items():
        if column not in frame:
            frame[column] = blank
    for column in ("defense_params", "attack_params"):
        frame[column] = frame[column].fillna("{}")
    for column, blank in BLANK.items():
        if isinstance(blank, str):
            frame[column] = frame[column].fillna(blank)
    frame["variant"] = ""
    for _, setting in _settings(frame):
        frame.loc[setting.index, "variant"] = _variants(setting)
    return frame


def _variants(setting: pd.DataFrame) -> list[str]:
    """The attacks' names, told apart by parameters, knowledge or targets if these vary."""
    names = labels(list(setting["attack"]), list(setting["attack_params"]))
    for column in THREAT:
        varies = setting.groupby("attack")[column].nunique() > 1
        names = [
            f"{name} [{value}]" if varies[attack] and not pd.isna(value) else name
            for name, attack, value in zip(names, setting["attack"], setting[column], strict=True)
        ]
    return names


def primary_metric(setting: pd.DataFrame, family: str) -> str:
    """The metric that a family of attacks is judged by in a setting; empty without results."""
    seen = set(setting.loc[setting["family"] == family, "metric"])
    return next((metric for metric in KINDS[FAMILIES[family]] if metric in seen), "")


def _line(
    group: pd.DataFrame, plain: pd.DataFrame, ran: dict[str, list[str]], primaries: dict[str, str]
) -> dict[str, Any]:
    seeds = sorted(set(group["victim_seed"]))
    line: dict[str, Any] = {k: group[k].iloc[0] for k in [*SETTING, *DEFENSE]}
    line |= {"seeds": len(seeds), "interval_over": over(group)}
    line["holdout_unseen"] = bool(group["holdout_unseen"].all())
    for family in FAMILIES:
        attacks = attacks_of(group[group["family"] == family], ran[family])
        line |= _worst(attacks, family, primaries[family], seeds, line["interval_over"])
        line |= drop_columns(group, plain, family, primaries[family])
    line["trained_only"] = bool(group["trained_only"].eq(True).any())
    return line | _privacy(group)


def _worst(
    attacks: Mapping[str, pd.DataFrame], family: str, metric: str, seeds: Sequence[Hashable],
    repeated: Over,
) -> dict[str, Any]:  # fmt: skip
    """The worst case over a family's attacks, and what belongs to it."""
    found = worst_gain(attacks, seeds, metric, repeated) if attacks else None
    own = attacks.get(found.attack) if found else None
    line = {
        f"{family}_metric": metric,
        f"{family}_gain_low": found.low if found else math.nan,
        f"{family}_gain_high": found.high if found else math.nan,
        **_values(attacks, f"{family}_value", metric, seeds, repeated),
        f"{family}_attack": found.attack if found else "",
        f"{family}_baseline": math.nan if own is None else _mean(own, metric, "baseline"),
        f"{family}_incomplete": bool(found and found.incomplete),
        f"{family}_missing": ", ".join(found.missing) if found else "",
    }
    if family == "reconstruction":
        measured = any((own["metric"] == "psnr_db").any() for own in attacks.values())
        psnr = "psnr_db" if measured else ""
        line |= _values(attacks, f"{family}_psnr_db", psnr, seeds, repeated)
    return line


def _values(
    attacks: Mapping[str, pd.DataFrame], name: str, metric: str, seeds: Sequence[Hashable],
    repeated: Over,
) -> dict[str, float]:  # fmt: skip
    """The ends of the interval for the metric itself, under the attack that leaks most."""
    known = attacks and metric
    low, high = worst_value(attacks, seeds, metric, repeated) if known else (math.nan, math.nan)
    return {f"{name}_low": low, f"{name}_high": high}


def _privacy(group: pd.DataFrame) -> dict[str, Any]:
    """The largest epsilon of a cell, with its delta and releases; attacks don't add up."""
    claimed = group[group["epsilon"].notna()]
    if claimed.empty:
        return {"epsilon": math.nan, "delta": math.nan, "releases": math.nan}
    most = claimed.sort_values("epsilon").iloc[-1]
    return {key: float(most[key]) for key in ("epsilon", "delta", "releases")}


def _mean(cells: pd.DataFrame, metric: str, column: str) -> float:
    return float(cells.loc[cells["metric"] == metric, column].astype(float).mean())


def _joined(values: "pd.Series[Any]") -> str:
    return ", ".join(dict.fromkeys(str(v) for v in values.dropna() if v != ""))


def _settings(frame: pd.DataFrame) -> Iterable[tuple[Any, pd.DataFrame]]:
    return frame.groupby(SETTING, sort=False)
