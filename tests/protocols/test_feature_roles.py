"""Victims with several parties on real digits: what each role sees."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest
import torch
from support.feature_victims import ASKED, EACH, cut_of, digits, network, train, undefended
from torch import Tensor, nn

import sltoolkit as sl
from sltoolkit.contracts.attack import Attack, BatchView, Listener, ListenerState, Role
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.knowledge import Release
from sltoolkit.contracts.outcomes import LabelGuess, Outcome, Reconstruction
from sltoolkit.protocols import Protocol
from sltoolkit.streams import Stream
from sltoolkit.wire.message import Link
from sltoolkit.wire.transcript import rows_of

pytestmark = pytest.mark.golden

ROLES: list[Role] = ["server", "client", "eavesdropper", "colluding"]


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
    member, hops = victim.client, len(victim.client.hops)
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
        float(
            sl.attack(victim, sl.Decoder(steps=150, loss="mse", budget=0), role=role)
            .verdict.scores["psnr_db"]
            .mean()
        )
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
    heard: list[BatchView] = field(default_factory=list, init=False)
    task: Task | None = field(default=None, init=False)

    def open(self, setup: Nothing, first: BatchView, *, rng: Stream) -> ListenerState:
        self.task = setup.task
        return Ear(self.heard)


@dataclass
class Ear(ListenerState):
    heard: list[BatchView]

    def hear(self, heard: BatchView) -> None:
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
    assert listener.task == victim.task_at(len(victim.client.hops))
    assert victim_weights(victim).equal(victim_weights(train(protocol)))


def victim_weights(victim: sl.Victim) -> Tensor:
    networks = (victim.client.client, *victim.client.hops, victim.server)
    return torch.cat([p.flatten() for n in networks for p in n.parameters()])
