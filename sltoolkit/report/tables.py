"""Tables of results: one line per defense, the attacks behind it, and what failed.

The input is the long form of results: one metric of one cell per row, failed cells included.
"""

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import pandas as pd

from sltoolkit.errors import SpecError
from sltoolkit.metrics import KINDS, t_interval, worst_case
from sltoolkit.report.against_undefended import (
    ACCURACY_BUDGET,
    check_budget,
    drop_columns,
    undefended,
    utility_columns,
)
from sltoolkit.report.plugin_labels import UNDEFENDED, labels
from sltoolkit.report.victim_means import NOTHING_MEASURED, seed_mean, spread_columns
from sltoolkit.rows.columns import BLANK, DEFENSE, NEEDED, SETTING, THREAT

FAMILIES = {"reconstruction": "reconstruction", "labels": "labels", "inference": "attribute"}
"""Families of attacks that have a worst case -> what they hand back, a key of `KINDS`."""


def summary(rows: pd.DataFrame, accuracy_budget: float = ACCURACY_BUDGET) -> pd.DataFrame:
    """One line per defense (and its parameters) in each setting, undefended first.

    Columns: the setting and the defense; `label`; `seeds`; those of `utility_columns` (accuracy
    beside the majority share, what the defense costs, whether it is `unusable`); `holdout_unseen`
    (whether the accuracy is known to be on unseen data); `trained_only` (whether some attack
    learned far less about records that the victim trained on than about others); per family of
    attacks `F` the worst case over attacks: `F_gain`, `_low`, `_high`, `F_metric` (the family's
    primary one), `F_attack`, that attack's mean `F_value` and `F_baseline`, `F_incomplete` (the
    gain is a lower bound), `F_missing` (the attacks that failed, lack a seed, or were only run
    against other defenses of the setting), and `F_drop_low` and `_high`, the drop from undefended
    victims, paired by seed; `reconstruction_psnr_db` of the same attack; `epsilon`, `delta` and
    `releases` composed over the most releases that an attack received.

    Attacker seeds are averaged within a victim seed. With one victim seed, intervals are NaN.

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
        primaries = {f: _primary(setting, f) for f in FAMILIES}
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
    """One line per defense, attack and metric: means over victim seeds, the gain's t interval."""
    frame = prepared(rows)
    frame["label"] = labels(list(frame["defense"]), list(frame["defense_params"]), lone=2)
    keys = [*SETTING, "label", "family", "variant", "metric"]
    ok = frame[(frame["status"] == "ok") & frame["metric"].notna()]
    lines = []
    for _, cells in ok.groupby(keys, sort=False):
        seeds = sorted(set(cells["victim_seed"]))
        gain = t_interval([seed_mean(cells, s, None, "gain") for s in seeds])
        lines.append(
            {**{k: cells[k].iloc[0] for k in keys},
             "value": cells["value"].mean(), "baseline": cells["baseline"].mean(),
             "baseline_name": _joined(cells["baseline_name"]), **spread_columns("gain", gain),
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


def _primary(setting: pd.DataFrame, family: str) -> str:
    seen = set(setting.loc[setting["family"] == family, "metric"])
    return next((metric for metric in KINDS[FAMILIES[family]] if metric in seen), "")


def _line(
    group: pd.DataFrame, plain: pd.DataFrame, ran: dict[str, list[str]], primaries: dict[str, str]
) -> dict[str, Any]:
    seeds = sorted(set(group["victim_seed"]))
    line: dict[str, Any] = {k: group[k].iloc[0] for k in [*SETTING, *DEFENSE]}
    line |= {"seeds": len(seeds)}
    line["holdout_unseen"] = bool(group["holdout_unseen"].all())
    for family in FAMILIES:
        cells = group[group["family"] == family]
        line |= _worst(cells, family, primaries[family], ran[family], seeds)
        line |= drop_columns(group, plain, family, primaries[family])
    line["trained_only"] = bool(group["trained_only"].eq(True).any())
    return line | _privacy(group)


def _worst(
    cells: pd.DataFrame, family: str, metric: str, ran: Sequence[str], seeds: Sequence[Hashable]
) -> dict[str, Any]:
    """The worst case over a family's attacks, and further columns about the worst attack."""
    attacks = dict(iter(cells.groupby("variant", sort=False)))
    gains: dict[str, list[float]] = {name: [] for name in set(ran) - set(cells["attack"])}
    for name, own in attacks.items():
        gains[str(name)] = [seed_mean(own, seed, metric, "gain") for seed in seeds]
    found = worst_case(gains) if gains else None
    own = attacks.get(found.attack, cells.iloc[:0]) if found else cells.iloc[:0]
    line = {
        f"{family}_metric": metric,
        **spread_columns(f"{family}_gain", found.interval if found else NOTHING_MEASURED),
        f"{family}_attack": found.attack if found else "",
        f"{family}_value": _mean(own, metric, "value"),
        f"{family}_baseline": _mean(own, metric, "baseline"),
        f"{family}_incomplete": bool(found and found.incomplete),
        f"{family}_missing": ", ".join(found.missing) if found else "",
    }
    if family == "reconstruction":
        line[f"{family}_psnr_db"] = _mean(own, "psnr_db", "value")
    return line


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
