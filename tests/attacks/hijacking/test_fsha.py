"""FSHA: one step against its equations, its limits, the paper's networks, and its success."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from support.hijacked import network
from support.saturating import Behind, Saturating
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.adversary.own_defense import OwnDefense
from sltoolkit.adversary.training_setup import TrainingSetup
from sltoolkit.api import attack, train
from sltoolkit.attacks.hijacking._hijacker import HijackView, Trio
from sltoolkit.attacks.hijacking.fsha import FSHA
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.knowledge import Aux
from sltoolkit.data import load
from sltoolkit.data.targets import Targets
from sltoolkit.defenses import GaussianNoise, NoPeek
from sltoolkit.errors import SpecError, ThreatModelError
from sltoolkit.networks.substitutes import strided_substitute, transposed_decoder
from sltoolkit.parties.honest import HonestServer
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import LocalLoss, Protocol, SplitFedV1, UShaped, Vanilla
from sltoolkit.referee.sessions import HijackingSession, SeizedServer
from sltoolkit.streams import Stream

pytestmark = pytest.mark.golden

TASK = Task(input_shape=(1, 8, 8), smashed_shape=(4, 4, 4), classes=3)
SMALL = FSHA(
    width=6, blocks=1, lr=1e-2, critic_lr=3e-2, critic_steps=1, penalty=5.0, scale=2.5
)  # fmt: skip
NO_DEFENSE = OwnDefense(None, Stream(0))
EACH_LOSS = pytest.mark.parametrize("loss", ["wasserstein", "bce"])


def small(**changes: Any) -> FSHA:
    return replace(SMALL, **changes)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def trio(how: FSHA = SMALL, defense: OwnDefense = NO_DEFENSE) -> Trio:
    with Stream(1).scope():
        return Trio(how, TASK, drawn(2, 4, 4, 4) - 0.5, defense)


def weights(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


@EACH_LOSS
def test_a_step_is_that_of_the_equations(loss: Any) -> None:
    how = small(loss=loss)
    ours = trio(how)
    pilot, decoder, critic = (
        deepcopy(learner.network) for learner in (ours.pilot, ours.reader, ours.critic)
    )
    z, x = drawn(5, 4, 4, 4) - 0.5, drawn(5, 1, 8, 8, seed=1)
    with Stream(2).scope():
        sent = how.step(ours, z, x, torch.zeros(5, dtype=torch.int64))

    own = torch.optim.Adam([*pilot.parameters(), *decoder.parameters()], lr=1e-2)
    judge = torch.optim.Adam(critic.parameters(), lr=3e-2)
    heard = z.clone().requires_grad_()
    codes = pilot(x)
    d_codes, d_heard = critic(codes.detach()), critic(heard)
    if loss == "wasserstein":
        l_f = d_heard.mean()
        with Stream(2).scope():
            share = torch.rand(5, 1, 1, 1, dtype=torch.float64)
        point = (share * z + (1 - share) * codes.detach()).requires_grad_()
        slope = torch.autograd.grad(critic(point).sum(), point, create_graph=True)[0]
        norms = slope.square().sum((1, 2, 3)).sqrt()
        l_d = d_codes.mean() - d_heard.mean() + 5.0 * ((norms - 1) ** 2).mean()
    else:
        one, zero = torch.ones_like(d_codes), torch.zeros_like(d_codes)
        bce = functional.binary_cross_entropy_with_logits
        l_f = bce(d_heard, one)
        l_d = (bce(d_codes, one) + bce(d_heard, zero)) / 2
    expected = torch.autograd.grad(l_f, heard, retain_graph=True)[0]
    torch.testing.assert_close(sent, 2.5 * expected)

    ((decoder(codes) - x) ** 2).mean().backward()
    l_d.backward()
    own.step()
    judge.step()
    for learner, reference in zip(
        (ours.pilot, ours.reader, ours.critic), (pilot, decoder, critic), strict=True
    ):
        torch.testing.assert_close(weights(learner.network), weights(reference))


def test_the_client_gets_the_gradient_of_fooling_the_critic_and_nothing_else() -> None:
    z, x = drawn(5, 4, 4, 4), drawn(5, 1, 8, 8)
    heard = z.clone()
    how = small(scale=1.0)
    ours = trio(how)
    before = deepcopy(ours.critic.network)
    sent = how.step(ours, heard, x, torch.zeros(5, dtype=torch.int64))
    point = z.clone().requires_grad_()
    (expected,) = torch.autograd.grad(before(point).mean(), point)
    torch.testing.assert_close(sent, expected)
    assert torch.equal(heard, z)
    assert not heard.requires_grad
    assert sent.grad_fn is None


def test_where_the_defense_is_known_the_pilot_sends_through_it() -> None:
    known, built_in = trio(defense=OwnDefense(lambda _: Saturating(), Stream(0))), trio()
    built_in.pilot.network = Behind(built_in.pilot.network)
    for step in range(3):
        z, x = drawn(5, 4, 4, 4, seed=step), drawn(5, 1, 8, 8, seed=9 + step)
        sent = []
        for each in (known, built_in):
            with Stream(step).scope():
                sent.append(SMALL.step(each, z, x, torch.zeros(5, dtype=torch.int64)))
        assert torch.equal(*sent)
        assert sent[0].abs().max() > 0
    assert torch.equal(weights(known.reader.network), weights(built_in.reader.network))
    assert not torch.equal(weights(known.reader.network), weights(trio().reader.network))


@EACH_LOSS
def test_a_client_that_is_the_pilot_is_taken_for_it(loss: Any) -> None:
    how, x = small(loss=loss), drawn(5, 1, 8, 8)
    ours = trio(how)
    with torch.no_grad():
        z = ours.pilot(x)  # f = f~, and private inputs are public
        error = functional.mse_loss(ours.reader(z), x)
        scores = ours.critic(z)
    l_f = scores.mean() if loss == "wasserstein" else functional.softplus(-scores).mean()
    how.step(ours, z, x, torch.zeros(5, dtype=torch.int64))
    noted = {name: each[0] for name, each in ours.losses.each.items()}
    torch.testing.assert_close(noted["fool_loss"], l_f)
    torch.testing.assert_close(noted["read_loss"], error)  # the attack's own error agrees
    if loss == "wasserstein":
        assert float(noted["critic_loss"]) >= 0  # both means are equal, so only the penalty is left
    else:
        both = (functional.softplus(scores) + functional.softplus(-scores)).mean() / 2
        torch.testing.assert_close(noted["critic_loss"], both)


def test_extra_critic_steps_come_before_the_papers_own() -> None:
    z, x, y = drawn(5, 4, 4, 4) - 0.5, drawn(5, 1, 8, 8), torch.zeros(5, dtype=torch.int64)
    one, two = small(loss="bce"), small(loss="bce", critic_steps=2)
    once, twice = trio(one), trio(two)
    first = one.step(once, z, x, y)
    moved = deepcopy(once.critic.network)
    second = two.step(twice, z, x, y)
    point = z.clone().requires_grad_()
    (expected,) = torch.autograd.grad(functional.softplus(-moved(point)).mean(), point)
    torch.testing.assert_close(second, 2.5 * expected)
    assert not torch.equal(first, second)
    assert torch.equal(weights(once.pilot.network), weights(twice.pilot.network))


@pytest.mark.parametrize(("low", "signed"), [(0.0, False), (-0.1, True)])
def test_the_pilot_can_be_negative_if_what_is_heard_is(low: float, signed: bool) -> None:
    heard = drawn(5, 4, 4, 4) + low
    with Stream(1).scope():
        codes = Trio(SMALL, TASK, heard, NO_DEFENSE).pilot(drawn(50, 1, 8, 8))
    assert bool((codes < 0).any()) == signed


def session() -> HijackingSession:
    """FSHA's seat and state in a run that has not begun."""
    setup = TrainingSetup(
        aux=Aux(x=drawn(7, 1, 8, 8), y=torch.zeros(7, dtype=torch.int64)), task=TASK,
        client_arch=None, mechanism=None,
    )  # fmt: skip
    honest = HonestServer(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), None, Stream(0))
    return HijackingSession(SMALL, honest, setup, Stream(0))


