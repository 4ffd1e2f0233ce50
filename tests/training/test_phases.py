"""Training a victim: which party gets what, phases and epochs, divergence, deployment."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import pytest
import torch
from contract.example_defenses import LearnedNoise
from support.toys import QUICK, differences, module_state, network, seated, split, victim, witness
from torch import Tensor, nn

from sltoolkit import models
from sltoolkit.api import train
from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.data.partition import Dealt, deal
from sltoolkit.errors import ProtocolError, SpecError
from sltoolkit.models.resize import reinitialize
from sltoolkit.parties.honest import HonestServer
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Protocol, UShaped, Vanilla
from sltoolkit.streams import Stream
from sltoolkit.training.casting import task_of
from sltoolkit.training.deployed import settle
from sltoolkit.training.phases import deploy, run_phases
from sltoolkit.training.run import seat_parties, with_format
from sltoolkit.wire.turn import Phase


def weights(run: Any) -> dict[str, Any]:
    """The weights of every network of a run."""
    modules = {f"client{k}": m.party.module for k, m in enumerate(run.cast.clients)}
    modules["server"] = run.cast.server.party.module
    return {f"{k}.{n}": v.clone() for k, m in modules.items() for n, v in m.state_dict().items()}


@pytest.mark.parametrize("lr", [1e10, 1e38])
def test_a_training_that_diverges_says_when_and_what_to_do(lr: float) -> None:
    with pytest.raises(ProtocolError, match=r"diverged in epoch \d of 3 .*lower the learning rate"):
        victim(norm="batch", training=Training(epochs=3, lr=lr, optimizer="sgd"))


def test_every_sample_is_sent_once_per_epoch_in_a_fresh_order() -> None:
    seen = witness(seated(), epochs=3)
    sent = [(m.turn.epoch, m.turn.ids) for m in seen.heard if m.kind == "smashed"]
    orders = [torch.cat([ids for epoch, ids in sent if epoch == e]) for e in range(3)]
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(48))
    assert not torch.equal(orders[0], orders[1])
    assert [m.turn.step for m in seen.heard if m.kind == "smashed"] == list(range(9))


@final
@dataclass(kw_only=True, eq=False)
class OneEpoch(Defense):
    """Trains for one epoch, whatever the training says."""

    citation: ClassVar[str] = "nobody 2026"
    phases: ClassVar[tuple[Phase, ...]] = (Phase("train", 1),)


@pytest.mark.parametrize(
    ("defense", "total"), [(None, 2), (LearnedNoise(epochs=3), 5), (OneEpoch(), 1)]
)
def test_progress_counts_the_epochs_of_all_phases(defense: Defense | None, total: int) -> None:
    calls: list[tuple[int, int]] = []
    trained = victim(defense, progress=lambda done, of: calls.append((done, of)))
    assert calls == [(k + 1, total) for k in range(total)]
    assert len(trained.losses) == total
    assert all(loss > 0 for loss in trained.losses)


def test_losses_are_means_over_batches_and_fall() -> None:
    seen = witness(seated(dropout=0.0), epochs=8)
    assert seen.losses[-1] < 0.5 * seen.losses[0]


@pytest.mark.parametrize("clients", [1, 5, 48])
def test_samples_are_dealt_out_completely_and_evenly(clients: int) -> None:
    whole = split().private_train
    shards = deal(whole, clients, Dealt(), Stream(0))
    assert Counter(torch.cat([s.ids for s in shards]).tolist()) == Counter(whole.ids.tolist())
    sizes = [len(s) for s in shards]
    assert max(sizes) - min(sizes) <= 1
    for shard in shards:  # rows stay together
        assert torch.equal(shard.x, whole.x[shard.ids])
        assert torch.equal(shard.y, whole.y[shard.ids])


@pytest.mark.parametrize("clients", [0, -1, 49])
def test_an_impossible_number_of_clients_is_refused(clients: int) -> None:
    with pytest.raises(ProtocolError, match=f"{clients} clients can't share 48"):
        deal(split().private_train, clients, Dealt(), Stream(0))


def test_the_wrong_number_of_parts_is_refused() -> None:
    with pytest.raises(ProtocolError, match=r"UShaped needs the network in 3 parts, got 2.*2 cut"):
        train(network, split(), cut="drop", protocol=UShaped())


def test_inputs_that_the_client_cannot_take_are_refused() -> None:
    parts = models.cut(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 3)), 0)
    with pytest.raises(SpecError, match="can't take inputs of shape 1x8x8"):
        task_of(parts[0], split().private_train, split())


def test_the_task_states_the_shapes_and_leaves_the_networks_alone() -> None:
    parts = models.cut(network("batch"), "drop")
    before = module_state(parts[0])
    task = task_of(parts[0], split().private_train, split())
    assert (task.input_shape, task.smashed_shape, task.classes) == ((1, 8, 8), (4, 8, 8), 3)
    assert differences(before, module_state(parts[0])) == []


@pytest.mark.parametrize("protocol", [Vanilla(), UShaped(), Vanilla(clients=2, handover="none")])
def test_without_training_nobody_learns(protocol: Protocol) -> None:
    run = seated(training=None, norm="batch", protocol=protocol)
    before = weights(run)
    seen = witness(run)
    assert differences(before, weights(run)) == []
    assert seen.payloads("smashed_grad")[0].abs().sum() > 0  # gradients flow all the same


def test_the_given_networks_are_not_trained_in_place() -> None:
    parts = models.cut(network("batch"), "drop")
    before = [module_state(p) for p in parts]
    run = seat_parties(
        parts, split(), protocol=Vanilla(), defense=NoDefense(), training=QUICK, rng=Stream(0)
    )
    run_phases(run, 1)
    for part, state in zip(parts, before, strict=True):
        assert differences(state, module_state(part)) == []


def test_private_clients_start_apart_and_handed_over_ones_alike() -> None:
    apart = seated(protocol=Vanilla(clients=3, handover="none"))
    alike = seated(protocol=Vanilla(clients=3))
    first, second, third = (m.party.module.state_dict() for m in apart.cast.clients)
    assert not torch.equal(first["conv.weight"], second["conv.weight"])
    assert not torch.equal(second["conv.weight"], third["conv.weight"])
    one, other, _ = (m.party.module.state_dict() for m in alike.cast.clients)
    assert torch.equal(one["conv.weight"], other["conv.weight"])


def test_what_is_deployed_is_the_last_to_have_learned_or_every_private_client() -> None:
    handed = witness(seated(protocol=Vanilla(clients=3))).run
    (member,) = deploy(handed)[0]
    last = handed.cast.clients[-1].party.module.state_dict()
    assert differences(member.client.state_dict(), last) == []
    assert len(member.samples) == 48
    apart = witness(seated(protocol=Vanilla(clients=3, handover="none"))).run
    members = deploy(apart)[0]
    assert [len(m.samples) for m in members] == [16, 16, 16]
    for deployed, live in zip(members, apart.cast.clients, strict=True):
        assert differences(deployed.client.state_dict(), live.party.module.state_dict()) == []


def test_what_is_deployed_is_in_evaluation_mode_and_frozen() -> None:
    members, server = deploy(witness(seated(norm="batch", protocol=UShaped())).run)
    tail = members[0].tail
    assert tail is not None
    for module in (members[0].client, tail, server):
        assert not any(layer.training for layer in module.modules())
        assert not any(p.requires_grad for p in module.parameters())


def test_settling_copies() -> None:
    source, blank = nn.Linear(2, 2), nn.Linear(2, 2)
    before = module_state(blank)
    settled = settle(blank, source.state_dict())
    assert differences(settled.state_dict(), source.state_dict()) == []
    assert differences(before, module_state(blank)) == []


def test_one_seed_gives_one_victim_and_another_seed_another() -> None:
    def state(seed: int) -> dict[str, Any]:
        trained = victim(norm="batch", seed=seed)
        return {**trained.client.client.state_dict(), **trained.server.state_dict()}

    assert differences(state(0), state(0)) == []
    assert len(differences(state(0), state(1))) >= 10


def test_channels_last_changes_the_memory_format_and_not_the_result() -> None:
    data, exact = split(), Training(epochs=3, batch_size=16, lr=0.05, optimizer="sgd")
    runs = []
    for training in (exact, replace(exact, channels_last=True)):
        with Stream(0).scope():
            parts = models.cut(wide(), 1)
        placed = with_format(parts, data, training)
        run = seat_parties(
            parts, placed, protocol=Vanilla(), defense=NoDefense(), training=training, rng=Stream(0)
        )
        runs.append((run, run_phases(run, 3), placed))
    (plain, losses, _), (fast, same, placed) = runs
    assert placed.private_train.x.is_contiguous(memory_format=torch.channels_last)
    first: Tensor = fast.cast.clients[0].party.module.state_dict()["0.weight"]
    assert first.is_contiguous(memory_format=torch.channels_last)
    assert placed.digests == data.digests
    assert losses == pytest.approx(same, rel=1e-4)
    for a, b in zip(weights(plain).values(), weights(fast).values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def wide() -> nn.Sequential:
    """More than one channel, so that formats differ."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 3)
    )


