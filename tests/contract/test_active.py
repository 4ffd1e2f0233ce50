"""Every registered active attack, at its smallest setting, keeps to the contract."""

from typing import Any

import pytest
import torch
from support.toys import victim
from torch import Tensor

from contract import active_checks
from contract.attack_checks import (
    check_leaves_victim,
    check_non_interference,
)
from contract.example_hijacker import Hijack, HijackingServer
from sltoolkit.adversary.training_setup import TrainingSetup
from sltoolkit.attacks import ATTACKS
from sltoolkit.contracts.attack import ActiveAttack, ListenerState
from sltoolkit.contracts.grants import needs
from sltoolkit.defenses import DEFENSES
from sltoolkit.errors import ThreatModelError
from sltoolkit.parties.stages import Server, Stage
from sltoolkit.protocols import Protocol, SplitFedV1, UShaped, Vanilla
from sltoolkit.referee.mount import mount_attack
from sltoolkit.streams import Stream

ACTIVE = {k: v for k, v in ATTACKS.items() if issubclass(v, ActiveAttack)}
PROTOCOLS: dict[str, Protocol] = {
    "vanilla": Vanilla(), "u_shaped": UShaped(), "splitfed_v1": SplitFedV1(clients=2)
}  # fmt: skip


def mountable(kind: type[ActiveAttack[Any]], protocol: Protocol) -> bool:
    """Whether it is after something that its seat doesn't hold anyway."""
    active = kind.smoke()
    try:
        mount_attack(active, protocol, active_checks.granted(active))
    except ThreatModelError:
        return False
    return True


MOUNTED = [
    pytest.param(kind, protocol, id=f"{name}-{where}")
    for name, kind in ACTIVE.items()
    for where, protocol in PROTOCOLS.items()
    if mountable(kind, protocol)
]
each = pytest.mark.parametrize("kind", ACTIVE.values(), ids=ACTIVE.keys())
each_mounted = pytest.mark.parametrize(("kind", "protocol"), MOUNTED)


@each
def test_it_can_be_mounted_somewhere(kind: type[ActiveAttack[Any]]) -> None:
    assert any(mountable(kind, protocol) for protocol in PROTOCOLS.values())


@each_mounted
def test_reproducible(kind: type[ActiveAttack[Any]], protocol: Protocol) -> None:
    active_checks.check_reproducible(kind, protocol)


@each_mounted
def test_acts_by_what_it_says_alone(kind: type[ActiveAttack[Any]], protocol: Protocol) -> None:
    active_checks.check_acts_by_what_it_says(kind, protocol)


@each_mounted
def test_at_the_end_it_uses_what_it_was_granted_and_changes_nobody(
    kind: type[ActiveAttack[Any]], protocol: Protocol
) -> None:
    active = kind.smoke()
    taken = active_checks.hijacked(active, protocol)
    active_checks.check_well_formed(taken, active)
    finishing = active_checks.finishing(taken.attached[0])
    check_non_interference(finishing, taken)
    check_leaves_victim(finishing, taken)


@each
def test_refused_before_the_training_without_what_it_needs(kind: type[ActiveAttack[Any]]) -> None:
    protocol = next(p for p in PROTOCOLS.values() if mountable(kind, p))
    for missing in needs(kind.setup)[0] - protocol.seats["server"].grants:
        cut = "drop" if protocol.parts == 2 else ("drop", "flatten")
        with pytest.raises(ThreatModelError, match=f"{kind.__name__} needs {missing}"):
            victim(
                protocol=protocol, cut=cut, active=kind.smoke(),
                grants=active_checks.granted(kind.smoke()) - {missing},
            )  # fmt: skip


@each
@pytest.mark.parametrize("defense", DEFENSES.values(), ids=DEFENSES.keys())
def test_it_meets_every_defense(kind: type[ActiveAttack[Any]], defense: Any) -> None:
    active = kind.smoke()
    protocol = next(p for p in PROTOCOLS.values() if mountable(kind, p))
    taken = active_checks.hijacked(active, protocol, defense.smoke(), norm="group")
    active_checks.check_well_formed(taken, active)


class Meddling(HijackingServer):
    """Draws from the random generators that everybody shares."""

    def step(self, smashed: Tensor, labels: Tensor) -> Tensor:
        torch.rand(1)
        return super().step(smashed, labels)


class Meddler(Hijack):
    """Puts it in the seat."""

    def seize(
        self, honest: Stage, setup: TrainingSetup, first: Tensor, *, rng: Stream
    ) -> tuple[Server, ListenerState]:
        _, listener_state = super().seize(honest, setup, first, rng=rng)
        return Meddling(self, setup, rng), listener_state


def test_who_acts_by_more_than_it_says_is_caught() -> None:
    active_checks.check_acts_by_what_it_says(Hijack, Vanilla())
    with pytest.raises(AssertionError, match="acts by more than it says"):
        active_checks.check_acts_by_what_it_says(Meddler, Vanilla())
