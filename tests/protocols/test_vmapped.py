"""Clients that compute together do, hear and send the same as one by one."""

from collections import defaultdict
from dataclasses import replace

import pytest
import torch
from support.tiny import ADAM, MOMENTUM, SGD
from support.tiny import data as tiny_data
from support.vmapped import PROTOCOLS, Played, network, play
from together import held
from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense
from sltoolkit.defenses import GaussianNoise, NoPeek
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Protocol, SplitFedV1
from sltoolkit.protocols import _vmapped as together
from sltoolkit.testing.ears import RecordingEar

pytestmark = pytest.mark.golden


def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "ROWS", 1)


def same(a: Played, b: Played, *, atol: float) -> None:
    (mine, my_log, my_results), (theirs, their_log, their_results) = a, b
    torch.testing.assert_close(my_results, their_results, rtol=0, atol=atol)
    assert mine.cast.wire.tolls == theirs.cast.wire.tolls
    my_links, their_links = _by_link(my_log), _by_link(their_log)
    assert list(my_links) == list(their_links)
    for link, said in my_links.items():
        assert [turn for turn, _ in said] == [turn for turn, _ in their_links[link]]
        torch.testing.assert_close(
            [t for _, t in said], [t for _, t in their_links[link]], rtol=0, atol=atol
        )


def _by_link(log: RecordingEar) -> dict[tuple[str, str, str], list[tuple[list[int], Tensor]]]:
    links = defaultdict(list)
    for m in log.messages:
        turn = [m.turn.epoch, m.turn.step, *m.turn.ids.tolist()]
        links[m.kind, str(m.src), str(m.dst)].append((turn, m.payload))
    return dict(sorted(links.items()))


@pytest.mark.parametrize("training", [ADAM, MOMENTUM], ids=["adam", "momentum"])
@pytest.mark.parametrize("protocol", PROTOCOLS, ids=["v1", "v1-some", "v3"])
def test_together_is_one_by_one(
    protocol: Protocol, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = play(protocol, training, tiny_data())
    one_by_one(monkeypatch)
    same(at_once, play(protocol, training, tiny_data()), atol=1e-10)


@pytest.mark.parametrize("defense", [GaussianNoise(std=0.1), NoPeek(weight=0.1)], ids=str)
def test_with_defenses_too(defense: Defense, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = play(PROTOCOLS[0], ADAM, tiny_data(), defense=defense)
    one_by_one(monkeypatch)
    same(at_once, play(PROTOCOLS[0], ADAM, tiny_data(), defense=defense), atol=1e-10)


def test_in_single_precision_up_to_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiny_data()
    data = replace(data, private_train=replace(data.private_train, x=data.private_train.x.float()))
    at_once = play(PROTOCOLS[0], SGD, data)
    one_by_one(monkeypatch)
    same(at_once, play(PROTOCOLS[0], SGD, data), atol=1e-6)


@pytest.mark.parametrize("rows", [7, 10, 100])
def test_at_most_so_many_rows_at_once(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "ROWS", rows)
    sizes = _spied(monkeypatch)
    # shards of 6, 6, 5, 5: four batches of 5, then two of 1
    play(SplitFedV1(clients=4), replace(SGD, epochs=1), tiny_data())
    assert sizes == {7: [2], 10: [2, 2, 2], 100: [4, 2]}[rows]


def test_large_batches_run_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "LARGEST", 4)
    sizes = _spied(monkeypatch)
    play(SplitFedV1(clients=4), replace(SGD, epochs=1), tiny_data())
    assert sizes == [2]  # of the batches of 5 and 1


@pytest.mark.parametrize(
    "layer", [nn.BatchNorm2d(2), nn.Dropout(0.5), nn.ReLU(inplace=True)], ids=str
)
def test_networks_that_draw_or_count_run_one_by_one(
    layer: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = _spied(monkeypatch)
    training = replace(SGD, epochs=1)
    play(PROTOCOLS[0], training, tiny_data(), parts=network(layer))
    assert sizes == []
    play(PROTOCOLS[0], training, tiny_data(), parts=network(nn.ReLU()))
    assert sizes


def test_clients_count_what_they_compute() -> None:
    run, _, _ = play(PROTOCOLS[0], replace(SGD, epochs=1), tiny_data())
    parties = [*(m.party for m in run.cast.clients), *(h.party for h in run.cast.servers)]
    assert [party.laps for party in parties] == [[(8, 8)], [(7, 7)], [(7, 7)]] * 2  # type: ignore[union-attr]


def _spied(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    sizes: list[int] = []
    converse = together.converse_vmapped

    def spy(pairs: list[together.Pair], wire: object) -> None:
        sizes.append(len(pairs))
        converse(pairs, wire)  # type: ignore[arg-type]

    monkeypatch.setattr(together, "converse_vmapped", spy)
    return sizes


@pytest.mark.parametrize(("rounds", "networks"), [(0, 1), (3, 3)])
def test_a_client_that_stays_away_holds_its_network_and_its_optimizers_memory_alone(
    rounds: int, networks: int
) -> None:
    few, many = (held(clients, 5, rounds=rounds) for clients in (20, 60))
    head = 8 * 25 + 8 + 16 * 8 * 25 + 16  # LeNet's convolutions; Adam's moments are two more
    assert (many - few) / 40 <= networks * head * 4
