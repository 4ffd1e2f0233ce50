"""The training rehearsal of hijackers: each candidate has a training of its own."""

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import ClassVar, final

import pytest
import torch
from support.rehearsal import TASK, first, setup
from support.toys import GRANTS, SHAPE, victim
from torch import Tensor, nn

from sltoolkit.adversary import own_victim, training_rehearsal
from sltoolkit.adversary.training_setup import TrainingSetup
from sltoolkit.api import attack
from sltoolkit.attacks.hijacking._hijacker import HijackView
from sltoolkit.attacks.hijacking.fsha import FSHA
from sltoolkit.attacks.hijacking.fsha_property import FSHAProperty
from sltoolkit.contracts.attack import ActiveAttack, BatchView, Family, ListenerState, Role
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.parties.stages import Server, Stage
from sltoolkit.streams import Stream


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_rehearsal, "BATCHES", 12)


@final
@dataclass(frozen=True, kw_only=True)
class Puller(ActiveAttack[TrainingSetup]):
    """Pulls its client's smashed data toward the inputs times `gain`, and reads them as they are.

    The client is one number, which starts at 0 and takes steps of the rehearsal's rate.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    setup: ClassVar[type] = TrainingSetup
    view: ClassVar[type] = HijackView
    citation: ClassVar[str] = "none 2000"

    toward: float

    def seize(
        self, honest: Stage, setup: TrainingSetup, first: Tensor, *, rng: Stream
    ) -> tuple[Server, ListenerState]:
        batches[self].append([])
        return Pulling(self), Reader()


batches: defaultdict[Puller, list[list[bytes]]] = defaultdict(list)


@final
class Pulling(Server):
    def __init__(self, attack: Puller) -> None:
        self._attack = attack

    def learn(self, learning: bool) -> None:
        """Ignored: it always learns."""

    def step(self, smashed: Tensor, labels: Tensor) -> Tensor:
        batches[self._attack][-1].append(labels.numpy().tobytes())
        return torch.full_like(smashed, -self._attack.toward)


@final
class Reader(ListenerState):
    def hear(self, heard: BatchView) -> None:
        """Learn nothing."""

    def finish(self, view: HijackView) -> Reconstruction:
        return Reconstruction(images=view.smashed[0])


class Dimmer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.share * x


def hijack_setup() -> TrainingSetup:
    return TrainingSetup(
        aux=setup(120, of=120).aux, task=replace(TASK, smashed_shape=SHAPE),
        client_arch=lambda _: Dimmer(), mechanism=None,
    )  # fmt: skip


def hijack(*toward: float, rate: float = 0.05) -> Puller:
    batches.clear()
    candidates = [Puller(toward=t) for t in toward]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_victim, "LR", rate)
        return training_rehearsal.rehearse_hijacking(
            candidates,
            hijack_setup(),
            first(labels=False, network=False, codes=SHAPE),
            rng=Stream(1),
        )


def test_each_hijacker_has_clients_of_its_own_that_follow_it_on_the_same_batches() -> None:
    # 12 steps of 0.05 by Adam make the client show 0.6 of its inputs, or minus 0.6, or nothing
    assert hijack(-1.0, 1.0, 0.0).toward == 1.0
    assert hijack(1.0, -1.0).toward == 1.0
    told = [batches[Puller(toward=t)] for t in (1.0, -1.0)]
    assert told[0] == told[1]
    assert [len(victim) for victim in told[0]] == [12] * training_rehearsal.VICTIMS
    assert told[0][0] != told[0][1]


def test_where_no_hijacker_beats_the_mean_of_own_samples_the_first_is_kept() -> None:
    assert hijack(0.0, 1.0, rate=1e-4).toward == 0.0


def test_fsha_rehearses_what_is_open_when_it_first_hears_anything() -> None:
    thief = replace(FSHA.smoke(), lr=None)
    assert thief.rehearses
    assert not FSHA.smoke().rehearses
    assert not FSHA.paper().rehearses
    assert {(c.lr, c.critic_lr) for c in FSHA().candidates(hijack_setup())} == {
        (lr, critic_lr) for lr in (1e-3, 3e-3) for critic_lr in (3e-3, 1e-3)
    }
    seen: list[int] = []
    taken = victim(
        active=thief, grants=GRANTS, cut="flatten", rehearsing=lambda done, _: seen.append(done)
    )
    assert seen == sorted(set(seen))
    assert seen[-1] == 100
    assert len(seen) > 2 * 12  # settings, batches
    outcome = attack(taken, thief).outcome
    assert outcome.tuned.keys() == {"lr"}
    assert outcome.tuned["lr"] in (1e-3, 3e-3)


def test_a_property_keeps_to_the_given_rates() -> None:
    assert not FSHAProperty().rehearses
