"""Weighted means of states, buffers of every kind, and a server's copies."""

import pytest
import torch
from torch import nn

from sltoolkit.contracts.defense import NoDefense
from sltoolkit.parties.honest import HonestServer
from sltoolkit.streams import Stream
from sltoolkit.training.averaging import Copies, average, kinds_of, load
from sltoolkit.training.member import Host
from sltoolkit.wire.message import SERVER


def state(*values: float, counted: int = 0) -> dict[str, torch.Tensor]:
    return {"w": torch.tensor(values, dtype=torch.float64), "n": torch.tensor(counted)}


def test_floats_are_averaged_by_count_and_of_integers_the_largest_is_kept() -> None:
    mean = average([state(1.0, 5.0, counted=3), state(5.0, 1.0, counted=7)], [3, 1])

    assert mean["w"].tolist() == [2.0, 4.0]
    assert mean["n"].item() == 7
    assert mean["n"].dtype == torch.int64


def test_the_mean_of_one_is_itself_whatever_its_count() -> None:
    for count in (1, 17):
        assert torch.equal(average([state(0.1, 0.2)], [count])["w"], state(0.1, 0.2)["w"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_the_mean_has_the_dtype_of_what_is_averaged(dtype: torch.dtype) -> None:
    states = [{"w": torch.ones(3, dtype=dtype)}, {"w": torch.zeros(3, dtype=dtype)}]

    assert average(states, [1, 1])["w"].dtype == dtype


def test_a_boolean_buffer_is_true_where_one_of_them_is() -> None:
    states = [{"seen": torch.tensor([True, False, False])}, {"seen": torch.tensor([0, 1, 0]) > 0}]

    assert average(states, [1, 1])["seen"].tolist() == [True, True, False]


def test_loading_writes_into_the_networks_own_tensors() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    own = {name: t.data_ptr() for name, t in network.state_dict().items()}
    other = {name: torch.full_like(t, 2) for name, t in network.state_dict().items()}

    load(network, other)

    found = network.state_dict()
    assert {name: t.data_ptr() for name, t in found.items()} == own
    assert all(bool((t == 2).all()) for t in found.values())


def test_weights_and_buffers_are_told_apart() -> None:
    kinds = kinds_of(nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1)))

    assert {name for name, kind in kinds.items() if kind == "buffers"} == {
        "1.running_mean", "1.running_var", "1.num_batches_tracked"
    }  # fmt: skip


def host(value: float) -> Host:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, value)
    return Host(
        seat=SERVER, party=HonestServer(network, None, Stream(0)), defense=NoDefense(),
        rng=Stream(0), initial=network,
    )  # fmt: skip


def values(hosts: list[Host]) -> list[float]:
    return [float(h.party.module.weight.detach()) for h in hosts]  # type: ignore[union-attr]


def test_copies_get_the_mean_of_those_whose_clients_stayed() -> None:
    hosts = [host(0.0), host(0.0), host(0.0)]
    copies = Copies(hosts)
    for each, value in zip(hosts, (4.0, 8.0, 100.0), strict=True):
        nn.init.constant_(each.party.module.weight, value)  # type: ignore[union-attr]

    copies.count(0, samples=3)
    copies.count(1, samples=1)
    copies.close()

    assert values(hosts) == [5.0, 5.0, 5.0]


def test_where_nobody_stayed_copies_are_as_before_the_round() -> None:
    hosts = [host(1.0), host(1.0)]
    copies = Copies(hosts)
    nn.init.constant_(hosts[0].party.module.weight, 9.0)  # type: ignore[union-attr]

    copies.close()

    assert values(hosts) == [1.0, 1.0]


def test_no_rounding_moves_frozen_weights() -> None:
    hosts = [host(0.1) for _ in range(3)]
    for each in hosts:
        each.party.module.requires_grad_(False)  # type: ignore[union-attr]
    state = hosts[0].party.module.state_dict()  # type: ignore[union-attr]
    assert not torch.equal(average([state] * 3, [1, 2, 4])["weight"], state["weight"])
    copies = Copies(hosts)
    for i, samples in enumerate((1, 2, 4)):
        copies.count(i, samples=samples)

    copies.close()

    assert values(hosts) == values([host(0.1)] * 3)


@pytest.mark.golden
def test_averages_are_weighted_and_leave_counters_whole() -> None:
    states = [
        {"w": torch.tensor([0.0, 4.0]), "n": torch.tensor(3)},
        {"w": torch.tensor([8.0, 0.0]), "n": torch.tensor(7)},
    ]
    mean = average(states, [3, 1])
    assert mean["w"].tolist() == [2.0, 3.0]
    assert (int(mean["n"]), mean["n"].dtype) == (7, torch.int64)
