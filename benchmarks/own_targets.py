"""How often the interval over victims covers the mean over targets: shared targets against own.

Run with `python benchmarks/own_targets.py [--small]`; one thread, seven minutes; it needs
MNIST under `SLTOOLKIT_DATA`. The cells are real: victims on MNIST, attacked by `regression`. Every
victim is asked about all 480 held-out targets, and the truth is the mean over all victims and
targets. Then experiments are drawn: few victims with few targets, either the same for all victims
of an experiment or its own for each victim.

`Targets` draws in the second way (unless `draw` is given), so the second rate is the toolkit's.
"""

import time

import numpy as np
import torch
from command_line import parser
from numpy.typing import NDArray

from sltoolkit import api
from sltoolkit.attacks import Regression
from sltoolkit.data import Split, load
from sltoolkit.data.targets import Targets
from sltoolkit.metrics import t_interval
from sltoolkit.parties.settings import Training

POPULATION = 480
"""Targets of every victim; their mean is the truth."""

ASKED = 32
"""Targets of a victim in an experiment."""

VICTIMS = 5
"""Victims in an experiment."""

SETS = 4000
"""Experiments that are drawn."""

Scores = NDArray[np.float64]


def cells(data: Split, *, victims: int, targets: int) -> Scores:
    """The SSIM that `regression` reaches for every victim and target: (victims, targets)."""
    asked, rows = Targets(count=targets, draw=0), []
    for seed in range(victims):
        victim = api.train(
            "lenet", data, cut="relu2", seed=seed, training=Training(epochs=1), targets=asked
        )
        rows.append(api.attack(victim, Regression(), seed=seed).verdict.scores["ssim"].numpy())
    return np.stack(rows).astype(np.float64)


def coverage(scores: Scores, rng: np.random.Generator, *, own: bool, asked: int = ASKED) -> float:
    """The share of experiments whose interval covers the mean of all scores.

    Args:
        scores: (victims, targets).
        rng: draws victims and targets.
        own: whether every victim draws its own targets.
        asked: targets of a victim.
    """
    truth, hits = scores.mean(), 0
    for _ in range(SETS):
        chosen = scores[rng.choice(len(scores), VICTIMS, replace=False)]
        draws = [rng.choice(scores.shape[1], asked, replace=False) for _ in chosen]
        drawn = draws if own else [draws[0]] * VICTIMS
        found = t_interval([float(row[i].mean()) for row, i in zip(chosen, drawn, strict=True)])
        hits += found.low <= truth <= found.high
    return hits / SETS


def main(*, small: bool) -> None:
    """Print both rates."""
    torch.set_num_threads(1)
    victims, targets = (6, 20) if small else (80, POPULATION)
    start = time.process_time()
    data = load("mnist", train=1000, holdout=targets, aux=300)
    scores = cells(data, victims=victims, targets=targets)
    between, within = scores.mean(1).std(ddof=1), scores.mean(0).std(ddof=1)
    print(
        f"{victims} victims, {targets} targets, {time.process_time() - start:.0f} s: mean "
        f"SSIM {scores.mean():.3f}, standard deviation {between:.3f} between victims, "
        f"{within:.3f} between targets"
    )
    for own, words in ((False, "the same targets for all victims"), (True, "own targets for each")):
        rate = coverage(scores, np.random.default_rng(0), own=own, asked=min(ASKED, targets // 4))
        print(f"{VICTIMS} victims, 95 % intervals, {words}: {rate:.1%} cover the mean")


if __name__ == "__main__":
    main(small=parser(__doc__).parse_args().small)
