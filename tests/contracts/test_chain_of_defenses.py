"""Chains of registered defenses: their noise, their guarantee, and the order of their links."""

import math

import pytest
import torch
from support.defense_checks import check_nothing_changes
from support.defense_inputs import turn_for
from torch import Tensor

from sltoolkit.contracts.chain import Chain
from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.defenses import DPActivations, GaussianNoise, NoPeek, RandomPruning
from sltoolkit.wire.turn import Turn

pytestmark = pytest.mark.golden


class Recorder(Defense):
    """Appends a digit at every seam."""

    def __init__(self, digit: int, refuses: bool = False) -> None:
        self.digit, self.refuses = digit, refuses

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        return 10 * z + self.digit

    def receive(self, g: Tensor, turn: Turn) -> Tensor | None:
        return None if self.refuses else 10 * g + self.digit

    def client_loss(self, z: Tensor, turn: Turn) -> Tensor | None:
        return self.digit * z.sum()


def test_a_chain_sends_in_order_receives_in_reverse_and_adds_losses() -> None:
    chain, z = Chain(Recorder(1), Recorder(2)), torch.zeros(1, 1)
    turn = turn_for(z)
    assert chain.smash(z, turn).item() == 12
    got = chain.receive(z, turn)
    assert got is not None
    assert got.item() == 21
    loss = chain.client_loss(torch.ones(1, 5), turn)
    assert loss is not None
    assert loss.item() == 15
    assert Chain(NoDefense(), GaussianNoise()).client_loss(z, turn) is None


@pytest.mark.parametrize("refusing", [0, 1])
def test_a_refusal_of_one_link_is_the_refusal_of_the_chain(refusing: int) -> None:
    chain = Chain(*(Recorder(i, refuses=i == refusing) for i in range(2)))
    assert chain.receive(torch.zeros(1, 1), turn_for(torch.zeros(1))) is None


def test_links_of_a_chain_draw_different_noise() -> None:
    z = torch.zeros(200, 200)
    sent = Chain(GaussianNoise(std=1.0), GaussianNoise(std=1.0)).smash(z, turn_for(z))
    assert float(sent.std()) == pytest.approx(math.sqrt(2), rel=0.02)  # 2 with equal noise


def test_what_one_link_draws_never_shifts_anothers_noise() -> None:
    z = torch.zeros(4, 10)
    quiet, drawing = (
        Chain(first, GaussianNoise()).smash(z, turn_for(z))
        for first in (NoDefense(), GaussianNoise(std=0.0))
    )
    assert torch.equal(quiet, drawing)


def test_a_chain_keeps_the_guarantee_of_its_private_link() -> None:
    chain = Chain(NoPeek(), DPActivations(epsilon=2.0), RandomPruning())
    guarantee = chain.guarantee(releases=1, delta=1e-5)
    assert guarantee is not None
    assert guarantee.epsilon == pytest.approx(2.0, rel=1e-6)


def test_at_strength_zero_nothing_changes() -> None:
    check_nothing_changes(Chain())
