"""Attacks on a training let their decoders minimize what they are told to."""

import copy
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from sltoolkit.adversary.learner import Learner
from sltoolkit.adversary.own_defense import OwnDefense
from sltoolkit.adversary.training_setup import TrainingSetup
from sltoolkit.attacks.hijacking._hijacker import Trio
from sltoolkit.attacks.hijacking.fsha import FSHA
from sltoolkit.attacks.listening import fora
from sltoolkit.attacks.listening._substitute import Substitute
from sltoolkit.attacks.listening.fora import FORA, Aligned, FORASetup
from sltoolkit.attacks.listening.pcat import PCAT, PseudoClient
from sltoolkit.attacks.listening.sdar import SDAR, Simulation
from sltoolkit.contracts.attack import BatchView
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.knowledge import Aux
from sltoolkit.metrics.losses import LOSSES, Objective
from sltoolkit.networks.fitting import Fit
from sltoolkit.streams import Stream

TASK = Task(input_shape=(1, 12, 12), smashed_shape=(4, 6, 6), classes=3)
RATE = 1e-2
EACH_LOSS = pytest.mark.parametrize("loss", ["both", "ssim", "mse"])


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


Z, X, Y = drawn(6, 4, 6, 6), drawn(6, 1, 12, 12, seed=1), torch.arange(6) % 3


def setup() -> TrainingSetup:
    return TrainingSetup(aux=Aux(x=X, y=Y), task=TASK, client_arch=None, mechanism=None)


def heard() -> BatchView:
    with Stream(4).scope():
        server = nn.Sequential(nn.Flatten(), nn.Linear(144, 3)).double().eval()
    return BatchView(
        messages={("smashed", "in"): Z, ("labels", "in"): Y}, ids=torch.arange(6), step=0, epoch=0,
        network=lambda: server,
    )  # fmt: skip


def stepped(decoder: nn.Module, codes: Tensor, loss: Objective, *labels: Tensor) -> nn.Module:
    """A decoder after a step of Adam along the loss of its reconstructions of X."""
    adam = torch.optim.Adam(decoder.parameters(), lr=RATE)
    LOSSES[loss](decoder(codes, *labels), X).mean().backward()
    adam.step()
    return decoder


def same(mine: Learner, reference: nn.Module) -> None:
    for own, other in zip(mine.network.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-7, atol=1e-9)


@EACH_LOSS
@pytest.mark.parametrize(
    "attack",
    [
        PCAT(width=4, lr=1e-3, decoder_lr=RATE),
        SDAR(width=4, critic_width=2, lr=1e-3, decoder_lr=RATE, lambda1=0.0, lambda2=0.0),
    ],
    ids=["pcat", "sdar"],
)
def test_a_listeners_decoder_follows_its_loss(attack: PCAT | SDAR, loss: Objective) -> None:
    with Stream(1).scope():
        tap: Any = replace(attack, loss=loss).open(setup(), heard(), rng=Stream(3))
        assert isinstance(tap, PseudoClient | Simulation)
        decoder = copy.deepcopy(tap.substitute.decoder.network)
        with mock.patch.object(Substitute, "draw", return_value=(X, Y)), \
             mock.patch.object(Substitute, "draw_alike", return_value=(X, Y)):  # fmt: skip
            tap.hear(heard())
    codes = tap.substitute.client.network(X).detach()  # after its own step, in training mode
    labels = tap.substitute.with_labels(Y)
    same(tap.substitute.decoder, stepped(decoder, codes, loss, *labels))


@EACH_LOSS
def test_foras_decoder_follows_its_loss_to_the_end(loss: Objective) -> None:
    how = FORA(width=4, blocks=1, mmd_share=1.0, lr=RATE, loss=loss)
    known = FORASetup(aux=Aux(x=X, y=Y), task=TASK, mechanism=None)
    with Stream(1).scope():
        ours = Aligned(how, known, Z, Stream(3))
        decoder = copy.deepcopy(ours.decoder.network)
        ours.step(Z, X)
    same(ours.decoder, stepped(decoder, ours.substitute.network(X).detach(), loss))
    with mock.patch.object(fora, "fit_inverse") as fit:
        ours.inverse(1)
    asked = fit.call_args.kwargs["how"]
    assert asked == Fit(steps=fora.POLISH_STEPS, lr=how.polish_lr, loss=LOSSES[loss])


def test_foras_last_steps_are_as_many_for_few_samples_and_passes_over_many() -> None:
    def steps(samples: int, polish: int | None) -> int:
        x = torch.zeros(samples, 1, 12, 12)
        aux = Aux(x=x, y=torch.zeros(samples, dtype=torch.int64))
        how = replace(FORA.smoke(), polish=polish)
        ours = Aligned(how, FORASetup(aux=aux, task=TASK, mechanism=None), Z.float(), Stream(0))
        with mock.patch.object(fora, "fit_inverse") as fit:
            ours.inverse(1)
        return int(fit.call_args.kwargs["how"].steps)

    assert steps(8, None) == steps(300, None) == fora.POLISH_STEPS
    assert steps(2000, None) == 20 * 32  # passes, batches of 64
    assert steps(2000, 7) == 7


@EACH_LOSS
def test_fshas_pilot_and_decoder_follow_the_loss(loss: Objective) -> None:
    how = FSHA(width=4, blocks=1, lr=RATE, critic_lr=1e-3, critic_steps=1, decoder_loss=loss)
    with Stream(1).scope():
        ours = Trio(how, TASK, Z, OwnDefense(None, Stream(0)))
        pilot, decoder = (copy.deepcopy(each.network) for each in (ours.pilot, ours.reader))
        how.step(ours, Z, X, Y)
    adam = torch.optim.Adam([*pilot.parameters(), *decoder.parameters()], lr=RATE)
    LOSSES[loss](decoder(pilot(X)), X).mean().backward()
    adam.step()
    same(ours.pilot, pilot)
    same(ours.reader, decoder)
