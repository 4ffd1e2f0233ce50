"""Parties with blocks of features: the deployed path, their batches, and their first weights."""

from dataclasses import replace

import pytest
import torch
from support.feature_blocks import EACH, replay
from support.feature_networks import Monolith, parts, play_parts, schedule, weights
from support.tiny import ADAM, EPOCHS, SGD, close, data, flat, play

from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.protocols import ExtendedVanilla, Protocol, Vanilla, Vertical
from sltoolkit.streams import Stream
from sltoolkit.training.phases import deploy

pytestmark = pytest.mark.golden


@EACH
def test_the_deployed_path_passes_all_hops(protocol: Protocol) -> None:
    run, log = replay(protocol, SGD)
    whole = Monolith(run).learn(schedule(log), SGD)
    (member,), server = deploy(run)
    x = data().private_holdout.x
    sent = member.smash(x, Stream(3), hops=len(member.hops))[1]
    close(server(sent), whole(x))
    assert len(member.hops) == isinstance(protocol, ExtendedVanilla)


@EACH
def test_all_parties_see_the_same_samples_in_vanilla_s_order(protocol: Protocol) -> None:
    _, log = replay(protocol, SGD)
    _, vanilla = play(Vanilla())
    assert torch.equal(torch.cat(schedule(log)), torch.cat(vanilla.batches()))
    expected = dict(enumerate(vanilla.batches()))
    for name in ("client", "partner1", "partner2"):
        sent = log.sent("smashed", name)
        assert {m.turn.step for m in sent} == set(expected)
        assert all(torch.equal(m.turn.ids, expected[m.turn.step]) for m in sent)
    assert {m.turn.step for m in log.messages} == set(range(EPOCHS * 5))


@EACH
def test_parties_start_apart_with_streams_of_their_own(protocol: Protocol) -> None:
    run, _ = replay(protocol, SGD, "mlp")
    more, _ = replay(replace(protocol, clients=3), SGD, "mlp")
    starts = [flat(m.initial[0]) for m in run.cast.clients]
    assert all(not torch.equal(starts[i], starts[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert all(
        torch.equal(s, flat(m.initial[0])) for s, m in zip(starts, more.cast.clients, strict=True)
    )
    rests = [flat(h.initial) for h in run.cast.servers]
    assert len(rests) == 1 or not torch.equal(*rests)


def test_the_first_party_keeps_what_fits_and_draws_anew_what_does_not() -> None:
    head = parts(2)[0]
    run, _ = replay(Vertical(clients=2), SGD)
    assert torch.equal(flat(run.cast.clients[0].initial[0]), flat(head))
    run, _ = replay(Vertical(clients=2), SGD, "mlp")
    fitted, whole = run.cast.clients[0].initial[0][1], parts(2, "mlp")[0][1]  # type: ignore[index]
    assert tuple(fitted.weight.shape) == (8, 18)
    assert not torch.equal(fitted.bias, whole.bias)


def test_no_defense_is_bit_identical_to_the_seams_doing_nothing() -> None:
    plain = play_parts(Vertical(clients=3), parts(2), ADAM, defense=NoDefense())[0]
    seams = play_parts(Vertical(clients=3), parts(2), ADAM, defense=Defense())[0]
    assert torch.equal(weights(plain), weights(seams))
