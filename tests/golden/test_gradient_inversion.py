"""Attacks on weight updates: what is heard is what a client sends, and it gives the batch away."""

from collections import OrderedDict
from dataclasses import replace
from typing import Any

import pytest
import torch
from contract import toys
from contract.suited import NoisySteps
from torch import Tensor, nn
from torch.nn import functional

import sltoolkit as sl
from sltoolkit.attacks.reconstruction.gradient_matching import (
    Matching,
    cosine_distance,
    sole_labels,
)
from sltoolkit.attacks.reconstruction.inverting_gradients import InvertingView
from sltoolkit.data.samples import Samples
from sltoolkit.errors import ProtocolError, SpecError, ThreatModelError
from sltoolkit.order import in_best_order
from sltoolkit.outcomes import Reconstruction
from sltoolkit.settings import Training
from sltoolkit.streams import Stream
from sltoolkit.targets import image_targets
from sltoolkit.threat import Aux, Updates
from sltoolkit.updates import released_updates
from sltoolkit.victim import Victim
from sltoolkit.wire import Kind

UNTRAINED = Training(epochs=0, optimizer="sgd", lr=0.1)
SGD = Training(epochs=1, batch_size=16, lr=0.05, optimizer="sgd", momentum=0.9, weight_decay=0.01)


def sigmoid_net() -> nn.Sequential:
    """The network of Zhu et al.'s code: sigmoids, strides, weights from U(-1/2, 1/2)."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(1, 12, 5, padding=2, stride=2), act1=nn.Sigmoid(),
        conv2=nn.Conv2d(12, 12, 5, padding=2), act2=nn.Sigmoid(),
        conv3=nn.Conv2d(12, 12, 5, padding=2), act3=nn.Sigmoid(), flatten=nn.Flatten(),
        head=nn.Linear(192, 10),
    )  # fmt: skip
    network = nn.Sequential(layers)
    for weight in network.parameters():
        nn.init.uniform_(weight, -0.5, 0.5)
    return network


def relu_net(width: int = 32) -> nn.Sequential:
    """A small ConvNet; with the loss alone behind `head`."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(1, width, 3, padding=1), act1=nn.ReLU(),
        conv2=nn.Conv2d(width, width, 3, padding=1, stride=2), act2=nn.ReLU(),
        flatten=nn.Flatten(), head=nn.Linear(16 * width, 10), loss=nn.Identity(),
    )  # fmt: skip
    return nn.Sequential(layers)


@pytest.fixture(scope="module")
def digits() -> Any:
    return sl.data.load("digits")


def heard_of(victim: Victim) -> tuple[Updates, Samples]:
    samples = image_targets(victim.data, victim.member.samples, victim.targets)
    return released_updates(victim, samples, victim.targets), samples


def in_groups(updates: Updates, samples: Samples, classes: int) -> tuple[Tensor, Tensor]:
    """Inputs (G, B, ...) and one-hot labels (G, B, C)."""
    y = functional.one_hot(samples.y, classes).to(samples.x)
    shape = (-1, updates.batch)
    return samples.x.unflatten(0, shape), y.unflatten(0, shape)


