"""The planted defense that leaks a known dose."""

import pytest
import torch
from support.defense_inputs import turn_for
from torch import Tensor

from sltoolkit.testing import check_defense
from sltoolkit.testing.known_dose import KnownDose

N = 50
MESSAGES = 1 + torch.rand(N, 2, 3, generator=torch.Generator().manual_seed(0))


def sent(defense: KnownDose, z: Tensor = MESSAGES, seed: int = 0) -> Tensor:
    return defense.smash(z, turn_for(z, "release", seed))


def plain(z: Tensor) -> Tensor:
    """Which rows are not blank."""
    return (z != 0).flatten(1).any(1)


@pytest.mark.parametrize("shuffled", [False, True])
def test_it_keeps_the_contract_of_a_defense(shuffled: bool) -> None:
    check_defense(KnownDose(dose=0.5, shuffled=shuffled))


@pytest.mark.parametrize("dose", [0.0, 0.02, 0.1, 0.3, 1.0])
def test_exactly_the_dose_is_sent_as_it_is_and_the_rest_is_blank(dose: float) -> None:
    for seed in range(20):
        z = sent(KnownDose(dose=dose), seed=seed)
        assert int(plain(z).sum()) == round(dose * N)
        assert torch.equal(z[plain(z)], MESSAGES[plain(z)])


def test_a_dose_between_two_counts_is_right_on_average() -> None:
    turn = turn_for(MESSAGES[:3])
    counts = [int(plain(KnownDose(dose=0.1).smash(MESSAGES[:3], turn)).sum()) for _ in range(2000)]
    assert set(counts) == {0, 1}
    assert sum(counts) / 2000 == pytest.approx(0.3, abs=5 * (0.3 * 0.7 / 2000) ** 0.5)


def test_every_message_has_the_same_chance_and_every_release_draws_anew() -> None:
    turn = turn_for(MESSAGES)
    drawn = [plain(KnownDose(dose=0.1).smash(MESSAGES, turn)) for _ in range(2000)]
    shares = torch.stack(drawn).double().mean(0)
    assert float((shares - 0.1).abs().max()) < 5 * (0.1 * 0.9 / 2000) ** 0.5


@pytest.mark.parametrize("dose", [0.1, 1.0])
def test_shuffled_messages_are_of_other_records(dose: float) -> None:
    for seed in range(20):
        z = sent(KnownDose(dose=dose, shuffled=True), seed=seed)
        assert int(plain(z).sum()) == round(dose * N)
        of = torch.cdist(z.flatten(1), MESSAGES.flatten(1)).argmin(1)
        assert torch.equal(z[plain(z)], MESSAGES[of][plain(z)])
        assert not (of == torch.arange(N))[plain(z)].any()


def test_a_record_alone_in_its_batch_has_no_other() -> None:
    assert not plain(sent(KnownDose(dose=1.0, shuffled=True), MESSAGES[:1])).any()


def test_blank_messages_send_no_gradient_back() -> None:
    z = MESSAGES.clone().requires_grad_()
    told = sent(KnownDose(dose=0.3), z)
    told.sum().backward()
    assert z.grad is not None
    assert torch.equal(plain(z.grad), plain(told))


def test_each_of_its_messages_is_dosed_alone() -> None:
    forward, backward = KnownDose(dose=0.0), KnownDose(dose=0.0, message="smashed_grad")
    assert torch.equal(forward.gradient(MESSAGES, turn_for(MESSAGES)), MESSAGES)
    assert torch.equal(backward.smash(MESSAGES, turn_for(MESSAGES)), MESSAGES)
    assert not plain(backward.gradient(MESSAGES, turn_for(MESSAGES))).any()


def test_the_training_may_stay_plain() -> None:
    deployed_only = KnownDose(dose=0.0, in_training=False)
    assert torch.equal(deployed_only.smash(MESSAGES, turn_for(MESSAGES, "train")), MESSAGES)
    assert not plain(deployed_only.smash(MESSAGES, turn_for(MESSAGES, "release"))).any()
