"""Inverting gradients: its loop is Adam on 1 - cos + alpha TV; restarts, labels, bounds."""

from collections import OrderedDict
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
import torch
from support.gradient_checks import check_inputs_of_shape, untrained_on
from support.updates import UNTRAINED, heard_of
from torch import Tensor, nn
from torch.nn import functional

import sltoolkit as sl
from sltoolkit.adversary.rehearsal import rehearsed
from sltoolkit.attacks.gradients import inverting_gradients
from sltoolkit.attacks.gradients.inverting_gradients import InvertingView
from sltoolkit.contracts.knowledge import Aux
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.data.samples import Samples
from sltoolkit.errors import SpecError
from sltoolkit.parties.settings import Training
from sltoolkit.streams import Stream
from sltoolkit.testing.victims import NoisySteps
from sltoolkit.training.victim import Victim

pytestmark = pytest.mark.golden

ALPHA = 0.3
RATES = [0.1] * 6 + [0.01] * 4 + [0.001] * 4 + [0.0001] * 2
"""The rates of 16 steps: divided by 10 after 3/8, 5/8 and 7/8."""


def convolutional() -> nn.Sequential:
    """A network that ends in a linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.Sigmoid(), nn.Flatten(), nn.Linear(256, 10)
    )


def fully_convolutional() -> nn.Sequential:
    """A network that ends in a 1x1 convolution and the mean over places."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.Sigmoid(), nn.Conv2d(4, 10, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


def untrained(make: Any, count: int, *, batch: int = 1) -> Victim:
    data = sl.data.load("digits", train=40, holdout=20, aux=20)
    return sl.train(
        make, data, cut=1, protocol=sl.LargeBatchSGD(clients=2), training=UNTRAINED,
        targets=sl.Targets(count=count, batch=batch),
    )  # fmt: skip


def exact_view(count: int, *, batch: int) -> tuple[InvertingView, Samples]:
    """A view in float64, with labels and aux samples."""
    victim = untrained(convolutional, count, batch=batch)
    updates, samples = heard_of(victim)
    exact = replace(
        updates, network=updates.network.double(),
        heard={name: h.double() for name, h in updates.heard.items()},
    )  # fmt: skip
    own = victim.data.aux
    view = InvertingView(
        updates=exact, task=victim.task, labels=samples.y, aux=Aux(x=own.x.double(), y=own.y)
    )
    return view, samples


