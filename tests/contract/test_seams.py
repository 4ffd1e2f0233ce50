"""The seams of a defense that no registered defense uses yet."""

import itertools
from typing import Any

import pytest
import torch
from support.toys import QUICK, differences, module_state, seated, split, witness
from support.toys import victim as trained
from torch import Tensor
from torch.nn import functional

from contract.example_defenses import LearnedNoise, Refuse, SoftLabels
from sltoolkit.api import frozen
from sltoolkit.contracts.chain import Chain
from sltoolkit.contracts.defense import Defense
from sltoolkit.protocols import Protocol, UShaped, Vanilla
from sltoolkit.streams import Stream
from sltoolkit.training.guarded import Guarded
from sltoolkit.training.phases import deploy
from sltoolkit.training.run import Run

PROTOCOLS = pytest.mark.parametrize("protocol", [Vanilla(), UShaped()], ids=["vanilla", "u"])


def live(run: Run, kind: type[Defense] = Defense, k: int = 0) -> Any:
    """A client's own copy of the defense."""
    guarded = run.cast.clients[k].defense
    assert isinstance(guarded, Guarded)
    assert isinstance(guarded.inner, kind)
    return guarded.inner


def networks(run: Run) -> dict[str, Any]:
    """All weights and buffers of the run's networks."""
    modules = {"server": run.cast.server.party.module, "client": run.cast.clients[0].party.module}  # type: ignore[union-attr]
    if run.cast.clients[0].tail is not None:
        modules["tail"] = run.cast.clients[0].tail.module
    return {f"{k}.{n}": v for k, m in modules.items() for n, v in m.state_dict().items()}


@PROTOCOLS
def test_a_fit_phase_moves_the_noise_and_neither_network(protocol: Protocol) -> None:
    runs = [
        witness(seated(LearnedNoise(epochs=n), norm="batch", protocol=protocol)).run for n in (0, 3)
    ]
    assert differences(networks(runs[0]), networks(runs[1])) == []
    noises = [module_state(live(run).learned()["noise"])["values"] for run in runs]
    assert bool((noises[1] != noises[0]).all())
    assert noises[1].abs().mean() > noises[0].abs().mean()  # its loss rewards large noise


def test_in_the_fit_phase_the_noise_follows_the_task() -> None:
    # without the reward, the noise learns only from the gradient on the wire
    run = witness(seated(LearnedNoise(weight=0.0), norm="batch")).run
    start = witness(seated(LearnedNoise(weight=0.0, epochs=0), norm="batch")).run
    moved, still = (live(r).learned()["noise"].values for r in (run, start))
    assert (moved - still).abs().max() > 0.01


def test_the_fit_phase_is_seen_on_the_wire_and_hidden_from_recordings() -> None:
    seen = witness(seated(LearnedNoise(epochs=2)))
    assert len(seen.payloads("smashed", "fit")) == 2 * len(seen.payloads("smashed")) / 2
    victim = trained(LearnedNoise(epochs=2))
    assert len(victim.losses) == 4  # two epochs of each phase
    (link,) = [x for x in victim.transcript.links() if x.kind == "smashed_grad"]
    assert victim.transcript.record(link).steps.max() < 6  # only those of the training


def test_the_learned_noise_is_deployed() -> None:
    victim = trained(LearnedNoise())
    clean, sent = victim.client.replica().smash(split().private_holdout.x, Stream(0))
    noise = victim.client.defense.learned()["noise"].state_dict()["values"]
    assert torch.equal(sent, clean + noise)


def test_learned_networks_travel_with_the_weights() -> None:
    run = witness(seated(LearnedNoise(), protocol=Vanilla(clients=2))).run
    first, second = (live(run, k=k).learned()["noise"].values for k in (0, 1))
    apart = witness(seated(LearnedNoise(), protocol=Vanilla(clients=2, handover="none"))).run
    mine, theirs = (live(apart, k=k).learned()["noise"].values for k in (0, 1))
    assert (first - second).abs().mean() < 0.5 * (mine - theirs).abs().mean()


def test_a_chain_fits_in_front_of_another_defense() -> None:
    run = witness(seated(Chain(LearnedNoise(epochs=1), SoftLabels()))).run
    assert list(live(run, Chain).learned()) == ["0.noise"]
    assert deploy(run)[0][0].defense.learned().keys() == {"0.noise"}


def test_a_frozen_pair_can_fit_its_noise_and_keeps_its_weights() -> None:
    victim = trained()
    again = frozen(victim.client.client, victim.server, split(), defense=LearnedNoise())
    for name in ("client", "server"):
        a, b = (
            (v.client.client if name == "client" else v.server).state_dict()
            for v in (victim, again)
        )
        assert differences(a, b) == []


@PROTOCOLS
def test_a_refused_batch_teaches_the_client_nothing(protocol: Protocol) -> None:
    run = witness(seated(Refuse(steps=(1, 4)), protocol=protocol)).run
    weights = live(run, Refuse).weights
    moved = [not torch.equal(a, b) for a, b in itertools.pairwise(weights)]
    assert moved == [False, True, True, False, True]  # from batch 0 to 1, 1 to 2, ...


def test_a_client_that_refuses_everything_stands_still_while_the_server_learns() -> None:
    before = networks(seated(Refuse()))
    run = witness(seated(Refuse())).run
    changed = {name.split(".")[0] for name in differences(before, networks(run))}
    assert changed == {"server"}


def test_one_refusal_in_a_chain_is_the_refusal_of_all() -> None:
    before = networks(seated(Refuse()))
    run = witness(seated(Chain(SoftLabels(), Refuse(), Refuse(steps=())))).run
    assert {n.split(".")[0] for n in differences(before, networks(run))} == {"server"}


@pytest.mark.parametrize(
    "protocol", [Vanilla(), Vanilla(labels_at="server"), UShaped()], ids=["client", "server", "u"]
)
def test_label_weights_take_the_place_of_classes(protocol: Protocol) -> None:
    # one-hot weights are the classes; smoothed ones train another network
    plain, hard, soft = (
        witness(seated(d, protocol=protocol)).run
        for d in (None, SoftLabels(smoothing=0.0), SoftLabels())
    )
    for a, b in zip(networks(plain).values(), networks(hard).values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert differences(networks(hard), networks(soft)) != []


def test_label_weights_cross_the_wire_as_floats() -> None:
    seen = witness(seated(SoftLabels()))
    sent = seen.payloads("labels")
    assert {t.dtype for t in sent} == {torch.float32}
    assert [tuple(t.shape) for t in sent[:3]] == [(16, 3)] * 3
    counted = {k.kind: n for k, n in seen.run.cast.wire.bytes.items()}
    assert counted["labels"] == 2 * 48 * 3 * 4


def test_the_loss_of_label_weights_is_their_cross_entropy() -> None:
    run = seated(SoftLabels(), dropout=0.0)
    data = split().private_train
    turn_labels = SoftLabels(smoothing=0.3)
    turn_labels._classes = 3
    weights = turn_labels.labels(data.y[:8], None)  # type: ignore[arg-type]
    z: Tensor = run.cast.clients[0].party.module(data.x[:8]).detach()
    logits = run.cast.server.party.module(z.clone())  # type: ignore[union-attr]
    expected = -(weights * functional.log_softmax(logits, 1)).sum(1).mean()
    run.cast.server.party.step(z.clone(), weights)  # type: ignore[union-attr]
    torch.testing.assert_close(run.cast.server.party.take_losses()[0], expected.detach())  # type: ignore[union-attr]
    assert QUICK.epochs == 2
