"""Every family decodes maps and signals to the requested channels and resolution."""

import itertools

import pytest
import torch
from torch import nn

from sltoolkit.networks.decoders import FAMILIES, Residual
from sltoolkit.streams import Stream

EVERY = pytest.mark.parametrize("family", FAMILIES)


def body(family: str, rank: int, *, doublings: int, blocks: int = 1) -> nn.Sequential:
    with Stream(0).scope():
        return nn.Sequential(FAMILIES[family](rank, 3, 2, doublings, blocks, 4))


def convolutions(network: nn.Module) -> int:
    return sum(isinstance(m, nn.Conv1d | nn.Conv2d) for m in network.modules())


@EVERY
@pytest.mark.parametrize("doublings", [0, 1, 3])
@pytest.mark.parametrize("sides", [(5, 4), (5,)], ids=["map", "signal"])
def test_every_doubling_doubles_the_sides(
    family: str, doublings: int, sides: tuple[int, ...]
) -> None:
    network = body(family, 1 + len(sides), doublings=doublings)

    out = network(torch.rand(2, 3, *sides))

    assert out.shape == (2, 2, *(side * 2**doublings for side in sides))


@EVERY
@pytest.mark.parametrize("rank", [2, 3])
def test_every_further_block_adds_layers_of_its_own(family: str, rank: int) -> None:
    counts = [convolutions(body(family, rank, doublings=2, blocks=n)) for n in range(4)]

    steps = {after - before for before, after in itertools.pairwise(counts)}
    assert len(steps) == 1
    assert steps.pop() >= 1


@EVERY
@pytest.mark.parametrize("rank", [2, 3])
def test_all_weights_are_used(family: str, rank: int) -> None:
    network = body(family, rank, doublings=1)

    network(torch.rand(3, 3, *(4,) * (rank - 1))).square().sum().backward()

    assert not [name for name, w in network.named_parameters() if w.grad is None]


@pytest.mark.parametrize("rank", [2, 3])
def test_a_residual_block_adds_what_it_changes_to_what_comes_in(rank: int) -> None:
    block = Residual(rank, 4, 4)
    for weight in block.main.parameters():
        nn.init.zeros_(weight)
    x = torch.rand(2, 4, *(5,) * (rank - 1))

    assert torch.equal(block(x), x)
    assert Residual(rank, 4, 6)(x).shape == (2, 6, *x.shape[2:])


def test_signals_double_by_interleaving_pairs_of_channels() -> None:
    layer = body("mirror", 2, doublings=1).get_submodule("double0.1")

    out = layer(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))

    assert out.tolist() == [[[1.0, 3.0, 2.0, 4.0]]]
