"""DISCO gets a fair try: its own networks have learned by the end of short and long trainings.

Only its own losses and the task's accuracy decide, never an attack's result.
"""

from functools import partial
from pathlib import Path
from statistics import mean

import pytest
from support.convergence import Rest

from sltoolkit import api
from sltoolkit.data import load
from sltoolkit.data.samples import Split
from sltoolkit.data.targets import Targets
from sltoolkit.defenses import DEFENSES, DISCO
from sltoolkit.models import build
from sltoolkit.parties.settings import Training
from sltoolkit.training.victim import Victim

pytestmark = pytest.mark.golden

LEFT = 0.1
"""The share of their losses' whole decline that networks may have left to learn."""


def victim(data: Split, defense: DISCO, *, epochs: int, seed: int = 0, batch: int = 64) -> Victim:
    side = data.shape[-1]
    model = partial(
        build, "lenet", shape=(1, side, side), classes=10, padding=2 if side == 8 else 0
    )
    training = Training(epochs=epochs, batch_size=batch)
    return api.train(
        model, data, cut="relu2", seed=seed, training=training, defense=defense,
        targets=Targets(count=16),
    )  # fmt: skip


def left(trained: Victim, *, steps: int) -> dict[str, float]:
    rest = Rest(victim=trained, steps=steps)
    return {name: rest.left_to_learn(name) for name in ("adversary", "pruner")}


def test_after_a_hundred_batches_little_is_left_to_learn() -> None:
    data = load("digits", train=800, holdout=400, aux=200)
    default, paper = (victim(data, d, epochs=4, batch=25) for d in (DISCO(), DISCO.paper()))
    assert max(left(default, steps=200).values()) < LEFT
    assert min(left(paper, steps=200).values()) > 2 * LEFT  # a rate for 150 epochs
    assert default.utility > paper.utility


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [4, 40])
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_short_and_long_trainings_end_with_little_left_to_learn(
    name: str, epochs: int, shared_data: Path
) -> None:
    data = load(name, train=1500, holdout=2000, aux=100, root=shared_data)
    default, paper = (
        [victim(data, d, epochs=epochs, seed=seed) for seed in range(3 if epochs == 4 else 1)]
        for d in (DISCO(), DISCO.paper())
    )
    assert max(left(default[0], steps=100).values()) < LEFT
    assert mean(v.utility for v in default) >= mean(v.utility for v in paper)


def test_every_defense_with_networks_of_its_own_has_such_a_test() -> None:
    learning = {n for n, kind in DEFENSES.items() if kind.learned is not DEFENSES["none"].learned}
    assert learning == {"disco"}
