"""Updates are heard as a client sends them; how batches are judged; refusals."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from support import toys
from support.updates import SGD, heard_of, in_groups
from torch import Tensor, nn

import sltoolkit as sl
from sltoolkit.attacks.gradients._matching import Matching, cosine_distance
from sltoolkit.contracts.defense import Defense, PartySetup
from sltoolkit.contracts.outcomes import Outcome, Reconstruction
from sltoolkit.errors import ProtocolError, SpecError, ThreatModelError
from sltoolkit.parties.settings import Training
from sltoolkit.referee.scoring import score
from sltoolkit.referee.truth import Truth
from sltoolkit.streams import Stream
from sltoolkit.testing.victims import NoisySteps
from sltoolkit.wire.message import Kind

pytestmark = pytest.mark.golden


class Taught(Defense):
    """A defense with its own network."""

    def __init__(self) -> None:
        self.own = nn.Linear(2, 2)

    def begin(self, setup: PartySetup) -> PartySetup:
        return NoisySteps().begin(setup)

    def learned(self) -> dict[str, nn.Module]:
        return {"own": self.own}


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
    """A client with a single sample, the only target, trains for one round."""
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
    """The client uses momentum, weight decay and BatchNorm on the batch, but no dropout."""
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
    """The client received rounded weights, too, so an update is between two rounded networks."""
    coarse = sl.Quantized(bits=8, kinds=("weights",))
    victim = sl.train(
        lambda: toys.network(dropout=0.0), toys.split(), cut=toys.CUT,
        protocol=sl.FedAvg(clients=2), training=replace(SGD, weight_decay=0.0),
        targets=toys.TARGETS, reducer=coarse,
    )  # fmt: skip
    updates, samples = heard_of(victim)
    network = dict(updates.network.named_parameters())
    deployed = dict(victim.client.client.named_parameters())
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


# ---- judging and refusing ------------------------------------------------------------------------


def judged(outcome: Outcome, x: Tensor, batch: int) -> Outcome:
    """The outcome in the order in which the referee scores it."""
    ids = torch.arange(len(x))
    return score(outcome, Truth(x=x, y=ids, ids=ids, batch=batch)).outcome


def test_a_batch_is_judged_in_its_best_order_and_only_a_batch() -> None:
    truth = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    swapped = Reconstruction(images=truth[[1, 0, 3, 2, 5, 4]])
    ordered = judged(swapped, truth, 2)
    assert isinstance(ordered, Reconstruction)
    assert torch.equal(ordered.images, truth)
    assert judged(swapped, truth, 1) is swapped
    across = Reconstruction(images=truth[[2, 1, 0, 3, 4, 5]])
    still = judged(across, truth, 2)
    assert isinstance(still, Reconstruction)
    assert not torch.equal(still.images, truth)


def test_features_which_have_no_bounds_are_ordered_by_what_they_are() -> None:
    truth = torch.tensor([[5.0], [9.0]])
    ordered = judged(Reconstruction(images=truth.flip(0)), truth, 2)
    assert isinstance(ordered, Reconstruction)
    assert torch.equal(ordered.images, truth)


def test_who_hears_no_updates_is_told() -> None:
    with pytest.raises(ThreatModelError, match="DLG needs updates"):
        sl.attack(toys.victim(), sl.DLG())
    with pytest.raises(ThreatModelError, match="nobody hears a single client's updates"):
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


def test_large_batch_sgd_refuses_a_defense_that_acts_after_gradients_were_sent() -> None:
    with pytest.raises(ProtocolError, match="use fedavg"):
        toys.victim(NoisySteps(), protocol=sl.LargeBatchSGD())


def test_a_clients_program_holds_copies_of_what_its_defense_learned() -> None:
    victim = toys.victim(Taught(), protocol=sl.FedAvg(clients=2))
    updates, _ = heard_of(victim)
    program: Any = updates.client
    own = victim.client.defense.learned()["own"]
    kept = {name: w.clone() for name, w in own.state_dict().items()}
    for name, w in program.learned["own"].items():
        assert torch.equal(w, kept[name])
        w.zero_()
    assert all(torch.equal(w, kept[name]) for name, w in own.state_dict().items())


# ---- frozen weights ------------------------------------------------------------------------------


def _partly_frozen(*frozen: str) -> nn.Sequential:
    network = toys.network(dropout=0.0)
    for name, weight in network.named_parameters():
        weight.requires_grad_(not name.startswith(frozen))
    return network


@pytest.mark.parametrize(
    "protocol",
    [sl.LargeBatchSGD(clients=2), sl.FedAvg(clients=2), sl.FedAvg(clients=2, local_epochs=4)],
    ids=["large_batch_sgd", "fedavg", "fedavg-4-steps"],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_frozen_weights_have_no_gradient_and_the_truth_explains_the_others(
    protocol: Any, batch: int
) -> None:
    victim = sl.train(
        _partly_frozen("conv.", "head.weight"), toys.split(), cut=toys.CUT, protocol=protocol,
        training=SGD, targets=replace(toys.TARGETS, batch=batch),
    )  # fmt: skip
    updates, samples = heard_of(victim)

    gradients = updates.gradients()

    assert victim.client.frozen == {"0.conv.weight", "0.conv.bias", "1.head.weight"}
    names = {name for name, _ in updates.network.named_parameters()}
    assert set(gradients) == names - victim.client.frozen
    matching = Matching(updates, name="it")
    found = matching.of_many(*in_groups(updates, samples, toys.CLASSES))
    assert cosine_distance(found, matching.heard).abs().max() < 2e-5


def test_a_client_that_never_learns_sends_no_update() -> None:
    victim = sl.train(
        _partly_frozen(""), toys.split(), cut=toys.CUT, protocol=sl.FedAvg(clients=2),
        training=SGD, targets=toys.TARGETS,
    )  # fmt: skip

    with pytest.raises(ThreatModelError, match="all weights of this victim's clients are frozen"):
        heard_of(victim)


def test_an_attack_on_a_frozen_first_or_last_layer_says_what_it_lacks() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3))
    for frozen, attack, reason in (
        (1, sl.FirstLayer(), "this one is frozen"),
        (3, sl.IDLG(), "no such layer"),
    ):
        network.requires_grad_(True)
        network[frozen].requires_grad_(False)
        victim = sl.train(
            network, toys.split(), cut=1, protocol=sl.FedAvg(clients=2),
            training=replace(SGD, momentum=0.0), targets=replace(toys.TARGETS, batch=1),
        )  # fmt: skip
        with pytest.raises(SpecError, match=reason):
            sl.attack(victim, attack, grants={"updates"})
