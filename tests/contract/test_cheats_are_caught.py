"""Planted cheats: the contract suite catches each of them, and lets honest plug-ins pass."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pytest
import torch
from support.toys import CLASSES, QUICK, TARGETS, differences, split, victim_state
from torch import Tensor, nn

from contract.example_hijacker import Hijack
from contract.example_listener import PseudoClient
from sltoolkit.api import train
from sltoolkit.contracts.attack import Attack
from sltoolkit.contracts.defense import Defense
from sltoolkit.protocols import Vanilla
from sltoolkit.referee import truth
from sltoolkit.referee.mount import mount_in
from sltoolkit.referee.sources import knowledge_sources, trained_sources
from sltoolkit.streams import Stream
from sltoolkit.testing import listeners as listening
from sltoolkit.testing import outcomes
from sltoolkit.testing.attacks import attack_checks
from sltoolkit.testing.careless import Careless
from sltoolkit.testing.cheats import (
    attacks,
    catalog,
    defenses,
    hijackers,
    private_defenses,
    protocols,
)
from sltoolkit.testing.defenses import CHECKS, check_acts
from sltoolkit.testing.hijackers import check_acts_by_what_it_says
from sltoolkit.testing.protocols import protocol_checks
from sltoolkit.training.victim import Victim

each_cheat = pytest.mark.parametrize("cheat", catalog.CHEATS, ids=lambda c: c.kind.__name__)


@each_cheat
def test_its_check_catches(cheat: catalog.Cheat) -> None:
    cheat.caught()


@each_cheat
def test_the_whole_suite_catches(cheat: catalog.Cheat) -> None:
    cheat.caught_by_suite()


def test_a_cheat_that_escapes_or_is_caught_for_another_reason_is_told() -> None:
    honest = catalog.Cheat(defenses.Planted(), check_acts, "is inert")
    with pytest.raises(AssertionError, match="the suite lets Planted pass"):
        honest.caught()
    odd = catalog.Cheat(defenses.DoesNothing(), check_acts, "is loud")
    with pytest.raises(AssertionError, match="caught for another reason: DoesNothing is inert"):
        odd.caught()


@pytest.mark.parametrize("check", attack_checks(attacks.Honest).values())
def test_an_honest_attack_passes(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize("check", attack_checks(PseudoClient, protocols=[Vanilla()]).values())
def test_an_honest_listener_passes(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize("check", protocol_checks(protocols.Planted).values())
def test_a_sound_protocol_passes(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    "sound",
    [defenses.Planted(), defenses.Promises(), private_defenses.Private()],
    ids=["noise", "guarantee", "gaussian"],
)
def test_a_sound_defense_passes(sound: Defense, check: Callable[[Defense], None]) -> None:
    check(sound)


@pytest.mark.parametrize("kind", [Hijack, hijackers.Shrinks])
def test_an_honest_hijacker_acts_by_what_it_says(kind: Callable[[], Any]) -> None:
    check_acts_by_what_it_says(kind, Vanilla())


@pytest.mark.parametrize("count", [1, 10])
def test_careless_listeners_are_passive(count: int) -> None:
    listening.check_passive(Careless, count=count)


def test_the_two_worlds_leave_the_victim_as_it_was(victim: Victim) -> None:
    before = victim_state(victim)
    outcomes.check_non_interference(attacks.Honest(), victim)
    assert differences(before, victim_state(victim)) == []


TOUCHING = [attacks.LeavesGradients, attacks.OverwritesView]


@pytest.mark.parametrize("kind", TOUCHING)
def test_touching_the_servers_network_is_harmless_on_a_view(
    kind: type[Attack[Any]], victim: Victim
) -> None:
    outcomes.check_leaves_victim(kind(), victim)


@pytest.mark.parametrize("kind", TOUCHING)
def test_touching_the_live_servers_network_is_caught(
    kind: type[Attack[Any]], victim: Victim
) -> None:
    own = replace(
        victim, deployed=tuple(copy.deepcopy(m) for m in victim.deployed),
        server=copy.deepcopy(victim.server),
    )  # fmt: skip
    handing_out = SimpleNamespace(deepcopy=lambda held: held)  # a referee without copies
    with (
        mock.patch("sltoolkit.referee.sources.copy", handing_out),
        pytest.raises(AssertionError, match=r"changes the victim.*server"),
    ):
        outcomes.check_leaves_victim(kind(), own)


def overwrite(value: Any) -> None:
    """Overwrite what a grant holds, as a careless or malicious attack would."""
    if isinstance(value, Tensor):
        value.zero_()
    elif isinstance(value, Mapping):
        for each in value.values():
            overwrite(each)
    elif isinstance(value, nn.Module):
        for t in value.state_dict().values():
            t.zero_()
        value.train().requires_grad_(True)
    else:
        for f in fields(value):
            overwrite(getattr(value, f.name))


def test_every_grant_is_a_copy(victim: Victim) -> None:
    before = victim_state(victim)
    sources = trained_sources(
        victim, truth.asked_about(victim, TARGETS, "reconstruction"),
        mount_in(victim.protocol, "server"), Stream(0),
    )  # fmt: skip
    for name in ("aux", "smashed", "smashed_grad", "labels", "hints", "prior", "client_weights",
                 "server_weights"):  # fmt: skip
        overwrite(sources[name]())
    assert differences(before, victim_state(victim)) == []


def test_a_granted_architecture_carries_nothing_that_was_learned() -> None:
    class Scaled(nn.Module):
        """A network with a parameter that no layer can reinitialize."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(1, 4, 3, padding=1)
            self.norm = nn.BatchNorm2d(4)
            self.scale = nn.Parameter(torch.ones(4, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            return cast(Tensor, self.norm(self.layer(x))) * self.scale

    def make() -> nn.Module:
        head = nn.Sequential(nn.Flatten(), nn.Linear(256, CLASSES))
        return nn.Sequential(OrderedDict([("client", Scaled()), ("server", head)]))

    built = []
    for seed in (0, 1):
        trained = train(make, split(), cut="client", seed=seed, training=QUICK, targets=TARGETS)
        sources = knowledge_sources(
            trained.data,
            trained.task,
            trained.client.client,
            trained.configured_defense,
            trained.rng,
        )
        built.append(sources["client_arch"]()(Stream(3)).state_dict())
    assert differences(*built) == []
