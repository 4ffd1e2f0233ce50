"""Attacks side by side: what each reaches at every cut, and the strongest at its knowledge."""

from statistics import mean
from typing import Any

import pandas as pd

from sltoolkit.errors import SpecError
from sltoolkit.metrics import KINDS, t_interval
from sltoolkit.report.formats import spread
from sltoolkit.report.tables import SETTING, prepared

WINNER = "*"
"""Marks the best mean among the attacks with the same knowledge, if it is beyond the prior's."""

_EVERYBODY = {"smashed", "labels"}
"""What is heard on the wire, whatever else is known."""


def attack_table(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per knowledge and reconstruction attack, and the prior alone; a column per cut.

    A cell is the mean of the primary metric over victims with its 95 % t interval; of the attacks
    with the same knowledge the one with the best mean is marked with `WINNER`, unless the prior
    alone does as well. An attack that failed on some victims says on how many it did not.

    Args:
        rows: the long form of results that differ in cut, attack and seeds alone.

    Raises:
        SpecError: if there is no reconstruction, or other things than the cut differ.
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
    for column in {*SETTING, "defense", "defense_params"} - {"cut"}:
        if frame[column].nunique() > 1:
            raise SpecError(
                f"a table of attacks compares cuts, and these rows differ in {column}: give those "
                "of one of " + "; ".join(sorted(map(str, frame[column].unique())))
            )
    frame = frame[frame["metric"] == metric]
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    for cut, here in frame.groupby("cut", sort=False):
        for knows, rivals in here.groupby(here["knowledge"].map(_beyond_the_wire), sort=False):
            gains = {str(name): mean(_means(a, "gain")) for name, a in rivals.groupby("variant")}
            for name, own in rivals.groupby("variant"):
                mark = WINNER * (gains[str(name)] == max(0.0, *gains.values()) > 0)
                values = _means(own, "value")
                survived = f" ({len(values)} of {victims} victims)" * (len(values) < victims)
                text = _text(values, metric) + mark + survived
                lines.setdefault((str(knows), str(name)), {})[str(cut)] = text
        prior = lines.setdefault(("", "prior alone"), {})
        prior[str(cut)] = _text(_means(here, "baseline"), metric)
    table = pd.DataFrame.from_dict(lines, orient="index")
    table.index = pd.MultiIndex.from_tuples(lines, names=["knowledge", f"attack ({metric})"])
    return table.sort_index().fillna("")


def _beyond_the_wire(knowledge: str) -> str:
    return ", ".join(g for g in knowledge.split("+") if g not in _EVERYBODY)


def _means(rows: pd.DataFrame, column: str) -> list[float]:
    """One per victim."""
    return [float(m) for m in rows.groupby("victim_seed")[column].mean()]


def _text(values: list[float], metric: str) -> str:
    found = t_interval(values)
    line = {"x": found.value, "x_low": found.low, "x_high": found.high, "seeds": found.n}
    return spread(line, "x", digits=4 if metric == "mse" else 2)
