"""Defenses in pairs: each against no defense, and against noise of equal accuracy.

Victims of one seed share initialization, batches and targets, so a difference within pairs is known
better than the two numbers that it is the difference of.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import pandas as pd

from sltoolkit.metrics import Interval, Range, clipped, paired_difference, worst_difference
from sltoolkit.report.formats import METRIC_NAMES, at_most, gain_digits, records, spread
from sltoolkit.report.plugin_labels import UNDEFENDED, labels
from sltoolkit.report.repetitions import bounds, over, seed_means
from sltoolkit.report.tables import FAMILIES, prepared, primary_metric
from sltoolkit.report.worst import attacks_of
from sltoolkit.rows.columns import SETTING, heading

NOISE = "gaussian_noise"
"""The defense that others must beat at equal accuracy."""

WORST = "worst case"
"""The line about the largest mean gains over all attacks."""


@final
@dataclass(frozen=True, kw_only=True)
class System:
    """A defense's accuracy and the gains of one family of attacks, for each paired victim.

    Attributes:
        label: the defense with its parameters.
        accuracy: one per victim.
        gains: attack -> one per victim, NaN where it failed.
    """

    label: str
    accuracy: Sequence[float]
    gains: Mapping[str, Sequence[float]]

    @property
    def mean_accuracy(self) -> float:
        """The mean over victims."""
        return sum(self.accuracy) / len(self.accuracy)


def comparisons(rows: pd.DataFrame) -> pd.DataFrame:
    """Differences in accuracy and gain: every defense minus a reference, paired by victim seed.

    References (`against`) are `undefended` and `noise at equal accuracy`, see `equally_accurate`;
    `reference` says which lines of the table that is. A line is about one attack, with the mean
    difference of its gains and the t interval, or about the worst case, for which there are
    only the ends of an interval (`worst_difference`).

    Columns: the setting, `label`, `family`, `metric`, `against`, `reference`, `attack`, `pairs`,
    `interval_over`, and `accuracy`, `gain` with their ends `_low` and `_high`. Negative is less
    accurate, and less leakage.

    Args:
        rows: the long form; a failed cell has status `failed` and no numbers.

    Raises:
        SpecError: if there are no rows, or columns are missing.
    """
    frame = prepared(rows)
    frame["label"] = labels(list(frame["defense"]), list(frame["defense_params"]), lone=2)
    lines = [
        line
        for _, setting in frame.groupby(SETTING, sort=False)
        for family in FAMILIES
        for line in _of_family(setting, family)
    ]
    return pd.DataFrame(lines, columns=list(lines[0]) if lines else None)


def formatted_comparisons(table: pd.DataFrame) -> pd.DataFrame:
    """The comparisons as strings, for a terminal or a page."""
    varying = [c for c in SETTING if len(table) and table[c].nunique() > 1]
    return pd.DataFrame([_texts(line, varying) for line in records(table)], dtype=object)


def equally_accurate(own: System, weaker: Sequence[System]) -> System:
    """The reference of equal mean accuracy on the line between two strengths of noise.

    A client that uses the stronger noise for a share w of its records, and the weaker noise for the
    others, has mean accuracy and mean gains on this line; w is chosen so that the mean accuracies
    are equal. Each victim's own difference in accuracy is carried over by the slope of the line, so
    that intervals of differences cover the uncertainty of w, too (to first order). A defense
    that is more accurate than all references is compared with the most accurate one, and one that
    is less accurate than all with the least accurate one.

    Args:
        own: the defense.
        weaker: no defense, if there is such a line, and the strengths of noise.
    """
    ordered = sorted(weaker, key=lambda s: -s.mean_accuracy)
    below = next((i for i, s in enumerate(ordered) if s.mean_accuracy <= own.mean_accuracy), None)
    if below == 0 or below is None:
        return ordered[0 if below == 0 else -1]
    high, low = ordered[below - 1], ordered[below]
    span = high.mean_accuracy - low.mean_accuracy
    share = (high.mean_accuracy - own.mean_accuracy) / span
    mixed = [(1 - share) * x + share * y for x, y in zip(high.accuracy, low.accuracy, strict=True)]
    steps = [(m - a) / span for m, a in zip(mixed, own.accuracy, strict=True)]
    gains = {
        attack: _on_the_line(high.gains[attack], low.gains[attack], share, steps)
        for attack in high.gains.keys() & low.gains.keys()
    }
    label = f"{high.label} and for {share:.0%} {low.label}"
    return System(label=label, accuracy=mixed, gains=gains)


def _on_the_line(
    high: Sequence[float], low: Sequence[float], share: float, steps: Sequence[float]
) -> list[float]:
    """Each victim's gain at the share, moved by its step times the mean slope."""
    slope = sum(y - x for x, y in zip(high, low, strict=True)) / len(high)
    return [
        (1 - share) * x + share * y + step * slope
        for x, y, step in zip(high, low, steps, strict=True)
    ]