def test_one_that_heard_nothing_says_so_instead_of_guessing() -> None:
    with pytest.raises(SpecError, match="FSHA heard no batch to learn from"):
        session().finish(HijackView(smashed=drawn(1, 2, 4, 4, 4)))


def test_an_empty_batch_and_an_absent_partys_teach_nothing() -> None:
    begins, y = session(), torch.zeros(3, dtype=torch.int64)
    server, view = SeizedServer(begins), HijackView(smashed=drawn(1, 2, 4, 4, 4))
    unusable = (drawn(0, 4, 4, 4), torch.empty(3, 4, 4, 4, device="meta"))
    for z in unusable:
        answer = server.step(z, y[: len(z)])
        assert answer.shape == z.shape
    with pytest.raises(SpecError, match="heard no batch"):
        begins.finish(view)
    for z in (drawn(3, 4, 4, 4), *unusable):
        assert server.step(z, y[: len(z)]).shape == z.shape
    assert begins.finish(view).diagnostics["steps"] == 1


def layers(network: nn.Module) -> list[tuple[str, int, int, int]]:
    kinds = {nn.Conv2d: "conv", nn.ConvTranspose2d: "up"}
    return [
        (kinds[type(m)], m.in_channels, m.out_channels, m.stride[0])
        for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)
    ]  # fmt: skip


