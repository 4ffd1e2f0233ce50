"""Attacks that descend on inputs don't mind a client whose first layer works in place."""

from collections.abc import Callable

import pytest
import torch
from support import listeners as sim
from support.white_box_views import digits, task_of, whitebox_view
from torch import Tensor, nn

import sltoolkit as sl
from sltoolkit.adversary.training_setup import TrainingSetup
from sltoolkit.attacks.gradients._matching import Matching, UpdatesView
from sltoolkit.attacks.gradients.inverting_gradients import InvertingView
from sltoolkit.attacks.inversion.deep_image_prior import DeepImagePrior
from sltoolkit.attacks.inversion.unsplit import UnSplit, UnSplitView
from sltoolkit.attacks.inversion.whitebox import WhiteBox
from sltoolkit.attacks.listening._substitute import SubstituteView
from sltoolkit.attacks.listening.pcat import PCAT
from sltoolkit.attacks.listening.sdar import SDAR
from sltoolkit.contracts.knowledge import Updates
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.parties.settings import Training
from sltoolkit.streams import Stream

pytestmark = pytest.mark.golden

Client = Callable[[bool], nn.Module]


def flattening(in_place: bool) -> nn.Module:
    """A client that rectifies a view of its input in place."""
    with Stream(0).scope():
        return nn.Sequential(nn.Flatten(), nn.ReLU(inplace=in_place), nn.Linear(64, 10))


def leaky(in_place: bool) -> nn.Module:
    """A client that rectifies its input in place."""
    with Stream(0).scope():
        return nn.Sequential(nn.LeakyReLU(0.1, inplace=in_place), nn.Conv2d(1, 4, 3))


EACH = pytest.mark.parametrize("client", [flattening, leaky])


@EACH
def test_the_white_box(client: Client) -> None:
    def run(in_place: bool) -> Tensor:
        network = client(in_place).eval()
        with torch.no_grad():
            view = whitebox_view(network, digits(3), release=lambda x: network(x.clone()))
        attack = WhiteBox(steps=10, tv_weight=0.1, tv_beta=1, start="zero", box=False)
        return attack.run(view, rng=Stream(1)).images

    assert torch.equal(run(True), run(False))


@EACH
def test_unsplit(client: Client) -> None:
    with torch.no_grad():
        smashed = client(False)(digits(3))[None]

    def run(in_place: bool) -> Tensor:
        view = UnSplitView(
            smashed=smashed, client_arch=lambda _: client(in_place),
            task=task_of(digits(3), smashed),
        )  # fmt: skip
        return UnSplit(rounds=2, input_steps=5, client_steps=5).run(view, rng=Stream(1)).images

    assert torch.equal(run(True), run(False))


@pytest.mark.parametrize("attack", [PCAT.smoke(), SDAR.smoke()], ids=["pcat", "sdar"])
def test_listeners_with_a_substitute(attack: PCAT | SDAR) -> None:
    def run(in_place: bool) -> Tensor:
        def arch(stream: Stream) -> nn.Module:
            return nn.Sequential(nn.Hardtanh(0.0, 0.5, inplace=in_place), sim.client(stream))

        setup = TrainingSetup(
            aux=sim.own_samples(), task=sim.TASK, client_arch=arch, mechanism=None
        )
        with Stream(9).scope():
            first = sim.heard(sim.server())
            tap = attack.open(setup, first, rng=Stream(3))
            tap.hear(first)
            targets = sim.heard(sim.server(), seed=7)
            y = targets.messages["labels", "in"]
            outcome = tap.finish(
                SubstituteView(smashed=targets.messages["smashed", "in"][None], labels=y)
            )
        assert isinstance(outcome, Reconstruction)
        return outcome.images

    assert torch.equal(run(True), run(False))


def test_the_deep_image_prior_smooths_what_it_drew() -> None:
    def run(in_place: bool) -> Tensor:
        with Stream(0).scope():
            network = nn.Sequential(nn.Hardtanh(0.0, 0.3, inplace=in_place), nn.Conv2d(1, 4, 3))
        with torch.no_grad():
            own = digits(8).clone()
            view = whitebox_view(
                network.eval(), digits(3), release=lambda x: network(x.clone()), aux=own
            )
        images = DeepImagePrior(steps=5, width=4, tv_weight=1.0).run(view, rng=Stream(1)).images
        assert torch.equal(own, digits(8))  # probing the client doesn't rewrite own samples
        return images

    assert torch.equal(run(True), run(False))


def updates_of(network: nn.Module, steps: int) -> Updates:
    """The weights that a client sends after this many steps on two images."""
    training = Training(optimizer="sgd", lr=0.1)
    blank = Updates(
        network=network, heard={n: w.detach()[None, None] for n, w in network.named_parameters()},
        kind="weights", whole=True, batch=2, steps=steps, training=training, client=None,
    )  # fmt: skip
    y = torch.eye(10)[:2]
    change = Matching(blank, name="it").of(digits(2), y)
    way = training.lr * steps
    heard = {n: h - way * change[n] for n, h in blank.heard.items()}
    return Updates(
        network=network, heard=heard, kind="weights", whole=True, batch=2, steps=steps,
        training=training, client=None,
    )  # fmt: skip


@pytest.mark.parametrize("steps", [1, 3])
def test_who_matches_gradients(steps: int) -> None:
    task = sl.contracts.defense.Task(input_shape=(1, 8, 8), smashed_shape=(10,), classes=10)

    def run(in_place: bool) -> list[Tensor]:
        updates = updates_of(flattening(in_place), steps)
        known = InvertingView(updates=updates, task=task, labels=torch.arange(2), aux=None)
        inverted = sl.InvertingGradients(steps=3, tv_weight=0.1, boxed=False)
        leaked = sl.DLG(steps=2, restarts=1, inner=3)
        return [
            inverted.run(known, rng=Stream(0)).images,
            leaked.run(UpdatesView(updates=updates, task=task), rng=Stream(0)).images,
        ]

    for theirs, ours in zip(run(True), run(False), strict=True):
        torch.testing.assert_close(theirs, ours)
