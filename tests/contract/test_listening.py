"""The seams of a listener: what it hears, what it may use, and that it changes nothing."""

from dataclasses import dataclass
from typing import Any, final

import pytest
import torch
from torch import nn

from contract import attack_checks as checks
from contract.cheats import Cheating
from contract.fixtures_listening import PseudoClient
from contract.toys import differences, seated, victim, victim_state, witness
from sltoolkit.api import attack
from sltoolkit.contracts import Role, RoundView, Wiretap
from sltoolkit.errors import ThreatModelError
from sltoolkit.outcomes import Reconstruction
from sltoolkit.protocols import PROTOCOLS
from sltoolkit.settings import Training
from sltoolkit.streams import Stream

GRANTS = ("aux", "release", "prior", "client_arch")
LONG = Training(epochs=12, batch_size=16, lr=0.05, optimizer="sgd", momentum=0.9)


@pytest.mark.parametrize("count", [1, 3])
def test_a_pseudo_client_is_passive(count: int) -> None:
    checks.check_passive(PseudoClient.smoke, count=count)


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
    assert result.outcome.diagnostics["rounds"] == 12 * 3
    assert result.verdict.knowledge == ("smashed",)
    assert result.verdict.releases == 12  # it heard every training epoch


def test_the_attackers_seed_decides_and_the_victims_does_not_move() -> None:
    listeners = PseudoClient(), PseudoClient(), PseudoClient()
    seeds = (0, 0, 1)
    victims = [
        victim(listeners=[x], grants=GRANTS, attacker_seed=s)
        for x, s in zip(listeners, seeds, strict=True)
    ]
    outcomes = [
        checks.tensors_of(attack(v, x, grants=GRANTS, seed=s).outcome)
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
    """Weights that don't exist before the training."""

    client_weights: nn.Module


def test_a_setup_that_asks_for_what_is_not_there_yet_is_refused() -> None:
    class Impatient(PseudoClient.__base__):  # type: ignore[misc, name-defined]
        roles, family, setup, view = ("server",), "reconstruction", TooEarly, TooEarly

        def open(self, setup: TooEarly, *, rng: Stream) -> Wiretap:
            raise NotImplementedError

    with pytest.raises(ThreatModelError, match="client_weights before the training"):
        victim(listeners=[Impatient()], grants=("client_weights",))


class Everything(Cheating):
    """Notes what is heard where."""

    def __init__(self, role: Role) -> None:
        object.__setattr__(self, "roles", (role,))
        object.__setattr__(self, "rounds", [])

    def open(self, setup: Any, *, rng: Stream) -> Wiretap:
        return _Note(vars(self)["rounds"])


class _Note(Wiretap):
    def __init__(self, rounds: list[RoundView]) -> None:
        self.rounds = rounds

    def hear(self, heard: RoundView) -> None:
        self.rounds.append(heard)

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
    rounds: list[RoundView] = vars(ear)["rounds"]
    assert [set(r.messages) for r in rounds] == [HEARD[protocol, role]] * 6
    heard = [t for r in rounds for t in r.messages.values()]
    sent = [m.payload for m in seen.heard]
    assert len(heard) == len(sent)
    for payload in sent:
        assert any(torch.equal(payload, t) for t in heard if t.shape == payload.shape)


def test_one_that_did_not_listen_cannot_attack() -> None:
    with pytest.raises(ThreatModelError, match="pass this very object"):
        attack(victim(), PseudoClient(), grants=GRANTS)
