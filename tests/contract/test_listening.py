"""The seams of a listener: what it hears, what it may use, and that it changes nothing."""

from dataclasses import dataclass
from typing import Any, final
from unittest import mock

import pytest
import torch
from support.toys import differences, seated, tensors_of, victim, victim_state, witness
from torch import Tensor, nn

from contract.example_listener import PseudoClient
from sltoolkit.api import attack
from sltoolkit.contracts.attack import BatchView, ListenerState, Role
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.errors import ThreatModelError
from sltoolkit.parties.honest import HonestServer
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import PROTOCOLS, Protocol, SplitFedV1, SplitFedV3, Vanilla
from sltoolkit.streams import Stream
from sltoolkit.testing.careless import Careless
from sltoolkit.testing.listeners import check_passive

GRANTS = ("aux", "release", "prior", "client_arch")
LONG = Training(epochs=40, batch_size=16, lr=0.02, optimizer="sgd", momentum=0.9)


@pytest.mark.parametrize("count", [1, 3])
def test_a_pseudo_client_is_passive(count: int) -> None:
    check_passive(PseudoClient.smoke, count=count)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_reconstructs_better_than_chance_because_it_listened(seed: int) -> None:
    hearing, deaf = PseudoClient(), PseudoClient(lr=1e-9)
    trained = victim(
        listeners=[hearing, deaf], grants=GRANTS, training=LONG, norm="batch", seed=seed
    )
    result, control = (attack(trained, x, grants=GRANTS) for x in (hearing, deaf))
    error, unheard = (float(r.verdict.scores["mse"].mean()) for r in (result, control))
    assert error < 0.8 * result.verdict.baselines["mse"]["mean_image"]
    assert error < 0.8 * unheard
    assert result.outcome.diagnostics["rounds"] == LONG.epochs * 3
    assert result.verdict.knowledge == ("aux", "client_arch", "smashed")
    assert (
        result.verdict.releases == LONG.epochs + 1
    )  # every training epoch, and the answer about a target


def test_the_attackers_seed_decides_and_the_victims_does_not_move() -> None:
    listeners = PseudoClient(), PseudoClient(), PseudoClient()
    seeds = (0, 0, 1)
    victims = [
        victim(listeners=[x], grants=GRANTS, attacker_seed=s)
        for x, s in zip(listeners, seeds, strict=True)
    ]
    outcomes = [
        tensors_of(attack(v, x, grants=GRANTS, seed=s).outcome)
        for v, x, s in zip(victims, listeners, seeds, strict=True)
    ]
    assert differences(outcomes[0], outcomes[1]) == []
    assert not torch.equal(outcomes[0]["images"], outcomes[2]["images"])
    for v in victims[1:]:
        assert differences(victim_state(victims[0]), victim_state(v)) == []


def test_a_listener_is_refused_before_the_training_when_its_setup_is_not_granted() -> None:
    progress: list[int] = []
    with pytest.raises(ThreatModelError, match="PseudoClient needs client_arch"):
        victim(listeners=[PseudoClient()], progress=lambda done, total: progress.append(done))
    assert progress == []


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class TooEarly:
    """A setup that asks for weights, which don't exist before the training."""

    client_weights: nn.Module


def test_a_setup_that_asks_for_what_is_not_there_yet_is_refused() -> None:
    class Impatient(PseudoClient.__base__):  # type: ignore[misc, name-defined]
        roles, family, setup, view = ("server",), "reconstruction", TooEarly, TooEarly

        def open(self, setup: TooEarly, first: BatchView, *, rng: Stream) -> ListenerState:
            raise NotImplementedError

    with pytest.raises(ThreatModelError, match="client_weights before the training"):
        victim(listeners=[Impatient()], grants=("client_weights",))


class Everything(Careless):
    """Notes what it hears in its seat."""

    def __init__(self, role: Role) -> None:
        object.__setattr__(self, "roles", (role,))
        object.__setattr__(self, "rounds", [])
        object.__setattr__(self, "networks", [])

    def open(self, setup: Any, first: BatchView, *, rng: Stream) -> ListenerState:
        return _Note(vars(self)["rounds"], vars(self)["networks"])


class _Note(ListenerState):
    def __init__(self, rounds: list[BatchView], networks: list[list[Tensor]]) -> None:
        self.rounds, self.networks = rounds, networks

    def hear(self, heard: BatchView) -> None:
        self.rounds.append(heard)
        if heard.network is not None:
            network = heard.network()
            assert not any(m.training for m in network.modules())
            assert all(p.grad is None and not p.requires_grad for p in network.parameters())
            self.networks.append([p.clone() for p in network.parameters()])

    def finish(self, view: Any) -> Reconstruction:
        raise NotImplementedError


