"""The closing sentence of an experiment: what leaks at which cut, and what defenses leave of it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from sltoolkit.report.formats import (
    METRIC_NAMES,
    gain_digits,
    gain_text,
    leak_text,
    number,
    records,
)
from sltoolkit.report.plugin_labels import UNDEFENDED
from sltoolkit.report.tables import FAMILIES
from sltoolkit.rows.columns import SETTING

_SOUGHT = {
    "reconstruction": "the inputs", "labels": "the labels", "inference": "the attribute",
}  # fmt: skip
_WORDS = ("the", "no ", "not")  # first words that are capitalized; others are names and stay

Line = Mapping[str, Any]


def sentence(summary: pd.DataFrame) -> str:
    """The undefended leak of each setting, and what the best defense leaves of it, in words.

    The best defense is the one whose worst case has the smallest upper end among those that are
    complete and still useful; a gain below 0 counts as 0. The sentence says if an interval contains
    0, if an attack is missing, and if the intervals are about one network.
    """
    return " ".join(
        _about(list(records(setting)), _where(setting, summary))
        for _, setting in summary.groupby(SETTING, sort=False)
    )


def _about(lines: Sequence[Line], where: str) -> str:
    plain = next((line for line in lines if line["defense"] in UNDEFENDED), None)
    clauses = [clause for f in FAMILIES if (clause := _family(lines, plain, f))]
    if not clauses:
        return f"{where}: no attack was run to its end, so nothing is known of what leaks."
    start = where if plain is None else f"{where}, undefended"
    clauses[1:] = [f"{c[0].upper()}{c[1:]}" if c[:3] in _WORDS else c for c in clauses[1:]]
    return f"{start}: {'. '.join(clauses)}. {_victims(lines)}"


def _family(lines: Sequence[Line], plain: Line | None, family: str) -> str:
    """What one family of attacks found; empty if no attack of the family was run."""
    metric = next((m for line in lines if (m := line[f"{family}_metric"])), "")
    if not metric and not any(line[f"{family}_incomplete"] for line in lines):
        return ""
    parts = [] if plain is None else [_leak(plain, family)]
    defended = [x for x in lines if x["defense"] not in UNDEFENDED]
    usable = [
        x for x in defended
        if not (x["unusable"] or math.isnan(x[f"{family}_gain_high"]))
    ]  # fmt: skip
    if usable:
        parts.append(
            _left(min(usable, key=lambda x: max(x[f"{family}_gain_high"], 0)), plain, family)
        )
    unjudged = [x["label"] for x in defended if x[f"{family}_incomplete"]]
    if unjudged:
        parts.append(f"not judged because an attack is missing: {', '.join(unjudged)}")
    return "; ".join(parts)


def _leak(line: Line, family: str) -> str:
    if math.isnan(line[f"{family}_gain_low"]):
        return f"no attack on {_SOUGHT[family]} was run to its end ({_missing(line, family)})"
    digits = gain_digits(line, family)
    prior = number(line[f"{family}_baseline"], digits=digits)
    value = leak_text(line, f"{family}_value", line[f"{family}_metric"], digits)
    measured = (
        f"({METRIC_NAMES[line[f'{family}_metric']]} {value} against {prior} from the prior "
        f"alone; gain {gain_text(line, family)})"
    )
    best, sought = line[f"{family}_attack"], _SOUGHT[family]
    if _below(line, family):
        return f"no attack recovers {sought}: {best} does worse than the prior {measured}"
    if not line[f"{family}_incomplete"] and line[f"{family}_gain_low"] <= 0:
        return (
            f"no attack is shown to recover {sought}: {best}, the best, may do no better than the "
            f"prior {measured}"
        )
    return f"the {best} attack recovers {sought} {measured}{_caveat(line, family)}"


def _left(line: Line, plain: Line | None, family: str) -> str:
    gain = f"{gain_text(line, family)}{_caveat(line, family)}"
    cost = f"at an accuracy of {number(line['accuracy'])}"
    if plain is None:
        return f"{line['label']} leaves the {line[f'{family}_attack']} attack {gain} {cost}"
    cost += f" instead of {number(plain['accuracy'])}"
    if line[f"{family}_gain_high"] < plain[f"{family}_gain_high"]:
        return f"{line['label']} brings the gain down to {gain} {cost}"
    return f"no defense brings the gain down: {line['label']} leaves {gain} {cost}"


def _caveat(line: Line, family: str) -> str:
    if line[f"{family}_incomplete"]:
        return f" (a lower bound, {_missing(line, family)})"
    if _below(line, family):
        return " (worse than the prior alone)"
    if line[f"{family}_gain_low"] <= 0:
        return " (an interval that contains 0: no leak is shown)"
    return ""


def _below(line: Line, family: str) -> bool:
    """Whether all attacks were run and the best of them is surely worse than the prior."""
    return not line[f"{family}_incomplete"] and bool(line[f"{family}_gain_high"] < 0)


def _missing(line: Line, family: str) -> str:
    return f"without {line[f'{family}_missing']}"


def _victims(lines: Sequence[Line]) -> str:
    counts = sorted({int(line["seeds"]) for line in lines})
    if all(line["interval_over"] == "targets" for line in lines):
        one = "victim" if counts == [1] else "network"
        return f"From one {one}, with intervals over its targets: another victim may differ a lot."
    return f"From {' to '.join(str(c) for c in {counts[0]: 0, counts[-1]: 0})} victims each."


def _where(setting: pd.DataFrame, summary: pd.DataFrame) -> str:
    named = [str(setting[c].iloc[0]) for c in SETTING if c != "cut" and summary[c].nunique() > 1]
    return " ".join(
        [
            *named,
            "cut" if named else "Cut",
            "after",
            str(setting["cut"].iloc[0]).replace("+", " and "),
        ]
    )
