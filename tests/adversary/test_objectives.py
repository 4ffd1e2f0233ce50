"""What decoders minimize: which candidates a rehearsal compares, and which losses are refused."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from sltoolkit.adversary.objectives import loss_of, unfit, with_objectives
from sltoolkit.adversary.training_setup import TrainingSetup
from sltoolkit.attacks.hijacking.fsha import FSHA
from sltoolkit.attacks.listening.fora import FORA
from sltoolkit.attacks.listening.pcat import PCAT
from sltoolkit.attacks.listening.sdar import SDAR
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.knowledge import Aux

IMAGE, SMALL, FEATURES = (1, 12, 12), (1, 10, 12), (30,)
DECODING: list[tuple[Any, str]] = [
    (SDAR(), "loss"), (PCAT(), "loss"), (FORA(), "loss"), (FSHA(), "decoder_loss"),
]  # fmt: skip
EACH = pytest.mark.parametrize(
    ("attack", "name"), DECODING, ids=[type(a).__name__ for a, _ in DECODING]
)


def setup(shape: tuple[int, ...]) -> TrainingSetup:
    return TrainingSetup(
        aux=Aux(x=torch.zeros(9, *shape), y=torch.zeros(9, dtype=torch.int64)),
        task=Task(input_shape=shape, smashed_shape=(4, 6, 6), classes=3),
        client_arch=None, mechanism=None,
    )  # fmt: skip


@EACH
def test_rates_are_compared_with_the_first_loss_and_other_losses_with_the_first_rates(
    attack: Any, name: str
) -> None:
    found = attack.candidates(setup(IMAGE))
    *rates, mse, ssim = found
    assert len(set(rates)) == len(rates) == (6 if isinstance(attack, FORA) else 4)
    assert {getattr(each, name) for each in rates} == {"both"}
    assert ssim == replace(rates[0], **{name: "ssim"})
    assert mse == replace(rates[0], **{name: "mse"})
    assert not any(each.rehearses for each in found)


@EACH
@pytest.mark.parametrize("shape", [SMALL, FEATURES], ids=["small", "features"])
def test_where_ssim_is_no_judge_the_squared_error_is_the_only_loss(
    attack: Any, name: str, shape: tuple[int, ...]
) -> None:
    found = attack.candidates(setup(shape))
    assert {getattr(each, name) for each in found} == {"mse"}
    assert found == list(replace(attack, **{name: "mse"}).candidates(setup(shape)))


@EACH
def test_a_given_loss_is_kept_and_a_loss_alone_may_be_open(attack: Any, name: str) -> None:
    found = replace(attack, **{name: "ssim"}).candidates(setup(IMAGE))
    assert {getattr(each, name) for each in found} == {"ssim"}
    settled = type(attack).paper()
    assert getattr(settled, name) == "mse"
    assert settled.candidates(setup(IMAGE)) == [settled]
    only = replace(settled, **{name: None}).candidates(setup(IMAGE))
    assert only == [replace(settled, **{name: each}) for each in ("both", "mse", "ssim")]


@EACH
def test_a_loss_that_does_not_suit_the_inputs_is_refused(attack: Any, name: str) -> None:
    small = setup(SMALL).task
    refused = replace(attack, **{name: "both"})
    assert f"its {name} 'both' is for images with sides of at least 11" in refused.refuses(small)
    assert f"use {name}='mse'" in refused.refuses(small)
    assert refused.refuses(setup(IMAGE).task) is None
    assert replace(attack, **{name: "mse"}).refuses(small) is None
    assert attack.refuses(small) is None


def test_an_open_loss_that_nothing_rehearsed_is_the_first_that_suits() -> None:
    x, guess = (
        torch.rand(3, *IMAGE, generator=torch.Generator().manual_seed(0)),
        torch.full((3, *IMAGE), 0.5),
    )
    assert torch.equal(loss_of(None, IMAGE)(guess, x), loss_of("both", IMAGE)(guess, x))
    assert torch.equal(loss_of(None, SMALL)(guess, x), loss_of("mse", SMALL)(guess, x))
    assert not torch.equal(loss_of(None, IMAGE)(guess, x), loss_of("mse", IMAGE)(guess, x))
    assert unfit(None, SMALL) is None
    assert len(with_objectives(PCAT(), IMAGE)) == 6
