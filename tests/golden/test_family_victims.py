"""Victims with several parties on real digits: what each role sees, defences, checkpoints."""

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

import sltoolkit as sl
from sltoolkit.api import restored
from sltoolkit.checkpoint import save_victim, victim_tensors
from sltoolkit.contracts import (
    Attack,
    Defense,
    Listener,
    NoDefense,
    Role,
    RoundView,
    Task,
    Wiretap,
)
from sltoolkit.data.samples import Split
from sltoolkit.defenses import DISCO, DPActivations, GaussianNoise
from sltoolkit.errors import SpecError
from sltoolkit.outcomes import LabelGuess, Outcome, Reconstruction
from sltoolkit.protocols import Protocol
from sltoolkit.side_by_side import SideBySide
from sltoolkit.streams import Stream
from sltoolkit.threat import Release
from sltoolkit.transcript import rows_of
from sltoolkit.turns import Turn
from sltoolkit.wire import Link

QUICK = sl.Training(epochs=2, batch_size=50)
ASKED = sl.Targets(count=8, labels=60)
PROTOCOLS: list[Protocol] = [
    sl.Vertical(clients=3),
    sl.Vertical(clients=2, merge="mul", absent=0.3, impute="mean"),
    sl.ExtendedVanilla(clients=3),
    sl.MultiHop(hops=2),
    sl.MultiTask(clients=2),
]
NAMES = ["vertical", "mul", "extended", "multi_hop", "multi_task"]
EACH = pytest.mark.parametrize("protocol", PROTOCOLS, ids=NAMES)
ROLES: list[Role] = ["server", "client", "eavesdropper", "colluding"]


def network() -> nn.Module:
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv=nn.Conv2d(1, 4, 3, padding=1), act=nn.Tanh(), flat=nn.Flatten(),
            fc1=nn.Linear(4 * 64, 32), act1=nn.Tanh(), fc2=nn.Linear(32, 16), act2=nn.Tanh(),
            fc3=nn.Linear(16, 10),
        )
    )  # fmt: skip


def cut_of(protocol: Protocol) -> list[str]:
    return ["act", "act1", "act2"][: protocol.parts - 1]


def train(protocol: Protocol, **given: Any) -> sl.Victim:
    return sl.train(
        network, digits(), cut=cut_of(protocol), protocol=protocol, training=QUICK, targets=ASKED,
        **given,
    )  # fmt: skip


@cache
def undefended(protocol: Protocol) -> sl.Victim:
    return train(protocol)


@cache
def digits() -> Split:
    return sl.data.load("digits", train=300, holdout=100, aux=100)


# ---- what each role sees -------------------------------------------------------------------------


@dataclass(frozen=True)
class Everything:
    smashed: Tensor | None
    smashed_grad: Tensor | None
    labels: Tensor | None
    release: Release | None
    client_weights: nn.Module | None
    server_weights: nn.Module | None


@dataclass
class Look(Attack[Everything]):
    """Keeps its view, and guesses nothing."""

    roles: ClassVar[tuple[Role, ...]] = ("server", "client", "eavesdropper", "colluding")
    family: ClassVar[Any] = "reconstruction"
    view: ClassVar[type] = Everything
    citation: ClassVar[str] = "none: a test"
    seen: list[Everything] = field(default_factory=list, init=False)

    def run(self, view: Everything, *, rng: Stream) -> Outcome:
        self.seen.append(view)
        return Reconstruction(images=torch.zeros(ASKED.count, 1, 8, 8))


def look(victim: sl.Victim, role: Role) -> Everything:
    attack = Look()
    sl.attack(victim, attack, role=role)
    return attack.seen[0]


@EACH
def test_every_role_sees_what_its_seat_holds(protocol: Protocol) -> None:
    victim = undefended(protocol)
    member, hops = victim.member, len(victim.member.hops)
    x = sl.attack(victim, Look()).verdict.truth.x
    stages = [member.client, *member.hops, victim.server]
    with torch.no_grad():
        at = [nn.Sequential(*stages[: i + 1])(x) for i in range(len(stages))]
    for role in ROLES:
        view = look(victim, role)
        heard = protocol.seats[role].hops
        assert heard == (hops if role == "server" else 0)
        if "smashed" in protocol.seats[role].grants:
            assert view.smashed is not None
            assert torch.equal(view.smashed[0], at[heard])
        else:
            assert view.smashed is None
            assert (role, hops) == ("client", 0)
        if view.server_weights is not None:
            assert view.smashed is not None
            torch.testing.assert_close(view.server_weights.eval()(view.smashed[0]), at[-1])
        assert (view.server_weights is not None) == (role in ("server", "colluding"))
        assert (view.client_weights is not None) == (role == "colluding")
        assert (view.labels is not None) == (role in ("server", "colluding"))
        assert view.release is not None
        assert torch.equal(view.release(x)[0], at[heard])


