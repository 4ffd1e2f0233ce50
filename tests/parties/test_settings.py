"""How victims are trained: what is refused, and optimizers that step as they should."""

from typing import Any

import pytest
import torch
from torch import nn

from sltoolkit.errors import SpecError
from sltoolkit.parties.settings import OPTIMIZERS, Training


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2)).double()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": -1}, "epochs must be a whole number of at least 0, got -1"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"lr": float("nan")}, "lr must be a number of at least 0, got nan"),
        ({"weight_decay": -0.1}, "weight_decay must be a number of at least 0, got -0.1"),
        ({"optimizer": "adma"}, "did you mean 'adam'"),
    ],
)
def test_senseless_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Training(**options)


def test_nothing_may_be_trained_at_all() -> None:
    assert Training(epochs=0, lr=0).epochs == 0


def test_a_network_without_parameters_has_no_optimizer() -> None:
    assert Training().optimizer_for(nn.Flatten()) is None


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_each_steps_as_torchs_own_does(optimizer: str) -> None:
    ours, theirs = network(), network()
    training = Training(optimizer=optimizer, lr=0.05, momentum=0.9, weight_decay=0.1)
    mine = training.optimizer_for(ours)
    assert mine is not None
    plain: torch.optim.Optimizer = (
        torch.optim.Adam(theirs.parameters(), lr=0.05, weight_decay=0.1)
        if optimizer == "adam"
        else torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1)
    )
    x = torch.rand(4, 1, 4, 4, dtype=torch.float64)
    for _ in range(3):
        for each, model in ((mine, ours), (plain, theirs)):
            each.zero_grad()
            model(x).square().mean().backward()
            each.step()

    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_gradients_that_lie_otherwise_in_memory_than_their_weight_are_laid_out(
    optimizer: str,
) -> None:
    shape = (2, 3, 4, 4)
    weights = [nn.Parameter(torch.ones(shape)) for _ in range(2)]
    weights[1].data = weights[1].data.contiguous(memory_format=torch.channels_last)
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for weight in weights:
        module = nn.Module()
        module.weight = weight
        each = Training(optimizer=optimizer, lr=0.1).optimizer_for(module)
        assert each is not None
        weight.grad = gradient.clone()
        each.step()

    torch.testing.assert_close(weights[1].detach(), weights[0].detach())


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
