"""Calibration: what attacks and metrics read of leaks whose dose is known (`known_dose`).

    readings = calibrate([sl.Decoder()], dosed.copies(data, targets))

A reading is an attack's value by a metric, on a scale whose ends the attack sets itself: 0 is its
value where nothing leaks, 1 its value where everything does. If it grows in proportion to the leak,
its readings are the doses. Whether the attack says anything at all is another question, which its
gain over the best prior-only baseline answers: a dose *fires* if the gain's interval lies above 0.
An attack that answers worse than the prior where it hears nothing needs a larger dose for that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from sltoolkit.api import attack as attack_and_judge
from sltoolkit.contracts.attack import AnyAttack
from sltoolkit.contracts.outcomes import LabelGuess
from sltoolkit.errors import SpecError
from sltoolkit.metrics import METRICS, Interval, gain
from sltoolkit.referee.judge import Verdict
from sltoolkit.streams import Stream
from sltoolkit.testing.dosed import Make
from sltoolkit.testing.judging import granted
from sltoolkit.testing.known_dose import DOSES, KnownDose

RESAMPLES = 1000
CONFIDENCE = 0.95

Key = tuple[float, bool]
"""A dose, and whether the pairs are shuffled."""


@final
@dataclass(frozen=True, kw_only=True)
class Reading:
    """What an attack reads at one dose, by one metric.

    Attributes:
        attack: the name of the attack's class.
        metric: the metric; an attack's primary one comes first.
        dose: the share of messages that are sent as they are.
        shuffled: whether these are about other records.
        read: the value on the scale from 0 (dose 0) to 1 (dose 1), with its interval.
        gain: the gain over the best prior-only baseline, in the metric's unit, with its interval.

    The intervals are 95 % bootstraps over the targets of one victim. The scale of `read` is
    resampled with it, and the baseline is fixed.
    """

    attack: str
    metric: str
    dose: float
    shuffled: bool
    read: Interval
    gain: Interval

    @property
    def fires(self) -> bool:
        """Whether the gain's interval lies above 0."""
        return self.gain.low > 0


def calibrate(
    attacks: Sequence[AnyAttack],
    make: Make,
    *,
    leak: KnownDose | None = None,
    doses: Sequence[float] = DOSES,
    seed: int = 0,
) -> list[Reading]:
    """The readings of attacks at known doses, and with shuffled pairs at dose 1.

    What the prior alone gives is the same at every dose, so it is computed once, at dose 0.

    Args:
        attacks: the attacks, of different classes; they get every grant that they can use.
        make: makes victims, all with the same targets (`dosed`, or your own).
        leak: which messages are dosed; by default all smashed data.
        doses: doses in rising order, from 0 to 1.
        seed: the attacker's seed.

    Returns:
        One reading per attack, dose and metric, with those of shuffled pairs last.

    Raises:
        SpecError: if the doses don't rise from 0 to 1.
    """
    if list(doses) != sorted(set(doses)) or len(doses) < 2 or (doses[0], doses[-1]) != (0, 1):
        raise SpecError(f"doses must rise from 0 to 1, both included; got {list(doses)}")
    keys = [(dose, False) for dose in doses] + [(1.0, True)]
    verdicts: dict[str, dict[Key, Verdict]] = {type(a).__name__: {} for a in attacks}
    prior: dict[Any, Any] = {}
    for dose, shuffled in keys:
        victim = make(replace(leak or KnownDose(), dose=dose, shuffled=shuffled), attacks)
        victim.baseline_cache.update(prior)
        for attack in attacks:
            result = attack_and_judge(victim, attack, seed=seed, grants=granted(attack))
            verdicts[type(attack).__name__][dose, shuffled] = result.verdict
        prior = dict(victim.baseline_cache)
    return [
        _reading(attack, metric, key, found)
        for attack, found in verdicts.items()
        for key in keys
        for metric in found[key].scores
    ]


def threshold(readings: Sequence[Reading], attack: str, metric: str) -> float | None:
    """The smallest dose that fires, with all larger ones, for an attack and a metric; else None."""
    found = None
    for r in sorted(readings, key=lambda r: -r.dose):
        if (r.attack, r.metric, r.shuffled) == (attack, metric, False):
            if not r.fires:
                break
            found = r.dose
    return found


def _reading(attack: str, metric: str, key: Key, verdicts: Mapping[Key, Verdict]) -> Reading:
    about, n = METRICS[metric], len(verdicts[key].truth.ids)
    nothing, everything, here = (
        _values(verdicts[k], metric) for k in ((0.0, False), (1.0, False), key)
    )
    best = max if about.higher_is_more_leak else min
    baseline = torch.full_like(here, best(verdicts[key].baselines[metric].values()))
    span = everything - nothing
    read = torch.where(span == 0, torch.nan, (here - nothing) / span)
    return Reading(
        attack=attack, metric=metric, dose=key[0], shuffled=key[1],
        read=_interval(read, n), gain=_interval(gain(about, here, baseline), n),
    )  # fmt: skip


def _values(verdict: Verdict, metric: str) -> Tensor:
    """The metric over the sample of targets, and then over the same resamples of it every time."""
    scores, n = verdict.scores[metric].double(), len(verdict.truth.ids)
    drawn = Stream(0).fresh("rows").numpy().integers(n, size=(RESAMPLES, n))
    rows = torch.cat([torch.arange(n)[None], torch.from_numpy(drawn)])
    if scores.ndim:
        return scores[rows].mean(1)
    guess = verdict.outcome
    if not isinstance(guess, LabelGuess):
        raise SpecError(f"{metric} is over all targets, and it can be resampled for labels only")
    function, y = METRICS[metric].function, verdict.truth.y.cpu()
    return torch.stack([function(guess.scores.cpu()[row], y[row]) for row in rows])


def _interval(values: Tensor, n: int) -> Interval:
    """The value of the sample, which comes first, between the quantiles of the resamples."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values[1:].numpy(), [tail, 1 - tail])
    return Interval(value=float(values[0]), low=float(low), high=float(high), n=n)
