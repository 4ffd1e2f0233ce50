"""PCAT against its equations, and what it must and must not depend on."""

from dataclasses import replace
from unittest import mock

import pytest
import torch
from support import listeners as sim
from support import toys
from torch import Tensor, nn

from sltoolkit.adversary import training_rehearsal
from sltoolkit.adversary.training_setup import TrainingSetup
from sltoolkit.attacks.listening._substitute import Batch, Substitute, SubstituteView
from sltoolkit.attacks.listening.pcat import PCAT, PseudoClient
from sltoolkit.contracts.attack import BatchView
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.knowledge import Aux
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.errors import SpecError
from sltoolkit.parties.honest import HonestServer
from sltoolkit.referee.sessions import ListeningSession
from sltoolkit.streams import Stream

pytestmark = pytest.mark.golden


def ear(attack: PCAT, first: BatchView) -> PseudoClient:
    tap = attack.open(sim.before(), first, rng=Stream(3))
    assert isinstance(tap, PseudoClient)
    return tap


def substitute(batch: BatchView) -> Substitute:
    with Stream(5).scope():
        return Substitute(
            sim.before(), Batch.of(batch), conditional=False, lr=1e-3, decoder_lr=5e-4, width=4,
            rng=Stream(4),
        )  # fmt: skip


@pytest.mark.parametrize("labels", [True, False], ids=["vanilla", "u_shaped"])
def test_two_steps_are_those_of_the_equations(labels: bool) -> None:
    attack, fs = replace(PCAT.paper(), width=4), sim.server(3 if labels else 5)
    batches = [sim.heard(fs, labels=labels, seed=s) for s in (0, 1)]
    tap, twins = ear(attack, batches[0]), substitute(batches[0])
    client, client_step = sim.twin(twins.client, 1e-3)
    decoder, decoder_step = sim.twin(twins.decoder, 5e-4)
    tail: nn.Module = nn.Identity()
    steps = [client_step]
    if twins.tail is not None:
        tail, tail_step = sim.twin(twins.tail, 1e-3)
        steps.append(tail_step)
    tap.substitute = twins
    with mock.patch.object(Substitute, "draw_alike", lambda self, y: sim.draws(self)), \
         mock.patch.object(Substitute, "draw", lambda self, n: sim.draws(self)):  # fmt: skip
        for batch in batches:
            tap.hear(batch)
    x, y = sim.draws(twins)
    for _ in batches:
        sim.follow(sim.cross_entropy(tail(fs(client(x).clone())), y), *steps)
        codes = client(x).detach()
        sim.follow(sim.squared(decoder(codes), x), decoder_step)
    sim.same(twins.client.network, client)
    sim.same(twins.decoder.network, decoder)
    if twins.tail is not None:
        sim.same(twins.tail.network, tail)


def test_the_servers_replica_gets_no_gradients_and_keeps_its_state() -> None:
    fs = sim.server().requires_grad_(True)
    state = toys.module_state(fs)
    first = sim.heard(fs)
    ear(replace(PCAT.paper(), width=4), first).hear(first)
    assert toys.differences(state, toys.module_state(fs)) == []


def test_with_the_victims_client_and_data_the_loss_is_the_victims() -> None:
    # f^ := f_c and x' := x, in a network that computes the same in training and evaluation
    run = toys.seated(dropout=0.0)
    me, host, data = run.cast.clients[0].party, run.cast.server.party, run.data.private_train
    setup = TrainingSetup(
        aux=Aux(x=data.x, y=data.y),
        task=run.task,
        client_arch=lambda stream: me.module,
        mechanism=None,
    )
    assert isinstance(host, HonestServer)
    x, y = data.x[:16], data.y[:16]
    z = me.forward(x)
    own = Substitute(
        setup, Batch(z.detach(), y, host.module), conditional=False, lr=1.0, decoder_lr=1.0,
        width=2, rng=Stream(0),
    )  # fmt: skip
    loss = own.task_loss(host.module, own.client(x), y)
    host.step(z.detach().clone(), y)
    torch.testing.assert_close(loss, host.take_losses()[0], rtol=1e-6, atol=0)


def test_own_samples_have_the_labels_of_the_batch() -> None:
    own = substitute(sim.heard(sim.server()))
    y = torch.tensor([0, 2, 2, 1, 0])
    x, drawn = own.draw_alike(y)
    assert torch.equal(drawn, y)
    for image, c in zip(x, y, strict=True):
        pool = own.aux.x[own.aux.y == c]
        assert bool((pool == image).flatten(1).all(1).any())
    many = own.draw_alike(torch.full((4000,), 1))[0].flatten(1)
    pool = own.aux.x[own.aux.y == 1].flatten(1)
    counts = (many[:, None] == pool[None]).all(2).sum(0)
    assert int(counts.sum()) == 4000  # each of them equally often: within five standard errors
    expected = 4000 / len(pool)
    assert bool(((counts - expected).abs() < 5 * expected**0.5).all())


def test_labels_that_no_own_sample_has_are_left_out() -> None:
    own = substitute(sim.heard(sim.server()))
    own.aux.y.clamp_(max=1)
    twin = Substitute(
        TrainingSetup(aux=own.aux, task=sim.TASK, client_arch=sim.client, mechanism=None),
        Batch(torch.zeros(2, *sim.CODES), torch.zeros(2).long(), sim.server()),
        conditional=False, lr=1.0, decoder_lr=1.0, width=2, rng=Stream(0),
    )  # fmt: skip
    assert twin.draw_alike(torch.tensor([2, 0, 2, 1]))[1].tolist() == [0, 1]
    batch = sim.heard(sim.server())
    tap = ear(replace(PCAT.paper(), width=4), batch)
    tap.substitute = twin
    batch.messages["labels", "in"].fill_(2)
    tap.hear(batch)  # nothing to learn from
    assert twin.losses.each == {}