def test_pilot_and_decoder_have_the_papers_layers() -> None:
    image = (3, 32, 32)
    with torch.device("meta"):
        assert layers(strided_substitute(image, (64, 16, 16))) == [
            ("conv", 3, 64, 2), ("conv", 64, 64, 1)
        ]  # fmt: skip
        assert layers(strided_substitute(image, (128, 8, 8))) == [
            ("conv", 3, 64, 2), ("conv", 64, 128, 2), ("conv", 128, 128, 1)
        ]  # fmt: skip
        assert layers(strided_substitute(image, (256, 4, 4))) == [
            ("conv", 3, 64, 2), ("conv", 64, 128, 2), ("conv", 128, 256, 2), ("conv", 256, 256, 1)
        ]  # fmt: skip
        assert layers(transposed_decoder((64, 16, 16), image)) == [
            ("up", 64, 256, 2), ("conv", 256, 3, 1)
        ]  # fmt: skip
        assert layers(transposed_decoder((128, 8, 8), image)) == [
            ("up", 128, 256, 2), ("up", 256, 128, 2), ("conv", 128, 3, 1)
        ]  # fmt: skip
        assert layers(transposed_decoder((256, 4, 4), image)) == [
            ("up", 256, 256, 2), ("up", 256, 128, 2), ("up", 128, 3, 2)
        ]  # fmt: skip


def test_the_pilot_is_affine_up_to_its_end() -> None:
    with Stream(0).scope():
        pilot = strided_substitute((1, 8, 8), (4, 4, 4)).double()
    a, b = drawn(3, 1, 8, 8), drawn(3, 1, 8, 8, seed=1)
    torch.testing.assert_close(pilot((a + b) / 2), (pilot(a) + pilot(b)) / 2)


@pytest.mark.parametrize(
    ("inputs", "smashed"),
    [((1, 28, 28), (16, 4, 4)), ((1, 8, 8), (120,)), ((1, 187), (16, 46)), ((2, 40), (32,)),
     ((14,), (7,)), ((1, 25, 25), (6, 11, 11)), ((1, 8, 8), (4, 8, 8))],
)  # fmt: skip
def test_any_shapes_are_hijacked(inputs: tuple[int, ...], smashed: tuple[int, ...]) -> None:
    task = Task(input_shape=inputs, smashed_shape=smashed, classes=3)
    z = drawn(4, *smashed)
    with Stream(0).scope():
        ours = Trio(FSHA.smoke(), task, z, NO_DEFENSE)
        sent = FSHA.smoke().step(ours, z, drawn(4, *inputs), torch.zeros(4, dtype=torch.int64))
        assert sent.shape == z.shape
        assert FSHA.smoke().outcome(ours.reader.network, z).images.shape == (4, *inputs)


