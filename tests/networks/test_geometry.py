"""Networks that only know shapes put every cell of the smashed data where the client has it."""

from collections.abc import Callable
from math import prod

import pytest
import torch
from torch import Tensor, nn

from sltoolkit.adversary.local_ridge import LocalRidge
from sltoolkit.networks.inverse import inverse_network
from sltoolkit.networks.layers import halvings
from sltoolkit.networks.substitutes import pooled_substitute, strided_substitute, transposed_decoder
from sltoolkit.streams import Stream

pytestmark = pytest.mark.golden

LENET = (nn.Conv2d(1, 4, 5), nn.MaxPool2d(2), nn.Conv2d(4, 6, 5))
PADDED = (nn.Conv2d(1, 6, 3, stride=2, padding=1),)
TWICE = (nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.Conv2d(4, 6, 3, stride=2, padding=1))
CLIENTS = pytest.mark.parametrize(
    ("layers", "sides"),
    [
        (LENET, (28, 28)),
        (LENET, (24, 30)),
        (PADDED, (33, 33)),
        (PADDED, (25, 32)),
        (TWICE, (41, 41)),
    ],
    ids=["lenet", "not_square", "odd", "one_odd", "odd_twice"],
)
NEAR = 3.0
"""How many pixels places may differ; if stretched, or with too few halvings, they differ by 4."""


def client_of(layers: tuple[nn.Module, ...]) -> nn.Module:
    """A client with equal weights, so that a cell's pixels lie evenly around its place."""
    client = nn.Sequential(*layers)
    for weight in client.parameters():
        nn.init.constant_(weight, 0.1)
    return client


def places(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Two cells away from the borders, where wide networks would see only half of their pixels."""
    _, height, width = shape
    return [(height // 4, width // 4), (3 * height // 4, 3 * width // 4)]


def sees(network: nn.Module, sides: tuple[int, ...], cell: tuple[int, ...]) -> Tensor:
    """The center of the pixels (row, column) that a cell of the network's output depends on."""
    x = torch.rand(16, 1, *sides, generator=torch.Generator().manual_seed(0)).requires_grad_()
    out = network(x)[:, :, cell[0], cell[1]]
    return center(torch.autograd.grad(out.square().sum(), x)[0])


def draws(network: nn.Module, smashed: tuple[int, ...], cell: tuple[int, ...]) -> Tensor:
    """The center of the pixels (row, column) that depend on a cell of the network's input."""
    z = torch.rand(16, *smashed, generator=torch.Generator().manual_seed(0))
    other = z.clone()
    other[:, :, cell[0], cell[1]] += 1
    with torch.no_grad():
        return center(network(other) - network(z))


def center(change: Tensor) -> Tensor:
    weight = change.square().sum((0, 1))
    grid = torch.stack(torch.meshgrid(*map(torch.arange, weight.shape), indexing="ij"))
    return (grid * weight).sum((1, 2)) / weight.sum()


@CLIENTS
@pytest.mark.parametrize(
    "make", [pooled_substitute, strided_substitute, transposed_decoder, inverse_network]
)
def test_a_cell_lies_where_the_client_has_it(
    make: Callable[..., nn.Module], layers: tuple[nn.Module, ...], sides: tuple[int, ...]
) -> None:
    client = client_of(layers)
    smashed = tuple(client(torch.zeros(1, 1, *sides)).shape[1:])
    plays_the_client = make in (pooled_substitute, strided_substitute)
    with Stream(0).scope():
        network = (
            make((1, *sides), smashed, signed=True) if plays_the_client
            else make(smashed, (1, *sides))
        ).eval()  # fmt: skip
    for cell in places(smashed):
        ours = sees(network, sides, cell) if plays_the_client else draws(network, smashed, cell)
        torch.testing.assert_close(ours, sees(client, sides, cell), atol=NEAR, rtol=0)


@pytest.mark.parametrize(
    ("large", "small", "times"),
    [((28, 28), (12, 12), 1), ((28, 28), (8, 8), 1), ((28, 28), (4, 4), 2), ((32, 32), (4, 4), 3),
     ((9, 9), (5, 5), 1), ((25, 25), (13, 13), 1), ((25, 25), (7, 7), 2), ((25, 32), (13, 16), 1),
     ((9, 9), (7, 7), 0), ((187,), (46,), 2), ((8, 8), (11, 11), 0)],
)  # fmt: skip
def test_sides_tell_how_often_they_were_halved(
    large: tuple[int, ...], small: tuple[int, ...], times: int
) -> None:
    assert halvings(large, small) == times


def test_a_linear_map_is_undone_at_odd_sides_as_at_even_ones() -> None:
    errors = []
    for side in (8, 9):
        g = torch.Generator().manual_seed(0)
        x = torch.rand(200, 1, side, side, generator=g)
        with Stream(1).scope(), torch.no_grad():
            z = nn.Conv2d(1, 8, 3, stride=2, padding=1)(x)
        fit = LocalRidge(z[:150, None], x[:150], 3)
        found = fit.predict(z[150:], 1e-6)
        errors.append(float((found - x[150:]).square().mean()))
    assert prod(errors) > 0
    assert errors[1] < 2 * errors[0]
    assert errors[0] < 0.2 / 12  # a share of the variance of a uniform pixel
