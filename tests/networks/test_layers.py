"""Layers for every rank: sides, padding and refused shapes."""

import pytest
import torch
from torch import nn

from sltoolkit.errors import SpecError
from sltoolkit.networks.layers import (
    Center,
    centered,
    check_shape,
    doubling,
    halvings,
    mixing,
    normalizing,
    strided,
)

SIDES = pytest.mark.parametrize("sides", [(), (7,), (7, 4)], ids=["vector", "signal", "map"])


@SIDES
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_mixing_makes_the_sides_that_strided_tells(sides: tuple[int, ...], stride: int) -> None:
    layer = mixing(1 + len(sides), 3, 5, stride=stride)

    out = layer(torch.rand(2, 3, *sides))

    assert out.shape == (2, 5, *strided(sides, stride))


@SIDES
def test_normalizing_leaves_mean_zero_and_variance_one_per_channel(
    sides: tuple[int, ...],
) -> None:
    x = 5 + 3 * torch.randn(64, 3, *sides, generator=torch.Generator().manual_seed(0))

    out = normalizing(1 + len(sides), 3)(x).detach().transpose(0, 1).flatten(1)

    torch.testing.assert_close(out.mean(1), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(out.var(1, correction=0), torch.ones(3), rtol=0, atol=1e-3)


@pytest.mark.parametrize("sides", [(5,), (5, 4)], ids=["signal", "map"])
def test_doubling_doubles_every_side(sides: tuple[int, ...]) -> None:
    out = doubling(1 + len(sides), 3, 2)(torch.rand(2, 3, *sides))

    assert out.shape == (2, 2, *(2 * side for side in sides))


@pytest.mark.parametrize(
    ("large", "small", "times"),
    [
        ((28, 28), (28, 28), 0),
        ((28, 28), (24, 24), 0),
        ((28, 28), (12, 12), 1),
        ((28, 28), (4, 4), 2),
        ((9,), (5,), 1),
        ((25, 25), (7, 7), 2),
        ((8, 8), (1, 1), 3),
        ((4, 4), (8, 8), 0),
        ((32, 16), (8, 8), 1),  # the side that was halved least decides
    ],
)
def test_halvings_are_what_sides_tell(
    large: tuple[int, ...], small: tuple[int, ...], times: int
) -> None:
    assert halvings(large, small) == times


@pytest.mark.parametrize("small", [(3,), (4, 3), (5, 5)], ids=["signal", "map", "square"])
@pytest.mark.parametrize("more", [0, 1, 2, 3])
def test_cropping_takes_off_what_padding_put_on(small: tuple[int, ...], more: int) -> None:
    x = torch.rand(2, 3, *small)
    large = tuple(side + more for side in small)

    padded = centered(x, large)

    assert padded.shape[2:] == large
    assert float(padded.sum()) == pytest.approx(float(x.sum()), rel=1e-5)
    assert torch.equal(centered(padded, small), x)


def test_of_an_odd_number_the_larger_half_comes_last() -> None:
    assert centered(torch.ones(1, 1, 1), (4,)).tolist() == [[[0.0, 1.0, 0.0, 0.0]]]


def test_maps_leave_in_channels_last_and_signals_as_they_are() -> None:
    maps = Center((4, 4))(torch.rand(2, 3, 2, 2))
    signals = Center((4,))(torch.rand(2, 3, 2))

    assert maps.is_contiguous(memory_format=torch.channels_last)
    assert signals.is_contiguous()


@pytest.mark.parametrize("shape", [(), (1, 2, 3, 4), (0, 3), (3, 0, 2)])
def test_other_shapes_are_refused_by_name(shape: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match=r"an input must have shape \(C, H, W\)"):
        check_shape(shape, "an input")


def test_a_convolution_may_have_no_bias() -> None:
    assert [name for name, _ in mixing(3, 2, 2, bias=False).named_parameters()] == ["weight"]
    assert isinstance(mixing(1, 2, 2), nn.Linear)