@pytest.mark.slow
def test_a_hijacked_client_gives_its_images_away_and_forgets_its_task() -> None:
    thief = FSHA(width=16, blocks=1, lr=1e-3, critic_lr=1e-3)
    victim = train(
        network, load("digits"), cut="cut", training=Training(epochs=60, batch_size=32),
        targets=Targets(count=64), active=thief,
    )  # fmt: skip
    result = attack(victim, thief)
    error = float(result.verdict.scores["mse"].mean())
    assert error < 0.85 * min(result.verdict.baselines["mse"].values())
    assert victim.utility < 0.25  # chance is 0.1; an honest server reaches 0.95
    curve = list(result.outcome.curve)
    assert (curve[0], curve[-1]) == (30, 1500)


def test_who_knows_the_noise_is_hindered_less_by_it() -> None:
    thief = FSHA(width=16, blocks=1, lr=1e-3, critic_lr=3e-3)
    errors = []
    for grants in ({"aux"}, {"aux", "mechanism"}):
        victim = train(
            network, load("digits"), cut="cut", training=Training(epochs=10, batch_size=32),
            targets=Targets(count=64), active=thief, grants=grants, defense=GaussianNoise(std=2.0),
        )  # fmt: skip
        result = attack(victim, thief, grants=grants)
        errors.append(float(result.verdict.scores["mse"].mean()))
    assert errors[1] < 0.6 * errors[0]


@pytest.mark.parametrize(
    ("protocol", "cut", "steps"),
    [(Vanilla(), "cut", 4), (UShaped(), ("cut", "features"), 4), (SplitFedV1(clients=3), "cut", 6)],
    ids=["vanilla", "u_shaped", "splitfed_v1"],
)
def test_wherever_the_server_sits_the_client_follows_it_alone(
    protocol: Protocol, cut: Any, steps: int
) -> None:
    data = load("digits", train=48, holdout=20, aux=30)
    training = Training(epochs=2, batch_size=24, optimizer="sgd", lr=0.1)
    options: dict[str, Any] = {"cut": cut, "protocol": protocol, "targets": Targets(count=5)}
    thieves = [replace(FSHA.smoke(), scale=scale) for scale in (0.0, 1.0)]
    paused, moved = (
        train(network, data, training=training, active=thief, **options) for thief in thieves
    )
    untrained = train(network, data, training=replace(training, epochs=0), **options)
    still, away, start = (weights(v.client.client) for v in (paused, moved, untrained))
    torch.testing.assert_close(still, start)  # scale 0: zero gradients, under plain SGD
    assert not torch.allclose(away, start)
    outcome = attack(moved, thieves[1]).outcome
    assert outcome.diagnostics["steps"] == steps  # one attacker hears all batches of all clients


def test_a_loss_of_the_clients_own_adds_to_the_hijack() -> None:
    data = load("digits", train=48, holdout=20, aux=30)
    training = Training(epochs=1, batch_size=24, optimizer="sgd", lr=0.1)
    moved = [
        weights(
            train(
                network, data, cut="cut", training=training, targets=Targets(count=5),
                defense=defense, active=replace(FSHA.smoke(), scale=scale),
            ).client.client
        )
        for defense, scale in ((NoPeek(), 0.0), (NoPeek(), 1.0), (None, 0.0))
    ]  # fmt: skip
    assert not torch.equal(moved[0], moved[2])  # NoPeek moves it without the attacker,
    assert not torch.equal(moved[0], moved[1])  # and the attacker in spite of NoPeek


def test_it_is_refused_where_nobody_learns_from_a_servers_gradients() -> None:
    data = load("digits", train=48, holdout=20, aux=30)
    with pytest.raises(ThreatModelError, match="no server does"):
        train(network, data, cut="cut", protocol=LocalLoss(), active=FSHA.smoke())
