"""Colluding: the white box where clients share a network, and what is left where they don't."""

from functools import partial
from typing import Any

import pytest
import torch

import sltoolkit as sl
from sltoolkit.adversary.rehearsal import rehearsed
from sltoolkit.attacks.inversion.colluding import Colluding
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.errors import ThreatModelError
from sltoolkit.protocols import Protocol
from sltoolkit.referee.mount import mount_attack
from sltoolkit.referee.sources import peer_of, peer_samples
from sltoolkit.streams import Stream

pytestmark = pytest.mark.golden

LENET = partial(sl.models.build, "lenet", shape=(1, 8, 8), classes=10, padding=2)
SHARED = [
    sl.Vanilla(clients=2), sl.Vanilla(), sl.SplitFedV1(clients=2), sl.SplitFedV2(clients=2),
    sl.UShaped(clients=2),
]  # fmt: skip
PRIVATE = [
    sl.SplitFedV3(clients=2), sl.Vanilla(clients=2, handover="none"),
    sl.UShaped(clients=2, handover="none"), sl.MultiHop(clients=2, handover="none"),
]  # fmt: skip


def cut_of(protocol: Protocol) -> Any:
    deeper = ["relu2", "relu3"]
    return "conv1" if protocol.parts == 2 else ["conv1", *deeper[: protocol.parts - 2]]


def trained(protocol: Protocol, epochs: int = 1) -> sl.Victim:
    data = sl.data.load("digits", train=240, holdout=60, aux=60)
    return sl.train(
        LENET, data, cut=cut_of(protocol), protocol=protocol,
        training=sl.Training(epochs=epochs, batch_size=32), targets=sl.Targets(count=8),
    )  # fmt: skip


def images(victim: sl.Victim, attack: sl.Attack[Any]) -> torch.Tensor:
    """The images that an attack finds; all attacks draw from the same stream here."""
    seen: list[Any] = []
    held = type(attack)

    def keep(_: Any, view: Any, *, rng: Stream) -> Reconstruction:
        seen.append(view)
        return Reconstruction(images=torch.zeros(view.smashed.shape[1], 1, 8, 8))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(held, "run", keep)
        sl.attack(victim, attack, role="colluding")
    outcome = rehearsed(attack, seen[-1], rng=Stream(2))
    assert isinstance(outcome, Reconstruction)
    return outcome.images


@pytest.mark.parametrize("protocol", SHARED, ids=str)
def test_with_one_network_for_all_it_is_the_white_box(protocol: Protocol) -> None:
    victim = trained(protocol)
    assert torch.equal(
        images(victim, Colluding(inversion=sl.WhiteBox(steps=20, lr=0.1, decoder_steps=20))),
        images(victim, sl.WhiteBox(steps=20, lr=0.1, decoder_steps=20)),
    )


@pytest.mark.parametrize("protocol", PRIVATE, ids=str)
def test_private_networks_are_known_to_no_other_client(protocol: Protocol) -> None:
    seat = protocol.seats["colluding"].grants
    assert {"peer_weights", "peer_samples", "client_arch"} <= seat
    assert "client_weights" not in seat
    alone: Protocol = type(protocol)(clients=1)
    assert "client_weights" in alone.seats["colluding"].grants


def test_the_colluder_brings_its_own_network_and_samples() -> None:
    victim = trained(sl.SplitFedV3(clients=3))
    target, peer = victim.deployed[0], peer_of(victim)
    assert peer is victim.deployed[1]
    brought = peer_samples(victim)
    assert brought is not None
    assert torch.equal(brought.x, peer.samples.x)
    assert not set(peer.samples.ids.tolist()) & set(target.samples.ids.tolist())
    assert brought.x.data_ptr() != peer.samples.x.data_ptr()
    with pytest.raises(ThreatModelError, match="needs client_weights"):
        sl.attack(victim, sl.WhiteBox.smoke(), role="colluding")
    verdict = sl.attack(
        victim, Colluding(inversion=sl.WhiteBox(steps=30, lr=0.1)), grants=()
    ).verdict
    assert {"labels", "peer_samples", "peer_weights", "smashed"} == set(verdict.knowledge)
    assert set(verdict.outcome.tuned) == {
        "inversion.tv_weight", "inversion.tv_beta", "inversion.forward", "inversion.start",
        "inversion.pull",
    }  # fmt: skip


def test_one_network_that_saw_all_samples_brings_none() -> None:
    assert peer_samples(trained(sl.Vanilla(clients=2))) is None


def test_parties_that_are_attacked_together_leave_nobody_to_collude() -> None:
    for protocol in (sl.Vertical(), sl.ExtendedVanilla(), sl.MultiTask()):
        with pytest.raises(ThreatModelError, match="Colluding needs peer_weights"):
            mount_attack(Colluding(), protocol, ())


def test_sharing_networks_is_what_gives_images_away() -> None:
    attack = Colluding(inversion=sl.WhiteBox(steps=150, lr=0.1, start="mean"))
    verdicts = {}
    for protocol in (sl.SplitFedV1(clients=2), sl.SplitFedV3(clients=2)):
        verdicts[type(protocol)] = sl.attack(trained(protocol, 3), attack).verdict
    shared, private = (float(v.scores["mse"].mean()) for v in verdicts.values())
    prior = min(verdicts[sl.SplitFedV1].baselines["mse"].values())
    assert shared < 0.2 * prior
    assert private > 2 * shared
