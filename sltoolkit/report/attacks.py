"""A table of attacks: how well each does at every cut, and which is best for its knowledge."""

from collections.abc import Iterator
from statistics import mean
from typing import Any, cast

import pandas as pd

from sltoolkit.errors import SpecError
from sltoolkit.metrics import KINDS, Interval
from sltoolkit.report.formats import records, spread
from sltoolkit.report.knowledge import knowledge_of, knowledge_text, strength
from sltoolkit.report.repetitions import Measured, interval, over
from sltoolkit.report.tables import prepared
from sltoolkit.rows.columns import DEFENSE, SETTING

WINNER = "*"
"""Marks a mean that beats the prior alone and all attacks that know the same or less."""


def attack_table(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per reconstruction attack and knowledge, and one for the prior; a column per cut.

    A cell is the mean of the primary metric over victims with its 95 % t interval; a single
    network's interval is over its targets and says so. A cell is marked
    with `WINNER` if the mean is better than the prior alone and no attack that knows the same or
    less has a better one. If an attack failed on some victims, the cell says on how many it ran.

    Args:
        rows: the long form of results that differ in cut, attack and seeds alone.

    Raises:
        SpecError: if there is no reconstruction, or the rows differ in other settings than the cut.
    """
    frame = prepared(rows)
    frame = frame[frame["family"] == "reconstruction"]
    victims = frame["victim_seed"].nunique()
    frame = frame[frame["status"] == "ok"]
    metric = next((m for m in KINDS["reconstruction"] if (frame["metric"] == m).any()), None)
    if metric is None:
        raise SpecError(
            "a table of attacks needs reconstructions, got none that was run to its end"
        )
    for column in {*SETTING, *DEFENSE} - {"cut"}:
        if frame[column].nunique() > 1:
            raise SpecError(
                f"a table of attacks compares cuts, and these rows differ in {column}: give those "
                "of one of " + "; ".join(sorted(map(str, frame[column].unique())))
            )
    frame = frame[frame["metric"] == metric].copy()
    frame["known"] = pd.Series(map(knowledge_of, records(frame)), frame.index, dtype=object)
    lines: dict[tuple[frozenset[str], str], dict[str, Any]] = {}
    prior: dict[str, Any] = {}
    for cut, here in frame.groupby("cut", sort=False):
        gains = {key: mean(_means(own, "gain")) for key, own in _attacks(here)}
        for (known, name), own in _attacks(here):
            rivals = [gain for (other, _), gain in gains.items() if other <= known]
            mark = WINNER * (gains[known, name] == max(0.0, *rivals) > 0)
            found = _interval(own, metric, "value")
            ran = own["victim_seed"].nunique()
            survived = f" ({ran} of {victims} victims)" * (ran < victims)
            lines.setdefault((known, name), {})[str(cut)] = _text(found, metric) + mark + survived
        prior[str(cut)] = _text(_interval(here, metric, "baseline"), metric)
    ordered = sorted(lines, key=lambda key: (strength(key[0]), key[1]))
    said = {(knowledge_text(known), name): lines[known, name] for known, name in ordered}
    table = pd.DataFrame.from_dict({**said, ("", "prior alone"): prior}, orient="index")
    names = ["knows, besides what is heard", f"attack ({metric})"]
    table.index = pd.MultiIndex.from_tuples([*said, ("", "prior alone")], names=names)
    return table.fillna("")


def _attacks(rows: pd.DataFrame) -> Iterator[tuple[tuple[frozenset[str], str], pd.DataFrame]]:
    """Every attack with its knowledge, and its rows."""
    for known, same in rows.groupby("known", sort=False):
        for name, own in same.groupby("variant", sort=False):
            yield (cast(frozenset[str], known), str(name)), own


def _means(rows: pd.DataFrame, column: str) -> list[float]:
    """One per victim."""
    return [float(m) for m in rows.groupby("victim_seed")[column].mean()]


def _interval(rows: pd.DataFrame, metric: str, column: Measured) -> Interval:
    seeds = sorted(set(rows["victim_seed"]))
    return interval(rows, seeds, metric, column, over(rows))


def _text(found: Interval, metric: str) -> str:
    line = {"x": found.value, "x_low": found.low, "x_high": found.high, "seeds": 1}
    text = spread(line, "x", digits=4 if metric == "mse" else 2)
    return f"{text} over targets" if text.endswith("]") and found.over == "targets" else text
