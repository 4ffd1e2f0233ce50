"""Lines of charts from rows: a method's quality over a setting that the experiment varied."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan
from typing import Any, final

import pandas as pd

from sltoolkit.metrics import KINDS, Interval
from sltoolkit.report.formats import records
from sltoolkit.report.knowledge import knowledge_of, knowledge_text, strength
from sltoolkit.report.plugin_labels import labels
from sltoolkit.report.repetitions import Measured, interval, over
from sltoolkit.report.tables import prepared
from sltoolkit.rows.columns import SETTING

AXES: Mapping[str, str] = {
    "cut": "where the network is cut",
    "data.aux": "samples that the attacker owns",
    "data.aux_from": "where the attacker's samples come from",
    "training.epochs": "epochs for which the victim was trained",
    "step": "steps of the attack",
}
"""What quality is drawn against -> the label of the axis."""

SWEPT: Mapping[str, str] = {
    "data.aux_from": "own samples from",
    "data.aux": "own samples:",
    "training.epochs": "epochs:",
}
"""How titles name the settings that an experiment varied besides the axis."""

CROWD = 5
"""If more methods than this attack one defense alone, each knowledge has its own panel."""

Place = float | str


@final
@dataclass(frozen=True, kw_only=True)
class Line:
    """One method in one panel.

    Attributes:
        panel: the defense, or what the methods know besides what is heard.
        method: the attack; "" for the prior alone.
        points: place on the axis -> mean over victims with its interval, in the spec's order.
    """

    panel: str
    method: str
    points: Mapping[Place, Interval]


@final
@dataclass(frozen=True, kw_only=True)
class Chart:
    """All lines of one figure.

    Attributes:
        axis: a key of `AXES`.
        setting: what all lines have in common, in words.
        metric: the metric.
        lines: all lines; the prior alone comes last.
        by_knowledge: whether a panel stands for a knowledge instead of a defense.
    """

    axis: str
    setting: str
    metric: str
    lines: Sequence[Line]
    by_knowledge: bool = False

    @property
    def over_targets(self) -> bool:
        """Whether an interval is over the targets of one network, and not over victims."""
        found = (point for line in self.lines if line.method for point in line.points.values())
        return any(point.over == "targets" and not isnan(point.low) for point in found)

    @property
    def places(self) -> list[Place]:
        """Everything on the axis, numbers in ascending order."""
        found = list(dict.fromkeys(p for line in self.lines for p in line.points))
        numbers = all(isinstance(p, float) for p in found)
        return sorted(found, key=float) if numbers else found


def charts(rows: pd.DataFrame, progress: Mapping[str, Mapping[str, Any]]) -> list[Chart]:
    """Every chart that the results can fill.

    Args:
        rows: the long form of the results.
        progress: cell -> step -> metric -> mean over targets.
    """
    frame = prepared(rows)
    frame = frame[(frame["family"] == "reconstruction") & (frame["status"] == "ok")].copy()
    if frame.empty:
        return []
    metric = next(m for m in KINDS["reconstruction"] if (frame["metric"] == m).any())
    frame = frame[frame["metric"] == metric]
    frame["panel"] = labels(list(frame["defense"]), list(frame["defense_params"]), lone=2)
    crowded = frame["panel"].nunique() == 1 and frame["variant"].nunique() > CROWD
    if crowded:
        frame["known"] = pd.Series(map(knowledge_of, records(frame)), frame.index, dtype=object)
        frame["panel"] = frame["known"].map(knowledge_text)
        frame = frame.sort_values("known", key=lambda k: k.map(strength), kind="stable")
    varied = [axis for axis in AXES if axis != "step"]
    placed = [(axis, _placed(frame, axis)) for axis in varied]
    placed.append(("step", _stepped(frame, progress, metric)))
    found = [chart for axis, part in placed for chart in _charts(part, axis, metric)]
    return [replace(chart, by_knowledge=crowded) for chart in found]


def _placed(frame: pd.DataFrame, axis: str) -> pd.DataFrame:
    """Every row with its place on the axis, which is taken out of its setting."""
    placed = frame.copy()
    if axis == "cut":
        placed["place"] = placed["cut"]
        placed["cut"] = ""
        return placed
    swept = [_parsed(text) for text in placed["swept"]]
    placed["place"] = [_number(values.pop(axis, "")) for values in swept]
    placed["swept"] = [", ".join(f"{k}={v}" for k, v in values.items()) for values in swept]
    return placed[placed["place"] != ""]


def _stepped(
    frame: pd.DataFrame, progress: Mapping[str, Mapping[str, Any]], metric: str
) -> pd.DataFrame:
    """A row for every step of an attack that was scored, in place of the row for its end."""
    stepped = [
        {**row, "place": float(step), "value": scores[metric], "ci_low": nan, "ci_high": nan}
        for row in frame.to_dict("records")
        for step, scores in progress.get(str(row["cell"]), {}).items()
    ]
    return pd.DataFrame(stepped, columns=[*frame.columns, "place"])


def _charts(frame: pd.DataFrame, axis: str, metric: str) -> Iterator[Chart]:
    for _, part in frame.groupby(SETTING, sort=False, dropna=False):
        if part["place"].nunique() < 2:
            continue
        lines = [
            Line(panel=str(panel), method=str(method), points=_points(group, metric, "value"))
            for panel, own in part.groupby("panel", sort=False)
            for method, group in own.groupby("variant", sort=False)
        ]
        prior = [
            Line(panel=str(panel), method="", points=_points(own, metric, "baseline"))
            for panel, own in part.groupby("panel", sort=False)
        ]
        yield Chart(axis=axis, setting=_words(part), metric=metric, lines=[*lines, *prior])


def _points(group: pd.DataFrame, metric: str, column: Measured) -> dict[Place, Interval]:
    """Means with their intervals; attacker seeds are averaged within each victim seed."""
    found = {}
    for place, own in group.groupby("place", sort=False):
        seeds = sorted(set(own["victim_seed"]))
        found[place] = interval(own, seeds, metric, column, over(own))
    return found  # type: ignore[return-value]


def _words(part: pd.DataFrame) -> str:
    named = (c for c in SETTING if c != "protocol_params")
    texts = ((c, str(part[c].iloc[0])) for c in named)
    said = ", ".join(f"{'cut ' * (c == 'cut')}{text}" for c, text in texts if text)
    for key, words in SWEPT.items():
        said = said.replace(f"{key}=", f"{words} ")
    return said


def _parsed(swept: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in swept.split(", ") if pair)
    return {key: value for key, _, value in pairs}


def _number(text: str) -> Place:
    try:
        return float(text)
    except ValueError:
        return text
