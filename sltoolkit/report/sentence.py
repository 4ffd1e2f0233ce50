"""The closing sentence of an experiment: what leaks at which cut, and what defenses leave of it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from sltoolkit.report.formats import (
    METRIC_NAMES,
    NOTHING,
    gain_digits,
    gain_text,
    largest_loss,
    leak_text,
    loss_text,
    number,
    points,
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
    complete and whose mean loss of accuracy stays within the budget; a gain below 0 counts as 0.
    That it brings the gain down is only claimed if the paired interval of the drop lies above 0,
    and a defense
    whose price is shown to stay within the budget comes before one for which that is unclear. The
    sentence says if an interval contains 0, if an attack is missing, if the intervals are
    about one network, and if undefended victims do no better than the majority share.
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
    said = [f"{start}: {'. '.join(clauses)}.", "" if plain is None else _warning(plain)]
    return " ".join(
        filter(None, [*said, _of_trained_only(lines), _victims(lines), _seen(lines).strip()])
    )


def _of_trained_only(lines: Sequence[Line]) -> str:
    """A warning of defenses that seem to protect nothing but the records they were trained on."""
    named = ", ".join(line["label"] for line in lines if line["trained_only"])
    if not named:
        return ""
    return (
        "Warning: far less leaks about records that the victim trained on than about others with "
        f"{named}, which may protect only the former."
    )


def _family(lines: Sequence[Line], plain: Line | None, family: str) -> str:
    """What one family of attacks found; empty if no attack of the family was run."""
    metric = next((m for line in lines if (m := line[f"{family}_metric"])), "")
    if not metric and not any(line[f"{family}_incomplete"] for line in lines):
        return ""
    parts = [] if plain is None else [_leak(plain, family)]
    defended = [x for x in lines if x["defense"] not in UNDEFENDED]
    judged = [
        x for x in defended
        if not (x[f"{family}_incomplete"] or math.isnan(x[f"{family}_gain_high"]))
    ]  # fmt: skip
    if judged:
        parts.append(_defended(judged, plain, family))
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
    if line[f"{family}_gain_low"] > 0:
        return f"the {best} attack recovers {sought} {measured}{_caveat(line, family)}"
    if _below(line, family):
        return f"no attack recovers {sought}: {best} does worse than the prior {measured}"
    bound = _caveat(line, family) if line[f"{family}_incomplete"] else ""
    return (
        f"no attack is shown to recover {sought}: {best}, the best, may do no better than the "
        f"prior {measured}{bound}"
    )


def _defended(judged: Sequence[Line], plain: Line | None, family: str) -> str:
    """What the defenses leave of a leak: the best one, if its effect and price are shown."""
    affordable = [x for x in judged if not x["unusable"]]
    if not affordable:
        return _too_dear(judged)
    if plain is None:
        best = _least(affordable, family)
        return (
            f"{best['label']} leaves the {best[f'{family}_attack']} attack "
            f"{_gain(best, family)} {_price(best, plain)} (without undefended victims, neither its "
            "effect nor its price is known)"
        )
    effective = [x for x in affordable if x[f"{family}_drop_low"] > 0]
    proven = [x for x in effective if x["budget_kept"] == "yes"]
    best = _least(proven or effective or affordable, family)
    rest = f"{_gain(best, family)} {_price(best, plain)}"
    if proven:
        return f"{best['label']} brings the gain down to {rest}"
    if effective:
        return (
            f"{best['label']} brings the gain down to {rest}, but it is not shown to stay within "
            f"the accuracy budget of {points(best['accuracy_budget'])}"
        )
    return f"{_why_none(affordable)}: {best['label']} leaves {rest}"


def _least(lines: Sequence[Line], family: str) -> Line:
    """The defense with the lowest upper end of the gain; of equal ones, the most accurate."""

    def rank(line: Line) -> tuple[float, float]:
        return max(line[f"{family}_gain_high"], 0), -line["accuracy"]

    return min(lines, key=rank)


def _why_none(affordable: Sequence[Line]) -> str:
    """Why no defense is said to bring the gain down."""
    pairs = max(x["pairs"] for x in affordable)
    if pairs == 0:
        return "no defense can be compared with undefended victims of the same seeds"
    if pairs == 1:
        return "one pair of victims gives no interval, so no effect is shown"
    budget = points(affordable[0]["accuracy_budget"])
    return f"no defense within the accuracy budget of {budget} is shown to bring the gain down"


def _too_dear(judged: Sequence[Line]) -> str:
    """That no defense is worth its price, and what the cheapest one costs."""
    useful = [x for x in judged if not x["useless"]]
    if not useful:
        return "no defense leaves victims that do better than the majority share"
    cheapest = min(useful, key=lambda x: largest_loss(x)[0])
    return (
        f"no defense stays within the accuracy budget of {points(cheapest['accuracy_budget'])}: "
        f"the cheapest, {cheapest['label']}, loses {loss_text(cheapest)}"
    )


def _gain(line: Line, family: str) -> str:
    return f"{gain_text(line, family)}{_caveat(line, family)}"


def _price(line: Line, plain: Line | None) -> str:
    """The accuracy, and the balanced accuracy where it differs, beside the undefended one."""
    shown = [line] if plain is None else [line, plain]
    plainly, balanced = (
        [number(x[name]) for x in shown] for name in ("accuracy", "balanced_accuracy")
    )
    text = f"at an accuracy of {' instead of '.join(plainly)}"
    if NOTHING in balanced or balanced == plainly:
        return text
    return f"{text} (balanced: {' instead of '.join(balanced)})"


def _warning(plain: Line) -> str:
    """That undefended victims have not learned, so that accuracy says nothing about defenses."""
    reached = f"an accuracy of {number(plain['accuracy'])}"
    guessed = f"the majority share of {number(plain['chance'])}"
    if plain["useless"]:
        return (
            f"Warning: undefended victims reach {reached}, and a constant guess reaches {guessed}: "
            "they have not learned the task, so no price of a defense can be judged by them."
        )
    if plain["accuracy"] <= plain["chance"]:
        return (
            f"Warning: undefended victims, with {reached}, do no better than {guessed}: that they "
            f"have learned shows in their balanced accuracy of {number(plain['balanced_accuracy'])}"
            " only."
        )
    beyond = (("accuracy_low", "chance"), ("balanced_accuracy_low", "balanced_chance"))
    low_ends = [plain[low] - plain[floor] for low, floor in beyond]
    known = [x for x in low_ends if not math.isnan(x)]
    if known and max(known) <= 0:
        return (
            f"Warning: undefended victims, with {reached}, are not shown to do better than "
            f"{guessed}, which a constant guess reaches."
        )
    return ""


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


def _seen(lines: Sequence[Line]) -> str:
    if all(line["holdout_unseen"] for line in lines):
        return ""
    return (
        " Accuracy may be over training data: nobody said what the network was trained on "
        "(`sltoolkit.data.parts`)."
    )


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