# ---- what is heard -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "kind"),
    [
        (sl.LargeBatchSGD(), "weight_grad"),
        (sl.FedAvg(local_epochs=3), "weights"),
        (sl.SplitFedV1(), "weights"),
        (sl.SplitFedV2(), "weights"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_attacked_are_the_bytes_that_a_client_sends(protocol: Any, kind: Kind) -> None:
    """A client that holds one sample trains for one round; nothing but its sample is a target."""
    data, training = toys.split(train=1), replace(toys.QUICK, batch_size=4)
    run = toys.seated(protocol=protocol, training=training, data=data, dropout=0.0)
    seen = toys.witness(run, epochs=1)
    sent = [m.payload for m in seen.heard if m.kind == kind and m.src.name == "client"]
    victim = sl.train(
        lambda: toys.network(dropout=0.0), data, cut=toys.CUT, protocol=protocol,
        training=replace(training, epochs=0),
        targets=sl.Targets(count=1, part="private_train", labels=1, hints=0),
    )  # fmt: skip
    updates, _ = heard_of(victim)
    assert updates.kind == kind
    assert [name for name, _ in updates.network.named_parameters()] == list(updates.heard)
    assert len(sent) == len(updates.heard)
    for payload, heard in zip(sent, updates.heard.values(), strict=True):
        assert torch.equal(payload, heard[0, 0])


@pytest.mark.parametrize(
    "protocol",
    [sl.LargeBatchSGD(clients=2), sl.FedAvg(clients=2), sl.FedAvg(clients=2, local_epochs=4)],
    ids=["large_batch_sgd", "fedavg", "fedavg-4-steps"],
)
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_the_truth_explains_what_was_heard(protocol: Any, norm: Any) -> None:
    """With momentum, weight decay, BatchNorm on the batch, and without dropout."""
    victim = sl.train(
        lambda: toys.network(norm, dropout=0.0), toys.split(), cut=toys.CUT, protocol=protocol,
        training=SGD, targets=replace(toys.TARGETS, batch=3),
    )  # fmt: skip
    updates, samples = heard_of(victim)
    matching = Matching(updates, name="it")
    x, y = in_groups(updates, samples, toys.CLASSES)
    explained = cosine_distance(matching.of_many(x, y), matching.heard)
    other = cosine_distance(matching.of_many(x.flip(0), y.flip(0)), matching.heard)
    assert explained.abs().max() < 2e-5 < 1e-2 < other.min()


def test_weights_that_pass_a_lossy_codec_are_heard_as_they_arrive() -> None:
    """What was handed out was rounded, too: the difference is between two rounded networks."""
    coarse = sl.Quantised(bits=8, kinds=("weights",))
    victim = sl.train(
        lambda: toys.network(dropout=0.0), toys.split(), cut=toys.CUT,
        protocol=sl.FedAvg(clients=2), training=replace(SGD, weight_decay=0.0),
        targets=toys.TARGETS, reducer=coarse,
    )  # fmt: skip
    updates, samples = heard_of(victim)
    network = dict(updates.network.named_parameters())
    deployed = dict(victim.member.client.named_parameters())
    for weight in (network["0.conv.weight"], updates.heard["0.conv.weight"][0, 0]):
        again = coarse.unpack(coarse.pack(weight.detach(), per_sample=False))
        torch.testing.assert_close(again, weight.detach(), rtol=0, atol=1e-6)
    assert not torch.equal(network["0.conv.weight"], deployed["conv.weight"])
    matching = Matching(updates, name="it")
    found = matching.of_many(*in_groups(updates, samples, toys.CLASSES))
    assert cosine_distance(found, matching.heard).max() < 0.2


def test_after_adam_the_truth_explains_the_signs() -> None:
    victim = sl.train(
        lambda: toys.network(dropout=0.0), toys.split(), cut=toys.CUT, protocol=sl.FedAvg(),
        training=Training(epochs=1), targets=toys.TARGETS,
    )  # fmt: skip
    updates, samples = heard_of(victim)
    matching = Matching(updates, name="it")
    found = matching.of_many(*in_groups(updates, samples, toys.CLASSES))
    for name, signs in matching.heard.items():
        sure = signs.abs() > 0.9
        assert sure.float().mean() > 0.2  # a silent unit's weights don't move at all
        assert (found[name].sign() == signs.sign())[sure].float().mean() > 0.99


def test_releases_of_one_group_are_averaged() -> None:
    noisy = toys.victim(
        NoisySteps(std=1.0), protocol=sl.FedAvg(), training=SGD,
        targets=replace(toys.TARGETS, releases=3),
    )  # fmt: skip
    updates, _ = heard_of(noisy)
    weight = updates.heard["0.conv.weight"]
    assert weight.shape == (3, 6, 4, 1, 3, 3)
    assert not torch.equal(weight[0], weight[1])
    once = replace(updates, heard={name: h[:1] for name, h in updates.heard.items()})
    spread = (updates.gradients()["0.conv.weight"].std(), once.gradients()["0.conv.weight"].std())
    assert spread[0] < spread[1]


def test_own_samples_go_through_the_same_program_with_the_attackers_randomness() -> None:
    without_dropout = sl.train(
        lambda: toys.network(dropout=0.0), toys.split(), cut=toys.CUT,
        protocol=sl.FedAvg(local_epochs=2), training=SGD, targets=toys.TARGETS,
    )  # fmt: skip
    updates, samples = heard_of(without_dropout)
    assert updates.steps == 2
    again = updates.about(samples.x, samples.y, Stream(5))
    assert all(torch.equal(again.heard[n], h) for n, h in updates.heard.items())
    noisy, samples = heard_of(toys.victim(NoisySteps(), protocol=sl.FedAvg(), training=SGD))
    again, other = (noisy.about(samples.x, samples.y, Stream(s)) for s in (5, 6))
    assert not torch.equal(again.heard["0.conv.weight"], noisy.heard["0.conv.weight"])
    assert not torch.equal(again.heard["0.conv.weight"], other.heard["0.conv.weight"])


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
    one, many = (
        sl.InvertingGradients(steps=15, chunk=chunk, restarts=2).run(view, rng=Stream(0)).images
        for chunk in (1, 64)
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
    """From the bias; without one from the rows of the weights, whose features are positive."""
    updates, samples = heard_of(untrained(digits, make, 30))
    task = untrained(digits, make, 1).task
    assert torch.equal(sole_labels(updates, task, name="it"), samples.y)


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
    staged = attack.stage(view, rng=Stream(1))
    assert staged is not None
    own, truth = staged
    assert truth.shape == (4, 1, 8, 8)  # half of aux, in full groups
    assert own.aux is not None
    assert len(own.aux.x) == 5
    assert all(h.shape[:2] == (1, 2) for h in own.updates.heard.values())
    everything = torch.cat([truth, own.aux.x]).flatten(1)
    assert len(everything.unique(dim=0)) == 9 == len(aux.x.flatten(1).unique(dim=0))
    chosen = attack.run(view, rng=Stream(2)).tuned
    assert set(chosen) == {"tv_weight"}
    without = attack.run(replace(view, aux=None), rng=Stream(2))
    assert without.tuned == {"tv_weight": 0.1}


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 20), (12,)], ids=str)
@pytest.mark.parametrize("attack", [sl.DLG(), sl.InvertingGradients(steps=250, tv_weight=0.0)])
def test_images_of_colour_signals_and_feature_vectors(shape: Any, attack: Any) -> None:
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


