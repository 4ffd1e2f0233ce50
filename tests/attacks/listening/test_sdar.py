"""SDAR against its equations, its naive special case, and what its critics say."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
import torch
from listening import by_hand
from support import listeners as sim
from support import toys
from torch import Tensor, nn

from sltoolkit.adversary.training_setup import TrainingSetup
from sltoolkit.attacks.listening._substitute import Substitute, SubstituteView
from sltoolkit.attacks.listening.pcat import PCAT
from sltoolkit.attacks.listening.sdar import SDAR, Simulation
from sltoolkit.contracts.attack import BatchView
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.knowledge import Aux
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.referee.sessions import ListeningSession
from sltoolkit.streams import Stream

pytestmark = pytest.mark.golden

NARROW = replace(SDAR.smoke(), lambda1=0.3, lambda2=0.2)


def begun(attack: SDAR, first: BatchView, *, arch: bool = True) -> Simulation:
    """A state that has its networks and has not learned yet; its critics have no dropout."""
    with Stream(6).scope():
        tap = attack.open(sim.before(arch=arch), first, rng=Stream(3))
    assert isinstance(tap, Simulation)
    for critic in critics(tap):
        sim.without_dropout(critic)
    return tap


def critics(tap: Simulation) -> list[nn.Module]:
    return [c.network for c in (tap.feature_critic, tap.image_critic) if c is not None]


def fixed(substitute: Substitute, count: int) -> tuple[Tensor, Tensor]:
    return sim.draws(substitute, count)


@pytest.mark.parametrize("labels", [True, False], ids=["vanilla", "u_shaped"])
def test_two_steps_are_those_of_the_equations(labels: bool) -> None:
    fs = sim.server(3 if labels else 5)
    batches = [sim.heard(fs, labels=labels, seed=s) for s in (0, 1)]
    tap = begun(NARROW, batches[0])
    mine = tap.substitute
    assert tap.feature_critic is not None
    assert tap.image_critic is not None
    e, e_step = sim.twin(mine.client, 1e-3)
    d, d_step = sim.twin(mine.decoder, 5e-4)
    D_e, D_e_step = sim.twin(tap.feature_critic, 0.3 * 1e-3)
    D_d, D_d_step = sim.twin(tap.image_critic, 0.2 * 5e-4)
    tail: nn.Module = nn.Identity()
    followers = [e_step]
    if mine.tail is not None:
        tail, tail_step = sim.twin(mine.tail, 1e-3)
        followers.append(tail_step)

    x, y = sim.draws(mine)
    flipped = (y + 1) % sim.CLASSES
    with mock.patch.object(Substitute, "draw", fixed), \
         mock.patch.object(Substitute, "flipped", return_value=flipped):  # fmt: skip
        for batch in batches:
            tap.hear(batch)

    y = y if labels else flipped
    for batch in batches:
        z = batch.messages["smashed", "in"]
        own = (y,) if labels else ()
        private = (batch.messages["labels", "in"],) if labels else ()
        fake = e(x)
        forged = fake.detach()  # D_e learns from the same forward pass, and moves after e has
        task = sim.cross_entropy(tail(fs(fake.clone())), y)
        told = sim.bce(D_e(z, *private), 1) + sim.bce(D_e(forged, *own), 0)
        fooled = sim.bce(copy.deepcopy(D_e)(fake, *own), 1)
        sim.follow(task + 0.3 * fooled, *followers)
        sim.follow(told, D_e_step)

        codes = e(x).detach()
        error = sim.squared(d(codes, *own), x)
        drawn = d(z, *private)
        told = sim.bce(D_d(x, *own), 1) + sim.bce(D_d(drawn.detach(), *private), 0)
        fooled = sim.bce(copy.deepcopy(D_d)(drawn, *private), 1)
        sim.follow(error + 0.2 * fooled, d_step)
        sim.follow(told, D_d_step)
    sim.same(mine.client.network, e)
    sim.same(mine.decoder.network, d)
    for critic, twin in ((tap.feature_critic, D_e), (tap.image_critic, D_d)):
        sim.same_weights(critic.network, twin)
    if mine.tail is not None:
        sim.same(mine.tail.network, tail)


def test_the_step_by_hand_that_the_benchmark_compares_with_is_the_same() -> None:
    fs, links = sim.server(), [begun(NARROW, sim.heard(sim.server())) for _ in range(2)]
    hand, batch = by_hand(links[1], NARROW), sim.heard(fs, seed=1)
    own, other = (tap.substitute for tap in links)
    sim.same(own.decoder.network, other.decoder.network)
    x, y = sim.draws(own)
    hand(batch.messages["smashed", "in"], batch.messages["labels", "in"], fs, x, y)
    with mock.patch.object(Substitute, "draw", fixed):
        links[0].hear(batch)
    sim.same(own.client.network, other.client.network)
    sim.same(own.decoder.network, other.decoder.network)
    for a, b in zip(critics(links[0]), critics(links[1]), strict=True):
        sim.same_weights(a, b)


class Recorder:
    """Notes every batch of a run as the server hears it, with its network at that moment."""

    def __init__(self) -> None:
        self.batches: list[tuple[Tensor, Tensor, nn.Module]] = []

    def hear(self, heard: BatchView) -> None:
        assert heard.network is not None
        said = heard.messages
        z, y = said["smashed", "in"].clone(), said["labels", "in"].clone()
        self.batches.append((z, y, copy.deepcopy(heard.network())))


def deterministic() -> Callable[[Substitute, int], tuple[Tensor, Tensor]]:
    """Make draws deterministic: aux samples come in turn."""
    first = [0]

    def draw(own: Substitute, count: int) -> tuple[Tensor, Tensor]:
        rows = (torch.arange(count) + first[0]) % len(own.aux.y)
        first[0] += count
        return own.aux.x[rows], own.aux.y[rows]

    return draw


def test_without_critics_and_labels_it_is_the_naive_simulator_attack() -> None:
    attack = replace(SDAR.smoke(), lambda1=0.0, lambda2=0.0, conditional=False)
    links: list[Simulation] = []
    twins: list[Any] = []
    recorder = Recorder()
    hear = Simulation.hear

    def hearing(self: Simulation, heard: BatchView) -> None:
        recorder.hear(heard)
        if not links:
            links.append(self)
            twins.extend(sim.twin(self.substitute.client, 1e-3))
            twins.extend(sim.twin(self.substitute.decoder, 5e-4))
        hear(self, heard)

    draw = deterministic()
    data = toys.split()
    data = replace(data, aux=replace(data.aux, x=data.aux.x.double()))
    run = toys.seated(norm="batch", dropout=0.0, data=data, double=True)
    with mock.patch.object(Simulation, "hear", hearing), \
         mock.patch.object(Substitute, "draw", lambda self, n: draw(self, n)):  # fmt: skip
        toys.witness(run, listeners=[attack], grants=frozenset({"aux", "client_arch"}))
    assert len(recorder.batches) == 6
    assert links[0].feature_critic is None
    assert links[0].image_critic is None
    e, e_step, d, d_step = twins
    again, own = deterministic(), links[0].substitute
    for z, _, g in recorder.batches:
        x, y = again(own, len(z))
        sim.follow(sim.cross_entropy(g(e(x)), y), e_step)
        sim.follow(sim.squared(d(e(x).detach()), x), d_step)
    sim.same(own.client.network, e)
    sim.same(own.decoder.network, d)


def test_labels_condition_the_decoder_only_where_they_are_heard() -> None:
    z = sim.heard(sim.server()).messages["smashed", "in"]
    views = [SubstituteView(smashed=z[None], labels=torch.full((8,), c)) for c in (0, 1)]
    for labels, conditional, differ in ((True, True, True), (True, False, False)):
        attack = replace(SDAR.smoke(), conditional=conditional)
        with Stream(2).scope():
            first = sim.heard(sim.server(), labels=labels)
            tap = attack.open(sim.before(), first, rng=Stream(3))
            tap.hear(first)
            one, other = (tap.finish(v) for v in views)
        assert torch.equal(one.images, other.images) != differ  # type: ignore[attr-defined]


def test_flipping_draws_that_share_of_the_labels_anew() -> None:
    own = begun(NARROW, sim.heard(sim.server(5), labels=False)).substitute
    y = torch.arange(30000) % sim.CLASSES
    with Stream(0).scope():
        changed = float((own.flipped(y, 0.2) != y).double().mean())
        assert torch.equal(own.flipped(y, 0.0), y)
    expected = 0.2 * (1 - 1 / sim.CLASSES)  # METHODS: rho (1 - 1/C)
    assert abs(changed - expected) < 5 * (expected * (1 - expected) / len(y)) ** 0.5


def test_a_critics_accuracy_is_one_half_of_one_law_and_one_of_two_far_apart() -> None:
    # the critic sees the batch and the simulator's codes, and can't tell equal ones apart
    attack = replace(SDAR.smoke(), lambda1=1.0, lr=0.01, lambda2=0.0, conditional=False)
    found = []
    for far in (False, True):
        with Stream(1).scope():
            tap = begun(attack, sim.heard(sim.server()))
            own = tap.substitute
            own.client.weights = []  # the simulator stands still
            for seed in range(30):
                codes = own.client(sim.draws(own, 16)[0]).detach()
                batch = sim.heard(sim.server(), seed=seed, rows=16)
                batch.messages["smashed", "in"].copy_(codes + 3 * far)
                with mock.patch.object(Substitute, "draw", fixed):
                    tap.hear(batch)
            found.append(own.losses.diagnostics()["critic_accuracy"])
    assert found[0] == pytest.approx(0.5, abs=0.02)
    assert found[1] > 0.8


def test_the_servers_replica_gets_no_gradients_and_keeps_its_state() -> None:
    fs = sim.server().requires_grad_(True)
    state = toys.module_state(fs)
    first = sim.heard(fs)
    NARROW.open(sim.before(), first, rng=Stream(3)).hear(first)
    assert toys.differences(state, toys.module_state(fs)) == []


@pytest.mark.parametrize("attack", [SDAR.smoke(), PCAT.smoke()], ids=["sdar", "pcat"])
@pytest.mark.parametrize(
    ("inputs", "codes"),
    [((3, 8, 10), (4, 4, 5)), ((1, 12), (4, 6)), ((1, 12), (9,)), ((7,), (5,)), ((1, 9, 9), (6,))],
    ids=str,
)
def test_shapes_of_every_kind(attack: Any, inputs: tuple[int, ...], codes: tuple[int, ...]) -> None:
    with Stream(0).scope():
        aux = Aux(x=torch.rand(12, *inputs), y=torch.arange(12) % 2)
        task = Task(input_shape=inputs, smashed_shape=codes, classes=2)
        tap = ListeningSession(
            attack, TrainingSetup(aux=aux, task=task, client_arch=None, mechanism=None), Stream(1)
        )
        network = nn.Sequential(nn.Flatten(), nn.Linear(int(torch.Size(codes).numel()), 2))
        for labels in (aux.y[:5], torch.rand(5, 2)):  # classes, and label weights
            tap.hear(
                BatchView(
                    messages={("smashed", "in"): torch.rand(5, *codes), ("labels", "in"): labels},
                    ids=torch.arange(5), step=0, epoch=0, network=lambda: network,
                )
            )  # fmt: skip
        for rows in (0, 1):  # too few for BatchNorm to learn from
            tap.hear(
                BatchView(
                    messages={("smashed", "in"): torch.rand(rows, *codes)},
                    ids=torch.arange(rows), step=0, epoch=0, network=lambda: network,
                )
            )  # fmt: skip
        view = SubstituteView(smashed=torch.rand(2, 3, *codes), labels=aux.y[:3])
        outcome = tap.finish(view)
    assert isinstance(outcome, Reconstruction)
    assert outcome.images.shape == (3, *inputs)
    assert outcome.diagnostics["steps"] == 2
    assert list(outcome.curve) == [1, 2]