def _of_family(setting: pd.DataFrame, family: str) -> Iterator[dict[str, Any]]:
    """The lines about one family of attacks in one setting."""
    metric = primary_metric(setting, family)
    if not metric:
        return
    groups = {str(label): group for label, group in setting.groupby("label", sort=False)}
    plain = next((label for label, g in groups.items() if _name(g) in UNDEFENDED), None)
    ran = set(setting.loc[setting["family"] == family, "attack"])
    noisy = [label for label, group in groups.items() if _name(group) == NOISE]
    for label, group in groups.items():
        if label == plain:
            continue
        against = {"undefended": [plain] if plain else []}
        if _name(group) != NOISE:
            against["noise at equal accuracy"] = [*against["undefended"], *noisy] if noisy else []
        for name, others in against.items():
            compared = [groups[other] for other in others]
            yield from _pair(group, compared, family, metric, ran, {"against": name})


def _pair(
    group: pd.DataFrame, others: Sequence[pd.DataFrame], family: str, metric: str,
    ran: Collection[str], about: Mapping[str, str],
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """The lines of one defense and its reference; none without pairs."""
    seeds = sorted(
        set(group["victim_seed"]).intersection(*(set(other["victim_seed"]) for other in others))
    )
    if not others or not seeds:
        return
    own, *weaker = (_system(each, family, metric, seeds, ran) for each in (group, *others))
    reference = equally_accurate(own, weaker)
    shared = {
        **{c: group[c].iloc[0] for c in SETTING}, "label": own.label, "family": family,
        "metric": metric, **about, "reference": reference.label, "pairs": len(seeds),
        "interval_over": over(group),
        **_ends(
            "accuracy", paired_difference(own.accuracy, reference.accuracy, within=(-1.0, 1.0))
        ),
    }  # fmt: skip
    within = _range((group, *others), seeds, family, metric)
    if own.gains and reference.gains:
        low, high = (clipped(x, within) for x in worst_difference(own.gains, reference.gains))
        ends = {"gain": math.nan, "gain_low": low, "gain_high": high}
        yield {**shared, "attack": WORST, **ends}
    for attack in own.gains:
        if attack in reference.gains:
            found = paired_difference(own.gains[attack], reference.gains[attack], within=within)
            yield {**shared, "attack": attack, **_ends("gain", found)}


def _range(groups: Sequence[pd.DataFrame], seeds: Sequence[Any], family: str, metric: str) -> Range:
    """The range in which differences of mean gains between the first group and the others lie."""
    ranges = [bounds(each[each["family"] == family], seeds, metric, "gain") for each in groups]
    (low, high), others = ranges[0], ranges[1:]
    return low - max(top for _, top in others), high - min(bottom for bottom, _ in others)


def _system(
    group: pd.DataFrame, family: str, metric: str, seeds: Sequence[Any], ran: Collection[str]
) -> System:  # fmt: skip
    utility = group.groupby("victim_seed")["utility"].mean()
    attacks = attacks_of(group[group["family"] == family], ran)
    return System(
        label=str(group["label"].iloc[0]),
        accuracy=[float(utility[s]) for s in seeds],
        gains={a: seed_means(rows, seeds, metric, "gain") for a, rows in attacks.items()},
    )


def _name(group: pd.DataFrame) -> str:
    return str(group["defense"].iloc[0])


def _ends(name: str, found: Interval) -> dict[str, float]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _texts(line: dict[str, Any], varying: Sequence[str]) -> dict[str, str]:
    digits = gain_digits({"x_metric": line["metric"]}, "x")
    shown = {**line, "seeds": line["pairs"]}
    if line["attack"] == WORST:
        gain = at_most(line["gain_low"], line["gain_high"], digits)
    else:
        gain = spread(shown, "gain", signed=True, digits=digits)
    return {
        **{heading(c): str(line[c]) for c in varying},
        "defense": line["label"],
        "minus": line["reference"] if line["against"] == "undefended" else (
            f"{line['against']}: {line['reference']}"
        ),
        "accuracy": spread(shown, "accuracy", signed=True, digits=3),
        "attack": line["attack"],
        "metric": METRIC_NAMES[line["metric"]],
        "gain": gain,
        "interval over": line["interval_over"],
        "pairs": str(line["pairs"]),
    }  # fmt: skip
