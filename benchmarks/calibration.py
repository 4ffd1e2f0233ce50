"""Attacks on leaks of known dose: what each reads, and the smallest dose that it finds.

    python benchmarks/calibration.py [FIGURE.png] [--small]

Messages are plain copies of inputs, updates of single records, or gradients that tell the label, in
0, 2, 5, 10, 30 and 100 % of the cases; all others are blank (`sltoolkit.testing.known_dose`). A
reading is an attack's value on the scale between its values at dose 0 and at dose 1; intervals are
95 % over the targets of one victim. The data are MNIST's digits at half their size. Without a name,
the figure is docs/figures/calibration.png.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

import torch
from command_line import parser
from torch.nn import functional

import sltoolkit as sl
from sltoolkit.contracts.attack import AnyAttack
from sltoolkit.data.samples import Samples, Split
from sltoolkit.metrics import Interval
from sltoolkit.testing.calibration import Reading, calibrate, threshold
from sltoolkit.testing.dose_figure import dose_figure
from sltoolkit.testing.dosed import Make, copies, logits, trainings, updates
from sltoolkit.testing.known_dose import DOSES, KnownDose

FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "calibration.png"
EPOCHS = 40


@final
@dataclass(frozen=True, kw_only=True)
class Family:
    """Attacks on one kind of victim, and the metrics that are drawn."""

    attacks: Sequence[AnyAttack]
    make: Make
    drawn: Sequence[str]
    leak: KnownDose = field(default_factory=KnownDose)


def families(*, small: bool) -> dict[str, Family]:
    """The families of attacks, by title."""
    data, targets = _digits() if small else _mnist()
    image = ("mse",) if small else ("ssim",)
    white_box = sl.WhiteBox(tv_weight=0.0, tv_beta=1, lr=0.2, steps=100)
    inversion: list[AnyAttack] = [
        sl.Decoder(budget=0),
        sl.Regression(draws=2),
        sl.Retrieval(),
        white_box,
    ]
    return {
        "inversion": Family(
            attacks=inversion[1:] if small else inversion, make=copies(data, targets), drawn=image
        ),
        "listening": Family(
            attacks=[sl.PCAT.paper()], drawn=image,
            make=trainings(data, targets, epochs=1 if small else EPOCHS),
            leak=KnownDose(in_training=False),
        ),
        "gradients": Family(
            attacks=[sl.FirstLayer()], make=updates(data, targets), drawn=image
        ),
        "labels": Family(
            attacks=[sl.LogitGradient(), sl.Direction()], make=logits(data, targets),
            leak=KnownDose(message="smashed_grad"), drawn=("leak_auc", "label_accuracy"),
        ),
    }  # fmt: skip


def _digits() -> tuple[Split, sl.Targets]:
    data = sl.data.load("digits", train=100, holdout=40, aux=60)
    return data, sl.Targets(count=20, labels=40, hints=2)


def _mnist() -> tuple[Split, sl.Targets]:
    full = sl.data.load("mnist", train=600, holdout=400, aux=600)
    halved = replace(
        full, private_train=_halved(full.private_train),
        private_holdout=_halved(full.private_holdout), aux=_halved(full.aux),
    )  # fmt: skip
    return halved, sl.Targets(count=200, labels=200, hints=30)


def _halved(samples: Samples) -> Samples:
    return replace(samples, x=functional.avg_pool2d(samples.x, 2))


def report(readings: Mapping[str, Sequence[Reading]]) -> str:
    """A table in Markdown: readings by dose, and the smallest dose that fires."""
    doses = sorted({r.dose for found in readings.values() for r in found})[1:-1]
    heads = [f"{dose:.0%}" for dose in doses]
    head = ["family", "attack", "metric", *heads, "gain at 100 %", "gain, shuffled", "threshold"]
    lines = [head, ["---"] * len(head)]
    for family, found in readings.items():
        for attack, metric in dict.fromkeys((r.attack, r.metric) for r in found):
            own = [r for r in found if (r.attack, r.metric) == (attack, metric)]
            plain = {r.dose: r for r in own if not r.shuffled}
            shuffled = next(r for r in own if r.shuffled)
            smallest = threshold(found, attack, metric)
            lines.append([
                family, attack, metric, *(_text(plain[dose].read) for dose in doses),
                f"{plain[1].gain.value:.3f}", _text(shuffled.gain),
                "none" if smallest is None else f"{smallest:.0%}",
            ])  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(found: Interval) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def measure(*, small: bool) -> dict[str, list[Reading]]:
    """The readings of all families."""
    found: dict[str, list[Reading]] = {}
    for title, family in families(small=small).items():
        start = time.perf_counter()
        readings = calibrate(
            family.attacks, family.make, leak=family.leak,
            doses=(0.0, 0.5, 1.0) if small else DOSES,
        )  # fmt: skip
        # a stolen model comes from the training, whatever is heard of the targets
        found[title] = [r for r in readings if r.metric != "model_accuracy"]
        print(f"{title}: {time.perf_counter() - start:.0f} s", flush=True)
    return found


def drawn(readings: Mapping[str, Sequence[Reading]], *, small: bool) -> dict[str, list[Reading]]:
    """The readings by the metrics that are drawn."""
    kept = families(small=small)
    return {
        title: [r for r in found if r.metric in kept[title].drawn]
        for title, found in readings.items()
    }


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument("figure", nargs="?", type=Path)
    given = command.parse_args()
    torch.set_num_threads(1)
    measured = measure(small=given.small)
    print(report(measured))
    figure = dose_figure(drawn(measured, small=given.small))
    if given.figure or not given.small:
        figure.savefig(given.figure or FIGURE)
