"""Clients side by side, some of them missing in a round, and what is refused beforehand."""

import copy
from dataclasses import replace

import pytest
import torch
from support.rounds import Make, parts, run, weights
from support.tiny import SGD, close, flat
from support.tiny import data as tiny_data

from sltoolkit.contracts.defense import NoDefense
from sltoolkit.errors import SpecError
from sltoolkit.protocols import FedAvg, SplitFedV1, SplitFedV2
from sltoolkit.streams import Stream
from sltoolkit.training.averaging import average
from sltoolkit.training.phases import deploy, run_phases
from sltoolkit.training.run import seat_parties

pytestmark = pytest.mark.golden


def test_a_round_samples_its_share_of_the_clients() -> None:
    _, log = run(SplitFedV1(clients=6, participation=0.5), replace(SGD, epochs=8))
    rounds = [
        {m.src.index for m in log.sent("smashed", "client") if m.turn.epoch == e} for e in range(8)
    ]
    assert all(len(there) == 3 for there in rounds)
    assert set.union(*rounds) == set(range(6))


@pytest.mark.parametrize("make", [SplitFedV1, FedAvg], ids=lambda m: m.__name__)
def test_a_client_that_leaves_in_mid_round_never_reaches_the_average(make: Make) -> None:
    """Some of three clients leave; only those that stay enter the mean."""
    protocol = make(clients=3, dropout=0.5)
    training = replace(SGD, epochs=1, batch_size=2)
    seated, log = run(protocol, training, seed=4)
    stayed = sorted({m.src.index for m in log.sent("weights", "client")})
    assert stayed not in ([], [0, 1, 2]), "the seed must make some leave and some stay"
    alone = seat_parties(
        parts(), tiny_data(), protocol=make(clients=3), defense=NoDefense(), training=training,
        rng=Stream(4),
    )  # fmt: skip
    run_phases(alone, 1)  # the same clients, which never meet each other within a round
    states = [
        [copy.deepcopy(n.state_dict()) for n in alone.cast.clients[k].networks()] for k in stayed
    ]
    counts = [len(alone.cast.clients[k].samples) for k in stayed]
    expected = [average(list(each), counts) for each in zip(*states, strict=True)]
    member = deploy(seated)[0][0]
    got = [member.client] if member.tail is None else [member.client, member.tail]
    for network, want in zip(got, expected, strict=True):
        for name, value in network.state_dict().items():
            close(value, want[name])


def test_a_client_that_comes_back_starts_from_the_common_networks() -> None:
    training = replace(SGD, epochs=6, batch_size=2)
    seated, log = run(SplitFedV2(clients=3, dropout=0.5), training, seed=1)
    down, up = log.sent("weights", "fed"), log.sent("weights", "client")
    stayed = {(m.turn.epoch, m.src.index) for m in up}
    missed = {(e, k) for e in range(6) for k in range(3)} - stayed
    back = [(e, k) for e, k in missed if (e + 1, k) not in missed and e + 1 < 6]
    assert back, "the seed must make somebody leave and come back"
    for epoch, k in back:
        rows = [m.payload for m in down if m.turn.epoch == epoch + 1 and m.dst.index == k]
        others = [m.payload for m in down if m.turn.epoch == epoch + 1 and m.dst.index != k]
        assert all(torch.equal(a, b) for a, b in zip(rows, others, strict=False))
    assert bool(torch.isfinite(weights(seated)).all())


def test_when_everybody_leaves_nothing_changes() -> None:
    seated, log = run(SplitFedV1(clients=2, dropout=0.999), replace(SGD, epochs=2), seed=3)
    assert not log.sent("weights", "client")
    close(weights(seated), flat(*parts()))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"participation": 0.0}, "participation must be a number above 0"),
        ({"participation": 1.5}, "at most 1"),
        ({"dropout": 1.0}, "dropout must be a number of at least 0 and below 1"),
    ],
)
def test_impossible_shares_are_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        SplitFedV1(clients=2, **wrong)
