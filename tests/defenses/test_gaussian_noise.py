"""Gaussian noise: its law, its stream, and what the evidence says of it."""

import math

import pytest
from support.defense_checks import (
    check_fresh_noise,
    check_law,
    check_measured_noise,
    check_nothing_changes,
    check_refused,
)
from support.defense_inputs import PHASES

from sltoolkit.defenses import GaussianNoise
from sltoolkit.wire.turn import PhaseName

pytestmark = pytest.mark.golden


@pytest.mark.parametrize("bad", [{"std": -0.1}, {"std": math.nan}])
def test_impossible_hyper_parameters_are_refused(bad: dict[str, float]) -> None:
    check_refused(GaussianNoise, bad)


@pytest.mark.parametrize("phase", PHASES)
def test_noise_has_the_stated_law(phase: PhaseName) -> None:
    check_law(GaussianNoise(std=0.3), 0.3, 3.0, phase)


def test_noise_is_fresh_per_call_and_the_same_for_the_same_stream() -> None:
    check_fresh_noise(GaussianNoise())


def test_noise_evidence_measures_the_std_and_not_the_signal() -> None:
    check_measured_noise(GaussianNoise(std=0.2), 0.2)


def test_at_strength_zero_nothing_changes() -> None:
    check_nothing_changes(GaussianNoise(std=0.0))