@EACH
def test_every_protocol_learns(protocol: Protocol) -> None:
    longer = sl.Training(epochs=20, batch_size=20, lr=5e-3)
    victim = sl.train(
        network, digits(), cut=cut_of(protocol), protocol=protocol, training=longer, targets=ASKED
    )
    assert victim.utility > 0.6


@dataclass(frozen=True)
class Gradients:
    smashed_grad: Tensor


@dataclass
class LookForLabels(Attack[Gradients]):
    """Keeps the gradients, and guesses nothing."""

    roles: ClassVar[tuple[Role, ...]] = ("client", "eavesdropper")
    family: ClassVar[Any] = "labels"
    view: ClassVar[type] = Gradients
    citation: ClassVar[str] = "none: a test"
    seen: list[Tensor] = field(default_factory=list, init=False)

    def run(self, view: Gradients, *, rng: Stream) -> Outcome:
        self.seen.append(view.smashed_grad)
        return LabelGuess(scores=torch.zeros(len(view.smashed_grad), 10))


@EACH
def test_the_client_attacks_labels_with_the_gradients_that_reach_its_seat(
    protocol: Protocol,
) -> None:
    victim = undefended(protocol)
    attack = LookForLabels()
    truth = sl.attack(victim, attack, role="client").verdict.truth
    link = {
        "ExtendedVanilla": Link("server", "hop", "smashed_grad"),
        "MultiHop": Link("hop2", "hop1", "smashed_grad"),
    }.get(type(protocol).__name__, Link("server", "client", "smashed_grad"))
    assert torch.equal(attack.seen[0], rows_of(victim.transcript.record(link), truth.ids))
    width = {3: 3, 2: 4, 1: 8}[protocol.clients]  # 8 columns; the first blocks are the wider ones
    shape = {"ExtendedVanilla": (32,), "MultiHop": (32,)}
    assert attack.seen[0].shape[1:] == shape.get(type(protocol).__name__, (4, 8, width))
    if isinstance(protocol, sl.MultiHop):
        assert attack.seen[0].shape[1:] != look(victim, "eavesdropper").smashed_grad.shape[1:]  # type: ignore[union-attr]


@EACH
def test_registered_attacks_run(protocol: Protocol) -> None:
    victim = undefended(protocol)
    black = sl.attack(victim, sl.Decoder.smoke(), role="server")
    white = sl.attack(victim, sl.WhiteBox.smoke(), role="colluding")
    for result in (black, white):
        assert bool(result.verdict.scores["psnr_db"].isfinite().all())
    hinted = {*sl.STANDARD_GRANTS, "hints"}
    labels = sl.attack(victim, sl.Direction(), role="client", grants=hinted)
    score = labels.verdict.scores["label_accuracy"].double().mean()
    assert score > 0.5 > 3 * labels.verdict.baselines["label_accuracy"]["class_prior"]


def test_a_curious_fellow_client_sees_more_than_the_server() -> None:
    victim = undefended(sl.MultiHop(hops=2))
    server, fellow = (
        float(sl.attack(victim, sl.Decoder(epochs=15), role=role).verdict.scores["psnr_db"].mean())
        for role in ("server", "client")
    )
    assert fellow > server + 1


@dataclass(frozen=True)
class Nothing:
    task: Task


@dataclass
class Hear(Listener[Nothing]):
    """Keeps every batch's conversation."""

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Any] = "reconstruction"
    view: ClassVar[type] = Nothing
    setup: ClassVar[type] = Nothing
    citation: ClassVar[str] = "none: a test"
    heard: list[RoundView] = field(default_factory=list, init=False)
    task: Task | None = field(default=None, init=False)

    def open(self, setup: Nothing, *, rng: Stream) -> Wiretap:
        self.task = setup.task
        return Ear(self.heard)


@dataclass
class Ear(Wiretap):
    heard: list[RoundView]

    def hear(self, heard: RoundView) -> None:
        self.heard.append(heard)

    def finish(self, view: Any) -> Outcome:
        return Reconstruction(images=torch.zeros(ASKED.count, 1, 8, 8))


@EACH
def test_a_listening_server_hears_all_parties_side_by_side(protocol: Protocol) -> None:
    if isinstance(protocol, sl.Vertical):
        protocol = replace(protocol, absent=0.0)
    listener = Hear()
    victim = train(protocol, listeners=[listener])
    assert listener.task is not None
    assert len(listener.heard) == 2 * 300 // 50
    for heard in listener.heard:
        for kind, direction in (("smashed", "in"), ("smashed_grad", "out")):
            payload = heard.messages[kind, direction]  # type: ignore[index]
            assert payload.shape == (50, *listener.task.smashed_shape)
    assert listener.task == victim.task_at(len(victim.member.hops))
    assert victim_weights(victim).equal(victim_weights(train(protocol)))


