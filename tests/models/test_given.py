"""Frozen weights stay where all others are drawn anew."""

import pytest
import torch
from torch import nn

from sltoolkit.models.given import frozen_weights, redraw
from sltoolkit.streams import Stream


class _Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.full((3, 5), 7.0))


def _marked() -> nn.Sequential:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(4, 3), _Own())
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.fill_(7)
    return network


def _sevens(network: nn.Module) -> set[str]:
    return {name for name, t in network.state_dict().items() if bool((t == 7).all())}


@pytest.mark.parametrize(
    ("frozen", "kept"),
    [
        ([], set()),
        (["0"], {"0.weight", "0.bias"}),
        (["2.bias"], {"2.bias"}),
        (["3"], {"3.matrix"}),
        (["1.weight"], {"1.weight"}),
        (
            ["1"],
            {"1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"},
        ),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)
def test_what_is_frozen_is_kept_and_nothing_else(frozen: list[str], kept: set[str]) -> None:
    network = _marked()
    for name, weight in network.named_parameters():
        weight.requires_grad_(not any(f"{name}.".startswith(f"{f}.") for f in frozen))

    with Stream(0).scope():
        redraw(network)

    assert _sevens(network) == kept


def test_what_learns_is_drawn_as_if_nothing_were_frozen() -> None:
    free, partly = _marked(), _marked()
    partly[0].requires_grad_(False)
    for network in (free, partly):
        with Stream(3).scope():
            redraw(network)

    name = "2.weight"
    assert torch.equal(free.get_parameter(name), partly.get_parameter(name))


def test_frozen_weights_are_named() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert frozen_weights(network) == frozenset()

    network[1].weight.requires_grad_(False)

    assert frozen_weights(network) == {"1.weight"}