def objective(network: nn.Module, heard: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
    """1 - cos(grad(x, y), heard) + ALPHA TV(x) of one batch."""
    loss = functional.cross_entropy(network(x), y)
    slopes = torch.autograd.grad(loss, list(network.parameters()), create_graph=True)
    a, b = (torch.cat([s.flatten() for s in side]) for side in (slopes, heard))
    right, down = torch.zeros_like(x), torch.zeros_like(x)
    right[..., :-1] = x[..., 1:] - x[..., :-1]
    down[..., :-1, :] = x[..., 1:, :] - x[..., :-1, :]
    smooth = (right**2 + down**2 + 1e-6).sqrt().mean()
    distance: Tensor = 1 - (a @ b) / (a.norm() * b.norm())
    return distance + ALPHA * smooth


def by_hand(view: InvertingView, group: int, start: Tensor, *, signed: bool) -> Tensor:
    """The images that Adam, written out, reaches in [0, 1] from a standard normal start."""
    assert view.aux is not None
    assert view.labels is not None
    network, batch = view.updates.network, view.updates.batch
    gradients = view.updates.gradients()
    heard = [gradients[name][group] for name, _ in network.named_parameters()]
    y = view.labels[group * batch : (group + 1) * batch]
    mean, std = view.aux.x.mean(), view.aux.x.std()
    leaf, m, v = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    for t, rate in enumerate(RATES, start=1):
        leaf.requires_grad_(True)
        (g,) = torch.autograd.grad(objective(network, heard, mean + std * leaf, y), leaf)
        g = g.sign() if signed else g
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        step = (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
        leaf = ((mean + std * (leaf.detach() - rate * step)).clamp(0, 1) - mean) / std
    return mean + std * leaf


@pytest.mark.parametrize("signed", [False, True], ids=["gradient", "sign"])
def test_it_is_adam_on_one_minus_the_cosine_plus_total_variation(signed: bool) -> None:
    view, samples = exact_view(4, batch=2)
    attack = sl.InvertingGradients(steps=len(RATES), tv_weight=ALPHA, signed=signed)
    got = attack.run(view, rng=Stream(3)).images
    start = torch.randn(
        2, *samples.x.unflatten(0, (2, 2)).shape[1:], dtype=torch.float64,
        generator=Stream(3).child("start").torch(),
    )  # fmt: skip
    wanted = torch.cat([by_hand(view, g, start[g], signed=signed) for g in range(2)])
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-9)


def test_of_restarts_the_least_loss_is_kept_and_one_that_diverges_never() -> None:
    view, _ = exact_view(2, batch=2)
    starts = torch.randn(
        4, 2, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    starts[1] = torch.nan

    def run(rows: Tensor) -> Reconstruction:
        attack = sl.InvertingGradients(steps=5, tv_weight=0.0, restarts=len(rows))
        with mock.patch.object(inverting_gradients._Problem, "start", return_value=[rows]):
            return attack.run(view, rng=Stream(0))

    alone = [run(starts[row : row + 1]) for row in (0, 2, 3)]
    best = min(alone, key=lambda outcome: outcome.diagnostics["gradient_loss"])
    assert best is not alone[0]
    together = run(starts)
    torch.testing.assert_close(together.images, best.images)
    torch.testing.assert_close(dict(together.curve), dict(best.curve))
    assert together.curve[5] == together.diagnostics["gradient_loss"]


def test_labels_that_cant_be_read_off_are_searched_and_idlg_alone_refuses() -> None:
    victim = untrained(fully_convolutional, 2)
    attack = sl.InvertingGradients(steps=250, tv_weight=0.0)
    result = sl.attack(victim, attack, grants=set())
    assert result.verdict.knowledge == ("updates",)  # no labels
    outcome = result.outcome
    assert isinstance(outcome, Reconstruction)
    assert outcome.diagnostics["gradient_loss"] < 0.1 * outcome.curve[0]
    with pytest.raises(SpecError, match=r"idlg reads .* or the network has no such layer"):
        sl.attack(victim, sl.IDLG.smoke())


@pytest.mark.parametrize(("shape", "bounded"), [((2, 20), True), ((12,), False)], ids=str)
def test_signals_stay_in_range_and_features_do_not(shape: tuple[int, ...], bounded: bool) -> None:
    with Stream(1).scope():
        network = nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(shape).numel(), 3))
    updates = heard_of(untrained(convolutional, 1))[0]
    heard = {name: torch.ones(1, 1, *w.shape) for name, w in network.named_parameters()}
    task = sl.contracts.defense.Task(input_shape=shape, smashed_shape=(3,), classes=3)
    view = InvertingView(
        updates=replace(updates, network=network, heard=heard), task=task, labels=None, aux=None
    )
    found = sl.InvertingGradients(steps=20, lr=1.0, tv_weight=0.0).run(view, rng=Stream(0)).images
    assert (0 <= found.min() <= found.max() <= 1) == bounded


def relu_net(width: int = 32) -> nn.Sequential:
    """A small ConvNet; only the loss follows the layer `head`."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(1, width, 3, padding=1), act1=nn.ReLU(),
        conv2=nn.Conv2d(width, width, 3, padding=1, stride=2), act2=nn.ReLU(),
        flatten=nn.Flatten(), head=nn.Linear(16 * width, 10), loss=nn.Identity(),
    )  # fmt: skip
    return nn.Sequential(layers)


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
    victim = untrained_on(digits, relu_net, 4, batch=2)
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
def test_images_of_color_signals_and_feature_vectors(shape: tuple[int, ...]) -> None:
    check_inputs_of_shape(sl.InvertingGradients(steps=250, tv_weight=0.0), shape)