def test_it_skips_the_batches_before_its_late_start() -> None:
    sessions = [
        ListeningSession(
            replace(PCAT.paper(), width=4, refine_steps=0, late_start=n), sim.before(), Stream(3)
        )
        for n in (0, 2, 3)
    ]  # fmt: skip
    for step in range(3):
        batch = replace(sim.heard(sim.server(), seed=step), step=step)
        for session in sessions:
            session.hear(batch)
    view = SubstituteView(smashed=torch.zeros(1, 2, *sim.CODES).double(), labels=None)
    assert [s.finish(view).diagnostics["steps"] for s in sessions[:2]] == [3.0, 1.0]
    with pytest.raises(SpecError, match="PCAT heard no batch"):
        sessions[2].finish(view)


def test_a_rehearsal_is_learned_from_all_the_way_and_the_late_start_remains() -> None:
    attack = PCAT(width=4, refine_steps=0, late_start=training_rehearsal.BATCHES)
    steps: list[float] = []
    finish = PseudoClient.finish

    def noting(self: PseudoClient, view: SubstituteView) -> Reconstruction:
        found = finish(self, view)
        steps.append(found.diagnostics["steps"])
        return found

    with mock.patch.object(training_rehearsal, "BATCHES", 2), \
         mock.patch.object(PseudoClient, "finish", noting):  # fmt: skip
        best = training_rehearsal.tuned_listener(
            attack, sim.before(), sim.heard(sim.server()), rng=Stream(0)
        )
    assert steps == [2.0] * 4 * training_rehearsal.VICTIMS  # four settings, each of which learned
    assert None not in (best.lr, best.decoder_lr)
    assert best == replace(attack, lr=best.lr, decoder_lr=best.decoder_lr, loss="mse")


def test_refined_signals_stay_in_range() -> None:
    def draw(*shape: int) -> Tensor:
        return torch.rand(8, *shape, generator=torch.Generator().manual_seed(0))

    task = Task(input_shape=(2, 12), smashed_shape=(4, 6), classes=2)
    aux = Aux(x=draw(2, 12), y=torch.arange(8) % 2)
    fs = nn.Sequential(nn.Flatten(), nn.Linear(24, 2)).eval().requires_grad_(False)
    heard = replace(sim.heard(fs), messages={
        ("smashed", "in"): draw(4, 6), ("labels", "in"): aux.y,
    })  # fmt: skip
    attack = replace(PCAT.smoke(), refine_lr=3.0)
    tap = attack.open(
        TrainingSetup(aux=aux, task=task, client_arch=None, mechanism=None), heard, rng=Stream(3)
    )
    tap.hear(heard)
    found = tap.finish(SubstituteView(smashed=draw(4, 6)[None], labels=None))
    assert isinstance(found, Reconstruction)
    assert 0 <= found.images.min() <= found.images.max() <= 1


def test_refining_descends_on_the_pseudo_clients_feature_error() -> None:
    losses = []
    for steps in (0, 5, 50):
        batches = [sim.heard(sim.server(), seed=seed) for seed in range(3)]
        with Stream(9).scope():
            tap = ear(replace(PCAT.paper(), width=4, refine_steps=steps), batches[0])
            for batch in batches:
                tap.hear(batch)
            target = sim.heard(sim.server(), seed=7).messages["smashed", "in"]
            outcome = tap.finish(SubstituteView(smashed=target[None], labels=None))
        losses.append(outcome.diagnostics["feature_loss"])
        assert 0 <= float(outcome.images.min()) <= float(outcome.images.max()) <= 1
        again = tap.finish(SubstituteView(smashed=target[None], labels=None))
        assert torch.equal(again.images, outcome.images)
    assert losses[0] > losses[1] > losses[2]


@pytest.mark.parametrize("labels", [True, False], ids=["vanilla", "u_shaped"])
def test_without_labels_its_tail_guesses_them_behind_the_targets_smashed_data(labels: bool) -> None:
    fs = sim.server(3 if labels else 5)
    first = sim.heard(fs, labels=labels)
    tap = ear(replace(PCAT.paper(), width=4, refine_steps=1), first)
    tap.hear(first)
    targets = sim.heard(sim.server(), seed=4).messages["smashed", "in"]
    guess = tap.finish(SubstituteView(smashed=targets[None], labels=None)).guess
    assert (guess is None) == labels
    if guess is not None:
        assert tap.substitute.tail is not None
        with torch.no_grad():
            expected = tap.substitute.tail.network.eval()(fs.eval()(targets))
        torch.testing.assert_close(guess, expected)
        assert guess.shape == (len(targets), 3)


@pytest.mark.parametrize("labels", [True, False], ids=["vanilla", "u_shaped"])
def test_it_hands_back_the_whole_model_that_it_stole(labels: bool) -> None:
    fs = sim.server(3 if labels else 5)
    first = sim.heard(fs, labels=labels)
    tap = ear(replace(PCAT.paper(), width=4, refine_steps=1), first)
    tap.hear(first)
    targets = sim.heard(fs).messages["smashed", "in"]
    outcome = tap.finish(SubstituteView(smashed=targets[None], labels=None))
    twins, x = tap.substitute, sim.own_samples().x
    assert outcome.model is not None
    features = fs(twins.client.network.eval()(x))
    logits = features if twins.tail is None else twins.tail.network.eval()(features)
    torch.testing.assert_close(outcome.model(x), logits)
