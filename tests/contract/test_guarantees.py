"""Audits of guarantees: false ones are refuted, sound ones pass and are nearly reached."""

import pytest
import torch

import sltoolkit as sl
from sltoolkit.contracts.defense import Defense
from sltoolkit.testing.at_work import when_deployed
from sltoolkit.testing.cheats.private_defenses import NoClip, Private, TooLittleNoise
from sltoolkit.testing.guarantees import (
    DELTA,
    Canaries,
    check_guarantee_holds,
    check_noise_is_fresh,
    shown_epsilon,
)
from sltoolkit.testing.toys import split
from sltoolkit.wire.turn import Turn


@pytest.mark.parametrize("epsilon", [1.0, 3.0, 8.0])
def test_a_sound_mechanism_passes_and_most_of_its_epsilon_is_shown(epsilon: float) -> None:
    defense = sl.DPActivations(epsilon=epsilon, delta=DELTA, clip=2.0)
    check_guarantee_holds(defense)
    deployed, record = when_deployed(defense), split().private_holdout[:1]
    z = 1e3 * deployed.smashed(record)
    canaries = Canaries(work=deployed, z=z, records=(record, record))
    claim = defense.guarantee(releases=1, delta=DELTA)
    assert claim is not None
    assert 0.8 * epsilon < shown_epsilon(claim, canaries.scores()) <= epsilon


@pytest.mark.parametrize(
    "sound",
    [
        sl.DPActivations(epsilon=100.0),
        sl.Chain(sl.DPActivations(epsilon=2.0), sl.RandomPruning(ratio=0.5)),
        sl.Chain(sl.GaussianNoise(std=0.1), sl.DPActivations(epsilon=2.0)),
    ],
    ids=["large epsilon", "pruned behind", "noisy before"],
)
def test_sound_guarantees_pass(sound: Defense) -> None:
    check_noise_is_fresh(sound)
    check_guarantee_holds(sound)


@pytest.mark.parametrize("kind", [TooLittleNoise, NoClip])
def test_mechanisms_that_are_not_gaussian_are_refuted_by_counts(kind: type[Private]) -> None:
    with pytest.raises(AssertionError, match="an audit shows at least 6"):
        check_guarantee_holds(kind(mechanism="clipping and noise", clip=0.05))


def test_noise_that_leaves_numbers_out_is_refuted() -> None:
    class SparesAChannel(Private):
        def noise(self, z: torch.Tensor, turn: Turn) -> torch.Tensor:
            noise = super().noise(z, turn)
            noise[:, 0] *= 0.01
            return noise

    with pytest.raises(AssertionError, match="an audit shows"):
        check_guarantee_holds(SparesAChannel(std=2.0))
