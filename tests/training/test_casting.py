"""Casting: the task that all parties share, and the weights with which clients begin."""

import pytest
import torch
from support.toys import differences, module_state, network, seated, split
from torch import nn

from sltoolkit import models
from sltoolkit.errors import SpecError
from sltoolkit.protocols import Vanilla
from sltoolkit.training.casting import task_of


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
