"""Weights that a user gives or freezes, and runs that are continued."""

from typing import Any

import numpy as np
import pytest
import torch
from support.situations import fault, parted, perceptron
from torch import Tensor, nn

import sltoolkit as sl
from sltoolkit.training.tensor_file import separate


@pytest.mark.parametrize(
    "protocol",
    [
        pytest.param(sl.SplitFedV1(clients=3), id="splitfed_v1"),
        pytest.param(sl.SplitFedV3(clients=3), id="splitfed_v3"),
        pytest.param(sl.Vanilla(clients=3, handover="none"), id="vanilla without hand-over"),
    ],
)
def test_every_client_starts_from_the_weights_it_is_given(protocol: Any) -> None:
    network = perceptron()

    victim = sl.train(network, parted(), cut=1, protocol=protocol, training=sl.Training(epochs=0))

    given = network.state_dict()["1.weight"]
    assert all(torch.equal(m.client.state_dict()["1.weight"], given) for m in victim.deployed)


@pytest.mark.parametrize(
    ("protocol", "optimizer"),
    [
        pytest.param("fedavg", "sgd", id="fedavg-sgd"),
        pytest.param("fedavg", "adam", id="fedavg-adam"),
        pytest.param("large_batch_sgd", "adam", id="large_batch_sgd-adam"),
        pytest.param("large_batch_sgd", "sgd", id="large_batch_sgd-sgd"),
    ],
)
def test_frozen_weights_stay(protocol: str, optimizer: Any) -> None:
    network = perceptron()
    network[1].requires_grad_(False)
    training = sl.Training(epochs=2, optimizer=optimizer, lr=0.01, weight_decay=0.1)

    victim = sl.train(network, parted(), cut=1, protocol=protocol, training=training)

    given = network.state_dict()["1.weight"]
    assert torch.equal(victim.deployed[0].client.state_dict()["1.weight"], given)


def _network(layout: torch.memory_format) -> nn.Module:
    torch.manual_seed(0)
    lenet = sl.models.build("lenet", shape=(1, 8, 8), classes=10, padding=2)
    return lenet.to(memory_format=layout)  # type: ignore[call-overload, no-any-return]


def _steps(network: nn.Module, optimizer: Any, *, seed: int, layout: torch.memory_format) -> None:
    g = torch.Generator().manual_seed(seed)
    for _ in range(5):
        x = torch.rand(32, 1, 8, 8, generator=g).contiguous(memory_format=layout)
        y = torch.randint(10, (32,), generator=g)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()


def _stored(moments: dict[int, dict[str, Tensor]]) -> dict[int, dict[str, Tensor]]:
    """An optimizer's state after it was written to a file and read back."""
    flat = separate({f"{i}/{k}": v for i, own in moments.items() for k, v in own.items()})
    back: dict[int, dict[str, Tensor]] = {}
    for name, value in flat.items():
        index, key = name.split("/")
        back.setdefault(int(index), {})[key] = value
    return back


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param(torch.contiguous_format, id="contiguous"),
        fault(
            "moments come back contiguous beside weights that are channels-last, and torch's "
            "fused Adam reads both as if laid out alike",
            torch.channels_last,
            id="channels-last",
        ),
    ],
)
def test_a_run_that_goes_on_ends_as_one_without_a_break(layout: torch.memory_format) -> None:
    training = sl.Training(lr=0.01)
    whole = _network(layout)
    optimizer = training.optimizer_for(whole)
    _steps(whole, optimizer, seed=1, layout=layout)
    weights = {name: t.clone() for name, t in whole.state_dict().items()}
    assert optimizer is not None
    moments = _stored(optimizer.state_dict()["state"])
    _steps(whole, optimizer, seed=2, layout=layout)

    resumed = _network(layout)
    resumed.load_state_dict(weights)
    later = training.optimizer_for(resumed)
    assert later is not None
    later.load_state_dict({"state": moments, "param_groups": later.state_dict()["param_groups"]})
    _steps(resumed, later, seed=2, layout=layout)

    for ours, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        np.testing.assert_array_equal(ours.detach(), theirs.detach())
