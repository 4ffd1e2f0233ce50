"""Attacks on weight updates: what a client sends gives its batch away."""

from collections import OrderedDict
from dataclasses import replace
from typing import Any

import pytest
import torch
from dlg_batch import zhu as sigmoid_net
from support import toys
from support.updates import UNTRAINED, heard_of, in_groups
from torch import nn

import sltoolkit as sl
from sltoolkit.adversary.rehearsal import rehearsed
from sltoolkit.attacks.gradients._matching import Matching, sole_labels
from sltoolkit.attacks.gradients.inverting_gradients import InvertingView
from sltoolkit.contracts.knowledge import Aux
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.data.samples import Samples
from sltoolkit.parties.settings import Training
from sltoolkit.streams import Stream
from sltoolkit.testing.victims import NoisySteps
from sltoolkit.training.victim import Victim

pytestmark = pytest.mark.golden


def relu_net(width: int = 32) -> nn.Sequential:
    """A small ConvNet; only the loss follows the layer `head`."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(1, width, 3, padding=1), act1=nn.ReLU(),
        conv2=nn.Conv2d(width, width, 3, padding=1, stride=2), act2=nn.ReLU(),
        flatten=nn.Flatten(), head=nn.Linear(16 * width, 10), loss=nn.Identity(),
    )  # fmt: skip
    return nn.Sequential(layers)


@pytest.fixture(scope="module")
def digits() -> Any:
    return sl.data.load("digits")


# ---- many groups at once -------------------------------------------------------------------------


def test_groups_together_are_matched_like_one_at_a_time() -> None:
    victim = toys.victim(
        norm="batch", protocol=sl.LargeBatchSGD(), targets=replace(toys.TARGETS, batch=2)
    )
    updates, samples = heard_of(victim)
    exact = replace(
        updates, network=updates.network.double(),
        heard={name: h.double() for name, h in updates.heard.items()},
    )  # fmt: skip
    matching = Matching(exact, name="it")
    x, y = (t.double() for t in in_groups(exact, samples, toys.CLASSES))
    together = matching.of_many(x, y)
    for group in range(3):
        for name, alone in matching.of(x[group], y[group]).items():
            torch.testing.assert_close(together[name][group], alone, rtol=1e-9, atol=1e-12)
    task = victim.task
    view = InvertingView(updates=exact, task=task, labels=samples.y, aux=None)
    attacks: tuple[Any, ...] = (
        sl.InvertingGradients(steps=15, restarts=2),
        sl.DLG(steps=3, inner=5, restarts=2),
    )
    for attack in attacks:
        one, many = (
            replace(attack, chunk=chunk).run(view, rng=Stream(0)).images for chunk in (1, 64)
        )
        torch.testing.assert_close(one, many, rtol=1e-6, atol=1e-8)


# ---- what the attacks recover --------------------------------------------------------------------


def untrained(data: Any, make: Any, count: int, *, batch: int = 1) -> Victim:
    return sl.train(
        make, data, cut=1, protocol=sl.LargeBatchSGD(clients=2), training=UNTRAINED,
        targets=sl.Targets(count=count, batch=batch),
    )  # fmt: skip


@pytest.mark.parametrize("attack", [sl.DLG(), sl.IDLG()], ids=["dlg", "idlg"])
def test_a_random_sigmoid_network_gives_its_batch_away(attack: Any, digits: Any) -> None:
    result = sl.attack(untrained(digits, sigmoid_net, 2), attack)
    assert result.verdict.knowledge == ("updates",)
    assert result.verdict.scores["mse"].max() < 1e-3


def test_dlg_finds_two_images_whose_gradients_were_averaged(digits: Any) -> None:
    result = sl.attack(untrained(digits, sigmoid_net, 2, batch=2), sl.DLG())
    assert result.verdict.scores["mse"].max() < 1e-3


def without_bias() -> nn.Sequential:
    network = sigmoid_net()
    network[-1] = nn.Linear(192, 10, bias=False)
    return network


@pytest.mark.parametrize("make", [sigmoid_net, without_bias])
def test_labels_of_single_samples_are_read_off_without_error(make: Any, digits: Any) -> None:
    """They are read off the bias or, without a bias, off the weights, with positive features."""
    updates, samples = heard_of(untrained(digits, make, 30))
    task = untrained(digits, make, 1).task
    labels = sole_labels(updates, task)
    assert labels is not None
    assert torch.equal(labels, samples.y)


def test_a_small_trained_network_gives_its_samples_away_and_noise_stops_it(digits: Any) -> None:
    training = Training(epochs=8, optimizer="sgd", lr=0.1, momentum=0.9)

    def attacked(defense: NoisySteps | None) -> tuple[float, float]:
        victim = sl.train(
            relu_net, digits, cut="head", protocol=sl.FedAvg(clients=2), training=training,
            targets=sl.Targets(count=3), defense=defense,
        )  # fmt: skip
        if defense is None:
            assert victim.utility > 0.85
        result = sl.attack(victim, sl.InvertingGradients(steps=250, tv_weight=0.01))
        scores = result.verdict
        prior = min(scores.baselines["mse"].values())
        return float(scores.scores["mse"].mean()), prior

    mse, prior = attacked(None)
    assert mse < 0.1 * prior
    mse, prior = attacked(NoisySteps(std=0.5))
    assert mse > prior


def test_rehearsal_chooses_on_own_samples_heard_like_the_targets(digits: Any) -> None:
    victim = untrained(digits, relu_net, 4, batch=2)
    updates, _ = heard_of(victim)
    aux = Aux(x=digits.aux.x[:9], y=digits.aux.y[:9])
    view = InvertingView(updates=updates, task=victim.task, labels=None, aux=aux)
    attack = sl.InvertingGradients(steps=2)
    staged = attack.rehearsal_view(view, rng=Stream(1))
    assert staged is not None
    own, truth = staged
    assert truth.shape == (4, 1, 8, 8)  # half of aux, in full groups
    assert own.aux is not None
    assert len(own.aux.x) == 5
    assert all(h.shape[:2] == (1, 2) for h in own.updates.heard.values())
    everything = torch.cat([truth, own.aux.x]).flatten(1)
    assert len(everything.unique(dim=0)) == 9 == len(aux.x.flatten(1).unique(dim=0))
    chosen = rehearsed(attack, view, rng=Stream(2)).tuned
    assert set(chosen) == {"tv_weight"}
    blind = replace(view, aux=None)
    without = rehearsed(attack, blind, rng=Stream(2))
    assert isinstance(without, Reconstruction)
    assert without.tuned == {}  # without a rehearsal it takes the default
    default = sl.InvertingGradients(steps=2, tv_weight=0.1).run(blind, rng=Stream(2))
    assert torch.equal(without.images, default.images)


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 20), (12,)], ids=str)
@pytest.mark.parametrize("attack", [sl.DLG(), sl.InvertingGradients(steps=250, tv_weight=0.0)])
def test_images_of_color_signals_and_feature_vectors(shape: Any, attack: Any) -> None:
    with Stream(1).scope():
        size = torch.Size(shape).numel()
        network = nn.Sequential(
            nn.Flatten(), nn.Linear(size, 40), nn.Sigmoid(), nn.Linear(40, 20), nn.Sigmoid(),
            nn.Linear(20, 3),
        )  # fmt: skip
        x, y = torch.rand(30, *shape), torch.arange(30) % 3
    ids = torch.arange(30)
    parts = [Samples(x=x[i::3], y=y[i::3], ids=ids[i::3], groups=ids[i::3]) for i in range(3)]
    data = sl.data.Split(
        name="shapes", private_train=parts[0], private_holdout=parts[1], aux=parts[2],
        classes=("a", "b", "c"),
    )  # fmt: skip
    targets = sl.Targets(count=1, labels=2, hints=0)
    victim = sl.train(
        network, data, cut=3, protocol=sl.LargeBatchSGD(), training=UNTRAINED, targets=targets
    )
    assert sl.attack(victim, attack).verdict.scores["mse"].max() < 1e-2
