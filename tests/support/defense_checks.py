"""What is checked of several defenses, each with its own numbers, in the defense's own file."""

import math
from typing import Any

import pytest
import torch

from sltoolkit.contracts.defense import Defense
from sltoolkit.errors import SpecError
from sltoolkit.wire.turn import PhaseName
from support.defense_inputs import begun, images, randn, turn_for


def check_refused(kind: type[Any], bad: dict[str, float]) -> None:
    """The defense refuses the only parameter that is given, by its name."""
    (name,) = bad
    with pytest.raises(SpecError, match=rf"{kind.__name__}: {name} must be"):
        kind(**bad)


def check_law(defense: Defense, std: float, kurtosis: float, phase: PhaseName) -> None:
    """The noise has mean 0, this standard deviation, and this kurtosis."""
    z = randn(400, 500)
    noise = (defense.smash(z, turn_for(z, phase)) - z).double()
    n = noise.numel()
    assert abs(float(noise.mean())) < 5 * std / math.sqrt(n)
    # the variance of a sample variance is (kurtosis - 1) var^2 / n
    assert float(noise.var()) == pytest.approx(std**2, rel=5 * math.sqrt((kurtosis - 1) / n))
    assert float(((noise / std) ** 4).mean()) == pytest.approx(kurtosis, rel=0.05)


def check_fresh_noise(defense: Defense) -> None:
    """Two calls draw different noise, and the same stream draws the same."""
    z = randn(4, 10)
    turn = turn_for(z)
    first, second = defense.smash(z, turn), defense.smash(z, turn)
    assert not torch.equal(first, second)
    assert torch.equal(first, defense.smash(z, turn_for(z)))
    assert not torch.equal(first, defense.smash(z, turn_for(z, seed=1)))


def check_measured_noise(defense: Defense, std: float) -> None:
    """The evidence states the noise's standard deviation, however large the signal is."""
    z = 100 * randn(300, 300)
    sent = defense.smash(z, turn_for(z, "release"))
    got = defense.evidence(z[None], sent[None])["noise_std"]
    assert got == pytest.approx(std, rel=0.02)


def check_pruned_channels(defense: Defense, shape: tuple[int, ...], phase: PhaseName) -> None:
    """Half of the channels are exactly +0, and the others are as they were."""
    defense = begun(defense, shape)
    z = randn(7, *shape)
    with torch.no_grad():
        sent = defense.smash(z, turn_for(images(7), phase))
    zero = sent == 0
    per_channel = zero.unsqueeze(-1).flatten(2)
    pruned = per_channel.all(2)
    assert torch.equal(pruned, per_channel.any(2))
    assert (pruned.sum(1) == shape[0] // 2).all()
    assert not torch.signbit(sent[zero]).any()  # a -0.0 would give away the sign of z
    assert torch.equal(sent[~zero], z[~zero])


def check_nothing_changes(nothing: Defense) -> None:
    """The defense sends what it is given, and adds no loss."""
    z = randn(3, 6, 4, 4)
    assert torch.equal(nothing.smash(z, turn_for(z)), z)
    assert nothing.client_loss(z, turn_for(z)) is None
