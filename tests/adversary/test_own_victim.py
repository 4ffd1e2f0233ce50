"""The victim of a training rehearsal: whom it learns from, and who plays the client."""

from dataclasses import replace

import pytest
import torch
from support.rehearsal import CODES, TASK, first, setup
from torch import nn
from torch.nn import functional

from sltoolkit.adversary.own_victim import OwnVictim
from sltoolkit.adversary.training_setup import TrainingSetup
from sltoolkit.attacks.listening._substitute import SubstituteView
from sltoolkit.attacks.listening.fora import FORA, Aligned, FORASetup
from sltoolkit.contracts.attack import BatchView, ListenerState
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.knowledge import Aux
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.metrics.image import ssim
from sltoolkit.streams import Stream


def test_neither_its_victim_nor_a_candidate_learns_from_the_samples_compared_on() -> None:
    victim = OwnVictim(setup(), first(), Stream(1))
    targets, train = set(victim.targets.tolist()), set(victim._train.tolist())
    images = {x.numpy().tobytes(): i for i, x in enumerate(setup().aux.x)}
    rest = {images[x.numpy().tobytes()] for x in victim.rest.x}
    assert len(targets) == 7
    assert targets | train | rest == set(range(30))
    assert len(targets) + len(train) + len(rest) == 30
    heard = {int(i) for r in victim.batches(20) for i in r.ids}
    assert heard == train


def test_a_listener_without_a_network_rehearses_with_a_head_of_its_own() -> None:
    victim = OwnVictim(setup(), first(network=False), Stream(1))
    (batch,) = victim.batches(1)
    assert batch.network is None
    assert batch.messages["smashed", "in"].shape == (8, *CODES)


@pytest.mark.parametrize("signed", [True, False])
def test_where_the_architecture_is_unknown_another_network_than_its_own_plays_the_client(
    signed: bool,
) -> None:
    heard = first(network=False)
    z = heard.messages["smashed", "in"]
    heard = replace(heard, messages={**heard.messages, ("smashed", "in"): z - 0.5 * signed})
    given = FORASetup(aux=setup().aux, task=TASK, mechanism=None)
    victim = OwnVictim(given, heard, Stream(1))
    (batch,) = victim.batches(1)
    assert bool((batch.messages["smashed", "in"] < 0).any()) == signed
    own = Aligned(FORA.smoke(), given, z, Stream(2)).substitute.network
    kinds = [{type(m) for m in network.modules()} for network in (victim._client, own)]
    assert nn.BatchNorm2d in kinds[1]
    assert nn.BatchNorm2d not in kinds[0]


class Blurred(ListenerState):
    """Sees inputs through a 3 x 3 mean, or adds a small constant."""

    def __init__(self, blur: bool) -> None:
        self._blur = blur

    def hear(self, heard: BatchView) -> None:
        """Learn nothing."""

    def finish(self, view: SubstituteView) -> Reconstruction:
        x = view.smashed[0]
        same = functional.avg_pool2d(x, 3, stride=1, padding=1) if self._blur else x + 0.4
        return Reconstruction(images=same)


def errors(side: int) -> tuple[OwnVictim, list[float]]:
    """The errors of a blurred image and of one that is too bright, of checkerboards of a side."""
    g = torch.Generator().manual_seed(0)
    x = 0.3 * torch.rand(40, 1, side, side, generator=g) + 0.2
    own = TrainingSetup(
        aux=Aux(x=x, y=torch.arange(40) % 3), mechanism=None,
        task=Task(input_shape=(1, side, side), smashed_shape=(1, side, side), classes=3),
        client_arch=lambda _: nn.Conv2d(1, 1, 1),
    )  # fmt: skip
    victim = OwnVictim(own, first(codes=(1, side, side)), Stream(1))
    victim._client = nn.Identity()
    states = Blurred(blur=True), Blurred(blur=False)
    return victim, [float(victim.error(SubstituteView, state, Stream(0))) for state in states]


def test_images_are_judged_by_ssim_as_the_referee_does_and_small_ones_by_their_error() -> None:
    victim, (blurred, bright) = errors(side=16)
    x = victim._x[victim.targets]
    assert bright == pytest.approx(1 - float(ssim((x + 0.4).clamp(0, 1), x).mean()))
    assert blurred > bright  # the squared error says the opposite
    assert float(victim.guess) == pytest.approx(
        1 - float(ssim(victim.rest.x.mean(0).expand_as(x), x).mean())
    )
    victim, (blurred, bright) = errors(side=8)
    assert bright == pytest.approx(0.16, rel=1e-5)
    assert blurred < bright
    x = victim._x[victim.targets]
    assert float(victim.guess) == pytest.approx(float((victim.rest.x.mean(0) - x).square().mean()))