HEARD = {
    ("vanilla", "server"): {("labels", "in"), ("smashed", "in"), ("smashed_grad", "out")},
    ("vanilla", "client"): {("labels", "out"), ("smashed", "out"), ("smashed_grad", "in")},
    ("vanilla", "eavesdropper"): {("labels", "in"), ("smashed", "in"), ("smashed_grad", "out")},
    ("u_shaped", "eavesdropper"): {
        ("smashed", "in"), ("smashed", "out"), ("smashed_grad", "in"), ("smashed_grad", "out"),
    },
}  # fmt: skip


@pytest.mark.parametrize(("protocol", "role"), HEARD)
def test_every_message_of_a_round_is_heard_once(protocol: str, role: Role) -> None:
    ear = Everything(role)
    seen = witness(
        seated(protocol=PROTOCOLS[protocol]()), listeners=[ear], grants=frozenset({"smashed"})
    )
    rounds: list[BatchView] = vars(ear)["rounds"]
    assert [set(r.messages) for r in rounds] == [HEARD[protocol, role]] * 6
    heard = [t for r in rounds for t in r.messages.values()]
    sent = [m.payload for m in seen.heard]
    assert len(heard) == len(sent)
    for payload in sent:
        assert any(torch.equal(payload, t) for t in heard if t.shape == payload.shape)


def test_one_that_did_not_listen_cannot_attack() -> None:
    with pytest.raises(ThreatModelError, match="pass this very object"):
        attack(victim(), PseudoClient(), grants=GRANTS)


@pytest.mark.parametrize("protocol", [SplitFedV1(clients=3), SplitFedV3(clients=3)])
def test_a_servers_listener_is_given_the_copy_that_took_part(protocol: Protocol) -> None:
    ear = Everything("server")
    run = seated(protocol=protocol)
    weights: list[list[Tensor]] = []
    stepped = HonestServer.move

    def stepping(self: HonestServer) -> None:
        stepped(self)
        weights.append([p.detach().clone() for p in self.weights])

    with mock.patch.object(HonestServer, "move", stepping):
        witness(run, epochs=1, listeners=[ear], grants=frozenset({"smashed"}))
    owners = {int(i): k for k, m in enumerate(run.cast.clients) for i in m.samples.ids}
    rounds: list[BatchView] = vars(ear)["rounds"]
    heard = [owners[int(r.ids[0])] for r in rounds]
    assert heard == ([0, 1, 2] if protocol.alike else [0])
    for client, network in zip(heard, vars(ear)["networks"], strict=True):
        for own, live in zip(network, weights[client], strict=True):
            assert torch.equal(own, live)
    assert not torch.equal(weights[0][-1], weights[1][-1])


def test_a_server_that_holds_the_labels_knows_those_of_what_it_hears() -> None:
    ear = Everything("server")
    run = seated(protocol=Vanilla(labels_at="server"))
    witness(run, listeners=[ear], grants=frozenset({"smashed"}))
    rounds: list[BatchView] = vars(ear)["rounds"]
    held = run.data.private_train
    known = {int(i): int(c) for i, c in zip(held.ids, held.y, strict=True)}
    for heard in rounds:
        assert heard.messages["labels", "in"].tolist() == [known[int(i)] for i in heard.ids]


class Vandal(Everything):
    """Overwrites the network that it is given, and asks for it again."""

    def open(self, setup: Any, first: BatchView, *, rng: Stream) -> ListenerState:
        return _Vandal(vars(self)["rounds"], vars(self)["networks"])


class _Vandal(_Note):
    def hear(self, heard: BatchView) -> None:
        assert heard.network is not None
        for t in heard.network().state_dict().values():
            t.zero_()
        heard.network().train().requires_grad_(True)(
            heard.messages["smashed", "in"]
        ).sum().backward()
        super().hear(heard)


def test_a_network_that_was_overwritten_is_as_new_when_asked_for_again() -> None:
    vandal, honest = Vandal("server"), Everything("server")
    for ear in (vandal, honest):
        witness(seated(norm="batch"), listeners=[ear], grants=frozenset({"smashed"}))
    for mine, other in zip(vars(vandal)["networks"], vars(honest)["networks"], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, other, strict=True))
