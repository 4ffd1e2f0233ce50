"""The image prior: sides of any size, range, and images that don't influence each other."""

import pytest
import torch

from sltoolkit.networks.unet import SKIPPED, Level, skip_network
from sltoolkit.streams import Stream


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 15), (1, 32, 17), (3, 33, 64)], ids=str)
def test_an_image_has_the_asked_shape_and_range(shape: tuple[int, ...]) -> None:
    network = skip_network(shape, noise=4, width=6)

    image = network(torch.rand(2, 4, *shape[1:])).detach()

    assert image.shape == (2, *shape)
    assert float(image.min()) > 0
    assert float(image.max()) < 1


def levels(sides: tuple[int, ...]) -> int:
    network = skip_network((1, *sides), noise=4, width=6)
    return sum(isinstance(m, Level) for m in network.modules())


@pytest.mark.parametrize(
    ("sides", "expected"), [((8, 8), 1), ((15, 15), 2), ((16, 16), 2), ((32, 32), 3), ((32, 8), 1)]
)
def test_levels_are_added_while_the_coarsest_side_stays_long(
    sides: tuple[int, ...], expected: int
) -> None:
    assert levels(sides) == expected


def test_images_of_a_batch_do_not_meet() -> None:
    with Stream(0).scope():
        network = skip_network((1, 16, 16), noise=4, width=6).double()
    noise = torch.rand(3, 4, 16, 16, dtype=torch.float64)

    together = network(noise)

    for i in range(3):
        torch.testing.assert_close(network(noise[i : i + 1])[0], together[i])


def test_a_few_channels_are_carried_across() -> None:
    level = Level(4, 6, (8, 8))

    assert level.across(torch.rand(1, 4, 8, 8)).shape == (1, SKIPPED, 8, 8)
    assert level(torch.rand(1, 4, 8, 8)).shape == (1, 6, 8, 8)