def victim_weights(victim: sl.Victim) -> Tensor:
    networks = (victim.member.client, *victim.member.hops, victim.server)
    return torch.cat([p.flatten() for n in networks for p in n.parameters()])


# ---- defences ------------------------------------------------------------------------------------


@EACH
def test_every_party_defends_its_own_slice_in_training_and_when_deployed(
    protocol: Protocol,
) -> None:
    victim = train(protocol, defense=GaussianNoise(std=2.0))
    x = digits().aux.x
    clean, sent = victim.member.replica().smash(x, Stream(5))
    noise = sent - clean
    assert abs(float(noise.std()) - 2) < 0.02
    columns = noise.transpose(0, 3).flatten(1)
    assert float((torch.corrcoef(columns) - torch.eye(8)).abs().max()) < 0.1
    if protocol.clients > 1:
        assert isinstance(victim.member.defense, SideBySide)
        assert len(victim.member.defense.parties) == protocol.clients


def test_every_party_learns_a_defence_of_its_own() -> None:
    victim = train(sl.Vertical(clients=2), defense=DISCO.smoke())
    defense = victim.member.defense
    assert isinstance(defense, SideBySide)
    names = sorted(defense.learned())
    assert names[: len(names) // 2] == [n.replace("1.", "0.", 1) for n in names[len(names) // 2 :]]
    first, second = (
        torch.cat([p.flatten() for m in party.learned().values() for p in m.parameters()])
        for party in defense.parties
    )
    assert not torch.equal(first, second)
    mechanism = victim.pristine
    assert isinstance(mechanism, SideBySide)
    assert all(isinstance(party, DISCO) for party in mechanism.parties)


def test_a_slice_is_what_that_party_alone_would_send() -> None:
    class Scale(Defense):
        def __init__(self, by: float) -> None:
            self.by = by

        def smash(self, z: Tensor, turn: Turn) -> Tensor:
            assert turn.x is not None
            assert turn.x.shape[-1] == z.shape[-1]
            return z * self.by

    victim = undefended(sl.Vertical(clients=3))
    x = digits().aux.x[:4]
    clean, _ = victim.member.smash(x, Stream(0))
    defense = SideBySide([Scale(1.0), Scale(2.0), Scale(-1.0)], (3, 3, 2))
    ids = torch.arange(len(x))
    turn = Turn(ids=ids, x=x, y=None, step=0, epoch=0, phase="release", rng=Stream(0))
    first, second, third = defense.smash(clean, turn).split((3, 3, 2), dim=-1)
    assert torch.equal(first, clean[..., :3])
    assert torch.equal(second, 2 * clean[..., 3:6])
    assert torch.equal(third, -clean[..., 6:])


def test_guarantees_of_all_parties_about_a_record_compose() -> None:
    single = DPActivations(epsilon=4.0)
    victim = train(sl.Vertical(clients=3), defense=single)
    stated = victim.pristine.guarantee(releases=2, delta=1e-5)
    assert stated is not None
    assert stated == single.guarantee(releases=6, delta=1e-5)
    alone = single.guarantee(releases=2, delta=1e-5)
    assert alone is not None
    assert stated.epsilon > alone.epsilon


# ---- checkpoints ---------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("defense", [NoDefense(), DISCO.smoke()], ids=["none", "disco"])
def test_a_stored_victim_comes_back(protocol: Protocol, defense: Defense, tmp_path: Path) -> None:
    victim = train(protocol, defense=defense, seed=3)
    path = tmp_path / "victim.safetensors"
    save_victim(victim, path)
    back = restored(
        path, network, digits(), cut=cut_of(protocol), protocol=protocol, defense=defense, seed=3,
        training=QUICK, targets=ASKED,
    )  # fmt: skip
    before, after = victim_tensors(victim), victim_tensors(back)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any(name.startswith("heard/") for name in before)
    x = digits().private_holdout.x
    for hops in range(len(victim.member.hops) + 1):
        mine, its = (v.release(Stream(1), hops=hops)(x) for v in (victim, back))
        assert torch.equal(mine, its)
    assert (back.utility, back.losses, back.bytes) == (victim.utility, victim.losses, victim.bytes)


def test_a_convolution_that_a_block_is_too_narrow_for_is_refused_before_training() -> None:
    with pytest.raises(SpecError, match="can't take inputs of shape 1x8x1"):
        sl.train(
            lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 10)), digits(),
            cut=0, protocol=sl.Vertical(clients=8), training=QUICK,
        )  # fmt: skip
