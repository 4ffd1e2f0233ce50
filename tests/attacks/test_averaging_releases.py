"""Attackers adapt: they average releases, and learn from a defense that learned."""

from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest

import sltoolkit as sl
from sltoolkit.attacks.inversion._query import LabeledQueryView
from sltoolkit.contracts.knowledge import Aux
from sltoolkit.data.targets import image_targets
from sltoolkit.referee.sources import released_targets
from sltoolkit.streams import Stream

pytestmark = pytest.mark.golden

LENET = partial(sl.models.build, "lenet", shape=(1, 8, 8), classes=10, padding=2)
TARGETS = sl.Targets(count=16)
GRANTS = {"aux", "release", "client_arch", "client_weights"}
TUNED: dict[str, Any] = {"steps": 120, "tv_beta": 1, "forward": "client", "start": "mean"}


@cache
def trained(defense: sl.Defense | None) -> sl.Victim:
    data = sl.data.load("digits", train=400, holdout=60, aux=300)
    return sl.train(
        LENET, data, cut="conv1", defense=defense, training=sl.Training(epochs=20, batch_size=32),
        targets=TARGETS,
    )  # fmt: skip


NOISE = sl.GaussianNoise(std=1.0)


@pytest.mark.parametrize(
    ("attack", "metric"),
    [
        (sl.WhiteBox(**TUNED, lr=0.1, tv_weight=0.1), "mse"),
        (sl.DeepImagePrior(steps=60, width=4, tv_weight=0.1, forward="client"), "mse"),
        (
            sl.Shadow(
                inversion=sl.WhiteBox(**TUNED, lr=0.1, tv_weight=0.1), least_steps=300, epochs=1
            ),
            "mse",
        ),
        (sl.UnSplit(rounds=20, input_steps=20, client_steps=20, window=0), "mse_affine"),
        (sl.Decoder(steps=60, width=8, lr=1e-2, loss="mse", budget=0), "mse"),
        (sl.Regression(draws=2), "mse"),
        (sl.Retrieval(distance="euclidean"), "mse"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)  # fmt: skip
def test_sixteen_releases_give_more_away_than_one(attack: Any, metric: str) -> None:
    once, often = (
        float(
            sl.attack(
                trained(NOISE), attack, grants=GRANTS, targets=replace(TARGETS, releases=releases)
            ).verdict.scores[metric].mean()
        )
        for releases in (1, 16)
    )  # fmt: skip
    assert often < 0.9 * once


def test_a_decoder_that_learns_from_a_learned_defense_beats_one_that_does_not() -> None:
    plain, nopeek = trained(None), trained(sl.NoPeek(weight=4.0))
    held, aux = plain.client.samples, plain.data.aux
    targets = image_targets(plain.data, held, TARGETS, seed=plain.recipe.seed)

    def error(taught_by: sl.Victim) -> float:
        view = LabeledQueryView(
            smashed=released_targets(nopeek, targets, 1), release=taught_by.release(Stream(3)),
            aux=Aux(x=aux.x, y=aux.y), task=nopeek.task, labels=None,
        )  # fmt: skip
        found = sl.Decoder(steps=60, width=8, lr=1e-2, loss="mse", budget=0).run(
            view, rng=Stream(0)
        )
        return float((found.images - targets.x).square().mean())

    assert error(nopeek) < 0.7 * error(plain)
