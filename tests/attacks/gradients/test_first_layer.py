"""The first layer's gradient gives the input."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from support import toys
from support.linear_victims import SGD, linear, victim
from torch import Tensor, nn
from torch.nn import functional

import sltoolkit as sl
from sltoolkit.attacks.gradients.first_layer import solve
from sltoolkit.errors import SpecError
from sltoolkit.parties.settings import Training
from sltoolkit.streams import Stream

pytestmark = pytest.mark.golden


def squared_errors(result: Any) -> Tensor:
    off: Tensor = result.outcome.images - result.verdict.truth.x
    return off.square().flatten(1).mean(1)


def gradients_of(x: Tensor, y: Tensor, network: nn.Sequential) -> tuple[Tensor, Tensor]:
    """Gradients of the first linear layer, by autograd, one sample at a time."""
    found = []
    for row, label in zip(x, y, strict=True):
        loss = functional.cross_entropy(network(row[None]), label[None])
        found.append(torch.autograd.grad(loss, list(network[1].parameters())))
    return torch.stack([w for w, _ in found]), torch.stack([b for _, b in found])


def test_every_unit_that_moved_tells_the_input() -> None:
    with Stream(3).scope():
        network, x = linear().double().eval(), torch.rand(5, 1, 8, 8, dtype=torch.float64)
    weight, bias = gradients_of(x, torch.arange(5) % 3, network)
    for sample in range(5):
        moved = bias[sample] != 0
        assert 1 < int(moved.sum()) < 12  # ReLU silences some
        each = weight[sample, moved] / bias[sample, moved, None]
        assert torch.allclose(each, x[sample].flatten().expand_as(each), atol=1e-6, rtol=0)
    assert torch.allclose(solve(weight, bias), x.flatten(1), atol=1e-12, rtol=0)


def test_where_no_unit_moved_there_is_nothing_to_tell() -> None:
    weight, bias = torch.zeros(2, 4, 3), torch.tensor([[0.0] * 4, [0.0, 2.0, 0.0, 0.0]])
    weight[1, 1] = torch.tensor([2.0, 4.0, 6.0])
    assert solve(weight, bias).tolist() == [[0, 0, 0], [1, 2, 3]]


@pytest.mark.parametrize(
    ("protocol", "error"),
    [
        (sl.LargeBatchSGD(clients=2), 1e-12),
        # heard as differences of float32 weights of about 0.1, of which a part in 10^7 is noise
        (sl.FedAvg(clients=2), 1e-8),
        (sl.FedAvg(clients=2, local_epochs=4), 1e-8),
        (sl.SplitFedV1(clients=2), 1e-8),
        (sl.SplitFedV2(clients=2), 1e-8),
    ],
    ids=["large_batch_sgd", "fedavg", "fedavg-4-steps", "splitfed_v1", "splitfed_v2"],
)
def test_a_single_samples_update_gives_the_sample(protocol: Any, error: float) -> None:
    trained = victim(protocol, training=replace(SGD, epochs=1))
    result = sl.attack(trained, sl.FirstLayer(), grants=())
    assert result.verdict.role == ("eavesdropper" if "SplitFed" in repr(protocol) else "server")
    assert result.verdict.knowledge == ("updates",)
    assert squared_errors(result).max() < error


def test_weight_decay_is_taken_off_one_step() -> None:
    decayed = replace(SGD, epochs=1, weight_decay=0.1)
    result = sl.attack(victim(sl.FedAvg(clients=2), training=decayed), sl.FirstLayer())
    assert squared_errors(result).max() < 1e-8


def test_first_layer_says_why_it_refuses() -> None:
    federated = sl.FedAvg(clients=2)
    cases: list[tuple[str, dict[str, Any]]] = [
        ("begins with Conv2d", {"model": toys.network, "cut": "drop"}),
        ("has no bias", {"model": lambda: linear(bias=False)}),
        ("sums over them", {"targets": replace(toys.TARGETS, batch=2)}),
        ("after a step of adam", {"training": Training(epochs=1)}),
        ("inputs as they are", {"model": lambda: nn.Sequential(nn.Sigmoid(), *linear()), "cut": 2}),
    ]
    for reason, options in cases:
        with pytest.raises(SpecError, match=reason):
            sl.attack(victim(federated, **options), sl.FirstLayer())
