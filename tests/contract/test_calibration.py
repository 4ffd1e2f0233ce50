"""The instrument is calibrated: attacks find a leak in proportion to its dose, and no other."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from support.rows import assert_readable

import sltoolkit as sl
from sltoolkit.contracts.attack import AnyAttack
from sltoolkit.errors import SpecError
from sltoolkit.metrics import Interval
from sltoolkit.testing.calibration import Reading, calibrate, threshold
from sltoolkit.testing.dose_figure import dose_figure
from sltoolkit.testing.dosed import Make, copies, logits, updates
from sltoolkit.testing.known_dose import KnownDose
from sltoolkit.testing.toys import random_split

pytestmark = pytest.mark.golden

DOSES = (0.0, 0.1, 0.3, 1.0)
TARGETS = sl.Targets(count=50, labels=60, hints=12)
DATA = random_split(100, 50, 200, shape=(1, 6, 6), classes=3)

WHITE_BOX = sl.WhiteBox(tv_weight=0.0, tv_beta=1, lr=0.2, steps=60)
REGRESSION = sl.Regression(reach=0, draws=2)
DECODER = sl.Decoder(steps=300, budget=0)

INVERSION = (DECODER, REGRESSION, sl.Retrieval(distance="euclidean"), WHITE_BOX)
GRADIENTS = (sl.FirstLayer(),)
LABELS = (sl.LogitGradient(), sl.Direction())

PROPORTIONAL = (
    ("inversion", "Decoder", "mse"), ("inversion", "Regression", "mse"),
    ("inversion", "WhiteBox", "mse"), ("inversion", "WhiteBox", "psnr_db"),
    ("gradients", "FirstLayer", "mse"), ("gradients", "FirstLayer", "psnr_db"),
    ("labels", "LogitGradient", "label_accuracy"),
)  # fmt: skip
"""Families, attacks and metrics that are linear in each target."""

THRESHOLDS = {
    ("inversion", "Decoder", "mse"): 0.3, ("inversion", "Regression", "mse"): 0.1,
    ("inversion", "WhiteBox", "mse"): 0.1, ("gradients", "FirstLayer", "psnr_db"): 0.3,
    ("gradients", "FirstLayer", "mse"): 1.0, ("labels", "LogitGradient", "leak_auc"): 0.1,
    ("labels", "LogitGradient", "label_accuracy"): 0.3, ("labels", "Direction", "leak_auc"): 0.3,
}  # fmt: skip


@cache
def readings(family: str) -> list[Reading]:
    made: dict[str, tuple[Sequence[AnyAttack], Make]] = {
        "inversion": (INVERSION, copies(DATA, TARGETS)),
        "gradients": (GRADIENTS, updates(DATA, TARGETS)),
        "labels": (LABELS, logits(DATA, TARGETS)),
    }
    attacks, make = made[family]
    leak = KnownDose(message="smashed_grad" if family == "labels" else "smashed")
    return calibrate(attacks, make, leak=leak, doses=DOSES)


def of(family: str, attack: str, metric: str) -> list[Reading]:
    return [r for r in readings(family) if (r.attack, r.metric) == (attack, metric)]


@pytest.mark.parametrize(("family", "attack", "metric"), PROPORTIONAL)
def test_the_measured_leak_is_in_proportion_to_the_dose(
    family: str, attack: str, metric: str
) -> None:
    plain = [r for r in of(family, attack, metric) if not r.shuffled]
    assert [r.dose for r in plain] == list(DOSES)
    for reading in plain:
        assert reading.read.low - 1e-6 <= reading.dose <= reading.read.high + 1e-6, reading
    values = [r.gain.value for r in plain]
    assert values == sorted(values)
    assert plain[-1].gain.low > 0


def test_retrieval_falls_short_because_it_remembers_one_draw() -> None:
    plain = [r for r in of("inversion", "Retrieval", "mse") if not r.shuffled]
    assert 0 < plain[1].read.value < DOSES[1]


@pytest.mark.parametrize("attack", ["LogitGradient", "Direction"])
def test_an_auc_grows_with_the_pairs_of_which_one_is_heard(attack: str) -> None:
    for reading in (r for r in of("labels", attack, "leak_auc") if not r.shuffled):
        if attack == "LogitGradient" or reading.dose in (0, 1):
            expected = 1 - (1 - reading.dose) ** 2
            assert reading.read.low - 1e-6 <= expected <= reading.read.high + 1e-6, reading


@pytest.mark.parametrize("family", ["inversion", "gradients", "labels"])
def test_shuffled_pairs_and_blank_messages_leak_nothing(family: str) -> None:
    nothing = [r for r in readings(family) if r.shuffled or r.dose == 0]
    assert len(nothing) > 0
    assert [r for r in nothing if r.gain.low > 0] == []


@pytest.mark.parametrize(("line", "dose"), THRESHOLDS.items(), ids=str)
def test_thresholds(line: tuple[str, str, str], dose: float) -> None:
    family, attack, metric = line
    assert threshold(readings(family), attack, metric) == dose


def a_reading(dose: float, low: float, *, shuffled: bool = False, attack: str = "A") -> Reading:
    gain = Interval(value=low + 1, low=low, high=low + 2, n=9)
    read = Interval(value=dose, low=dose - 0.01, high=dose + 0.01, n=9)
    return Reading(
        attack=attack, metric="mse", dose=dose, shuffled=shuffled, read=read, gain=gain
    )  # fmt: skip


def test_a_threshold_is_the_dose_from_which_on_all_fire() -> None:
    found = [
        a_reading(d, low)
        for d, low in ((0.0, -1.0), (0.1, 1.0), (0.2, -1.0), (0.3, 1.0), (1.0, 1.0))
    ]
    assert threshold([*found, a_reading(1.0, -1.0, shuffled=True)], "A", "mse") == 0.3
    assert threshold([*found, a_reading(1.0, 0.0, attack="B")], "B", "mse") is None


@pytest.mark.parametrize("doses", [(), (0.0,), (0.1, 1.0), (0.0, 0.5), (0.0, 0.5, 0.3, 1.0)])
def test_doses_go_from_nothing_to_everything(doses: Sequence[float]) -> None:
    with pytest.raises(SpecError, match="doses must rise from 0 to 1"):
        calibrate(GRADIENTS, updates(DATA, TARGETS), doses=doses)


def bars(axis: Axes) -> list[ErrorbarContainer]:
    return [bar for bar in axis.containers if isinstance(bar, ErrorbarContainer)]


def test_the_figure_shows_each_reading_and_whether_it_fires() -> None:
    found = [a_reading(d, low) for d, low in ((0.0, -1.0), (0.1, -1.0), (1.0, 1.0))]
    figure = dose_figure({"one": found, "two": [*found, a_reading(1.0, -1.0, shuffled=True)]})
    first, second, *_ = figure.axes
    drawn, control = ([bar.lines[0] for bar in bars(axis)] for axis in (first, second))
    assert [tuple(np.asarray(line.get_xydata())[0]) for line in drawn] == [
        (r.dose, r.dose) for r in found
    ]
    hollow = [line.get_markerfacecolor() == "white" for line in drawn]
    assert hollow == [True, True, False]
    assert [line.get_marker() for line in control].count("x") == 1
    assert_readable(figure)