# ---- judging and refusing ------------------------------------------------------------------------


def test_a_batch_is_judged_in_its_best_order_and_only_a_batch() -> None:
    truth = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    swapped = Reconstruction(images=truth[[1, 0, 3, 2, 5, 4]])
    ordered = in_best_order(swapped, truth, 2)
    assert isinstance(ordered, Reconstruction)
    assert torch.equal(ordered.images, truth)
    assert in_best_order(swapped, truth, 1) is swapped
    across = Reconstruction(images=truth[[2, 1, 0, 3, 4, 5]])
    still = in_best_order(across, truth, 2)
    assert isinstance(still, Reconstruction)
    assert not torch.equal(still.images, truth)


def test_who_hears_no_updates_is_told() -> None:
    with pytest.raises(ThreatModelError, match="DLG needs updates"):
        sl.attack(toys.victim(), sl.DLG())
    with pytest.raises(ThreatModelError, match="nobody hears what a single client learned"):
        sl.attack(toys.victim(), sl.DLG(), grants={"updates"})
    with pytest.raises(ThreatModelError, match="ends before it"):
        sl.attack(toys.victim(protocol=sl.SplitFedV1()), sl.DLG())
    parts = toys.network(), nn.Identity()
    given = sl.frozen(*parts, toys.split(), protocol="large_batch_sgd", targets=toys.TARGETS)
    with pytest.raises(ThreatModelError, match="trained elsewhere"):
        sl.attack(given, sl.DLG())


def test_what_an_attack_cant_use_is_refused_in_a_sentence() -> None:
    adam = toys.victim(protocol=sl.FedAvg(), training=Training(epochs=0))
    for attack in (sl.DLG.smoke(), sl.IDLG.smoke()):
        with pytest.raises(SpecError, match="after a step of adam"):
            sl.attack(adam, attack)
    with pytest.raises(SpecError, match=r"targets.batch = 1"):
        sl.attack(adam, sl.IDLG(), targets=replace(toys.TARGETS, batch=2))
    with pytest.raises(SpecError, match="no multiple"):
        replace(toys.TARGETS, batch=4)


def test_a_client_that_cant_learn_from_one_sample_is_named() -> None:
    def network() -> nn.Sequential:
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)
        )

    victim = sl.train(
        network, toys.split(), cut=3, protocol=sl.FedAvg(), training=SGD, targets=toys.TARGETS
    )
    with pytest.raises(SpecError, match=r"batch of 1 .* raise targets.batch"):
        sl.attack(victim, sl.InvertingGradients.smoke())


def test_large_batch_sgd_refuses_a_defence_that_acts_after_gradients_were_sent() -> None:
    with pytest.raises(ProtocolError, match="use fedavg"):
        toys.victim(NoisySteps(), protocol=sl.LargeBatchSGD())
