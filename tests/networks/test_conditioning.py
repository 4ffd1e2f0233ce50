"""Labels as a further channel, for maps, signals and vectors."""

import pytest
import torch
from torch import nn

from sltoolkit.errors import SpecError
from sltoolkit.networks.conditioning import Conditioned, LabelChannel
from sltoolkit.streams import Stream

SHAPES = pytest.mark.parametrize(
    ("shape", "out"),
    [((3, 5, 7), (4, 5, 7)), ((2, 9), (3, 9)), ((6,), (12,)), ((1,), (2,))],
    ids=["map", "signal", "vector", "one unit"],
)


def channel_of(shape: tuple[int, ...], classes: int = 4) -> LabelChannel:
    with Stream(0).scope():
        return LabelChannel(shape, classes)


@SHAPES
@pytest.mark.parametrize("batch", [1, 4])
def test_the_input_comes_first_and_the_drawn_label_after_it(
    shape: tuple[int, ...], out: tuple[int, ...], batch: int
) -> None:
    channel = channel_of(shape)
    x = torch.rand(batch, *shape)

    joined = channel(x, torch.zeros(batch, dtype=torch.int64))

    assert channel.out == out
    assert joined.shape == (batch, *out)
    assert torch.equal(joined[:, : shape[0]], x)


@SHAPES
def test_what_is_drawn_depends_on_the_label_alone(
    shape: tuple[int, ...], out: tuple[int, ...]
) -> None:
    channel = channel_of(shape)
    y = torch.tensor([1, 3, 1])

    drawn = channel(torch.rand(3, *shape), y)[:, shape[0] :]

    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


def test_double_inputs_stay_double() -> None:
    joined = channel_of((2, 4))(torch.rand(3, 2, 4, dtype=torch.float64), torch.tensor([0, 1, 2]))

    assert joined.dtype == torch.float64


def test_the_body_sees_what_the_channel_makes() -> None:
    channel = channel_of((2, 4))
    network = Conditioned(channel, nn.Flatten())
    x, y = torch.rand(3, 2, 4), torch.tensor([0, 1, 2])

    assert torch.equal(network(x, y), channel(x, y).flatten(1))


def test_a_volume_is_refused() -> None:
    with pytest.raises(SpecError, match="what a label is appended to must have shape"):
        LabelChannel((1, 2, 3, 4), 2)
