"""Casting: the task that all parties share, and the weights with which clients begin."""

from typing import Any

import pytest
import torch
from support import toys
from support.toys import differences, module_state, network, seated, split
from torch import Tensor, nn

import sltoolkit as sl
from sltoolkit import models
from sltoolkit.contracts.defense import NoDefense
from sltoolkit.errors import SpecError
from sltoolkit.protocols import Vanilla
from sltoolkit.streams import Stream
from sltoolkit.training.casting import task_of
from sltoolkit.training.run import seat_parties


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


def test_private_clients_start_apart_and_handed_over_ones_alike() -> None:
    apart = seated(protocol=Vanilla(clients=3, handover="none"))
    alike = seated(protocol=Vanilla(clients=3))
    first, second, third = (m.party.module.state_dict() for m in apart.cast.clients)
    assert not torch.equal(first["conv.weight"], second["conv.weight"])
    assert not torch.equal(second["conv.weight"], third["conv.weight"])
    one, other, _ = (m.party.module.state_dict() for m in alike.cast.clients)
    assert torch.equal(one["conv.weight"], other["conv.weight"])


PRIVATE = (
    sl.SplitFedV3(clients=3),
    sl.Vanilla(clients=3, handover="none"),
    sl.UShaped(clients=3, handover="none"),
    sl.MultiHop(clients=3, handover="none"),
)


def _first_weights(model: Any, protocol: Any, *, batch_size: int = 8) -> list[dict[str, Tensor]]:
    cut = [toys.CUT, "relu2"][: protocol.parts - 1]
    training = sl.Training(epochs=0, batch_size=batch_size)
    victim = sl.train(model, toys.split(), cut=cut, protocol=protocol, training=training, seed=4)
    return [m.client.state_dict() for m in victim.deployed]


@pytest.mark.parametrize("protocol", PRIVATE, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_private_clients_start_from_a_network_object_and_draw_what_a_function_makes(
    protocol: Any, norm: Any, batch_size: int
) -> None:
    if norm == "batch" and batch_size == 1:
        batch_size = 5
    given = network(norm)

    kept = _first_weights(given, protocol, batch_size=batch_size)
    drawn = _first_weights(lambda: network(norm), protocol, batch_size=batch_size)

    assert len(kept) == len(drawn) == 3
    own = given.state_dict()
    assert all(torch.equal(t, own[name]) for state in kept for name, t in state.items())
    assert not torch.equal(drawn[0]["conv.weight"], drawn[1]["conv.weight"])
    assert not torch.equal(drawn[1]["conv.weight"], drawn[2]["conv.weight"])


@pytest.mark.parametrize("protocol", PRIVATE, ids=lambda p: type(p).__name__)
def test_frozen_weights_of_a_function_are_kept_and_the_others_drawn(protocol: Any) -> None:
    def half_frozen() -> nn.Sequential:
        net = network("batch")
        net.get_parameter("conv.weight").requires_grad_(False)
        net[1].requires_grad_(False)
        net[1].running_mean.fill_(3.0)  # type: ignore[operator]
        return net

    first, *others = _first_weights(half_frozen, protocol)

    for other in others:
        for name in ("conv.weight", "norm.weight", "norm.running_mean"):
            assert torch.equal(first[name], other[name]), name
        assert not torch.equal(first["conv.bias"], other["conv.bias"])


def test_clients_with_a_frozen_victim_s_network_all_have_it() -> None:
    client, server = models.cut(network(), "drop")

    victim = sl.frozen(client, server, split(), protocol=sl.SplitFedV3(clients=3))

    own = client.state_dict()
    states = [m.client.state_dict() for m in victim.deployed]
    assert len(states) == 3
    assert all(torch.equal(t, own[name]) for state in states for name, t in state.items())


@pytest.mark.parametrize("given", [True, False])
def test_the_servers_of_all_tasks_follow_the_same_rule(*, given: bool) -> None:
    run = seat_parties(
        models.cut(network(), "drop"), split(), protocol=sl.MultiTask(clients=1),
        defense=NoDefense(), training=toys.QUICK, rng=Stream(0), given=given,
    )  # fmt: skip

    first, second = (host.initial.state_dict() for host in run.cast.servers)
    assert torch.equal(first["head.weight"], second["head.weight"]) is given
