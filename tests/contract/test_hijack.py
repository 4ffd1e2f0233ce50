"""The seams of an active attack: a server that departs from the protocol."""

from dataclasses import dataclass, replace

import pytest
import torch
from support.toys import TARGETS, differences, module_state, split, tensors_of, victim
from torch import Tensor

from contract.example_hijacker import Hijack, Sabotage, SabotageView
from sltoolkit.api import attack, frozen
from sltoolkit.contracts.defense import Defense
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.errors import ThreatModelError
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Protocol, SplitFedV1, Vanilla
from sltoolkit.streams import Stream
from sltoolkit.wire.turn import Turn

LONG = Training(epochs=12, batch_size=16, lr=0.05, optimizer="sgd", momentum=0.9)


def test_a_hijacked_client_serves_the_attacker_and_not_the_task() -> None:
    thief = Hijack()
    honest, hijacked = victim(training=LONG), victim(training=LONG, active=thief)
    assert honest.utility == 1.0
    assert hijacked.utility < 0.7
    assert differences(module_state(honest.client.client), module_state(hijacked.client.client))
    # the hijacker took the server's seat, so the deployed server network never learned
    untrained = victim(training=Training(epochs=0))
    assert differences(module_state(hijacked.server), module_state(untrained.server)) == []


def test_its_listener_state_hands_back_a_reconstruction() -> None:
    thief = Hijack()
    hijacked = victim(active=thief)
    result = attack(hijacked, thief)
    assert isinstance(result.outcome, Reconstruction)
    assert result.outcome.images.shape == (6, 1, 8, 8)
    assert result.outcome.diagnostics == {"steps": 6.0, "heard": 6.0}
    assert len(result.rows()) == len(result.verdict.scores)
    assert hijacked.losses == (0.0, 0.0)  # no party computed the task's loss


def test_the_client_learns_from_the_attackers_gradient_alone() -> None:
    # a scale of zero sends zero gradients, so SGD without momentum changes nothing
    still = Training(epochs=1, batch_size=16, lr=0.05, optimizer="sgd")
    paused, moved = (victim(training=still, active=Hijack(scale=s)) for s in (0.0, 1.0))
    untrained = victim(training=Training(epochs=0, optimizer="sgd"))
    weights = [module_state(v.client.client) for v in (paused, moved, untrained)]
    assert differences(weights[0], weights[2]) == []
    assert differences(weights[1], weights[2]) != []


def test_a_client_that_is_taken_over_before_the_run_acts_through_its_updates() -> None:
    once = Training(epochs=1, batch_size=16, lr=0.05, optimizer="sgd")
    sabotaged, untrained = (
        victim(training=replace(once, epochs=epochs), active=Sabotage()) for epochs in (1, 0)
    )
    honest = victim(training=once)
    start, there, away = (
        module_state(v.client.client)["conv.weight"] for v in (untrained, honest, sabotaged)
    )
    first_steps = (there - start).flatten() @ (away - start).flatten()
    assert float(first_steps) < 0
    (attached,) = sabotaged.attached
    outcome = attached.listener_state.finish(SabotageView(task=sabotaged.task))
    assert isinstance(outcome, Reconstruction)
    assert torch.equal(outcome.images, split().private_train.x)
    assert outcome.diagnostics == {"heard": 3.0}


@dataclass(kw_only=True, eq=False)
class Silenced(Defense):
    """A label holder that sends no gradient."""

    def gradient(self, g: Tensor, turn: Turn) -> Tensor:
        return torch.zeros_like(g)


@pytest.mark.parametrize("protocol", [Vanilla(labels_at="server"), SplitFedV1(clients=2)], ids=str)
def test_a_malicious_label_holder_does_not_defend_itself(protocol: Protocol) -> None:
    once = Training(epochs=1, batch_size=16, lr=0.05, optimizer="sgd")
    undefended, defended = (
        victim(defense, protocol=protocol, training=once, active=Hijack())
        for defense in (None, Silenced())
    )
    weights = [module_state(v.client.client) for v in (undefended, defended)]
    assert differences(*weights) == []


def test_it_is_reproducible_whatever_the_global_generators_hold() -> None:
    outcomes = []
    for i in range(2):
        thief = Hijack()
        with Stream(50 + i).scope():
            outcomes.append(tensors_of(attack(victim(active=thief), thief).outcome))
    assert differences(*outcomes) == []


def test_it_is_refused_before_the_training_without_its_grants() -> None:
    with pytest.raises(ThreatModelError, match="Hijack needs aux"):
        victim(active=Hijack(), grants=())


def test_it_cannot_attack_a_victim_that_it_did_not_hijack() -> None:
    parts = victim().client.client, victim().server
    with pytest.raises(ThreatModelError, match="pass this very object"):
        attack(frozen(*parts, split(), targets=TARGETS), Hijack())