def test_features_have_no_memory_format() -> None:
    data = split()
    flat = replace(data, private_train=replace(data.private_train, x=torch.rand(48, 5)))
    assert with_format((nn.Linear(5, 3),), flat, Training(channels_last=True)) is flat


def test_reinitializing_draws_every_weight_from_the_scope() -> None:
    def drawn(seed: int, start: Callable[[Tensor], Tensor]) -> dict[str, Any]:
        module = nn.Sequential(network("batch"), nn.MultiheadAttention(4, 2), nn.PReLU())
        for p in module.parameters():
            p.data = start(p.data)
        with Stream(seed).scope():
            reinitialize(module)
        return module.state_dict()

    zeros, ones = drawn(0, torch.zeros_like), drawn(0, torch.ones_like)
    assert differences(zeros, ones) == []  # nothing is left of what was there
    assert differences(zeros, drawn(1, torch.zeros_like)) != []


def test_unknown_optimizers_are_refused_and_networks_without_weights_have_none() -> None:
    with pytest.raises(SpecError, match="did you mean 'adam'"):
        Training(optimizer="adamw").optimizer_for(nn.Linear(2, 2))
    assert Training().optimizer_for(nn.Flatten()) is None


def test_optimizers_get_their_settings() -> None:
    training = Training(optimizer="sgd", lr=0.3, momentum=0.7, weight_decay=0.1)
    optimizer = training.optimizer_for(nn.Linear(2, 2))
    assert optimizer is not None
    found = optimizer.param_groups[0]
    assert (found["lr"], found["momentum"], found["weight_decay"]) == (0.3, 0.7, 0.1)


def test_a_client_without_weights_trains_its_server() -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

    trained = train(make, split(), cut=0, training=Training(epochs=12, lr=0.05), targets=None)
    assert trained.utility > 0.8


def test_optimizer_states_persist_across_epochs() -> None:
    run = seated()
    witness(run)
    server = run.cast.server.party
    assert isinstance(server, HonestServer)
    assert server.optimizer is not None
    momenta = [s["momentum_buffer"] for s in server.optimizer.state.values()]
    assert len(momenta) == len(list(server.module.parameters()))
