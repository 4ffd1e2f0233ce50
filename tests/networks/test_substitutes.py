"""Substitutes and decoders have the requested shapes, for every kind of data."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from sltoolkit.errors import SpecError
from sltoolkit.networks.substitutes import (
    pooled_substitute,
    strided_substitute,
    tail_network,
    transposed_decoder,
)

SHAPES = pytest.mark.parametrize(
    ("inputs", "smashed"),
    [
        ((1, 28, 28), (6, 12, 12)),
        ((3, 32, 24), (8, 8, 6)),
        ((1, 9, 9), (4, 9, 9)),
        ((3, 33, 33), (2, 9, 9)),
        ((1, 8, 8), (32,)),
        ((1, 64), (4, 16)),
        ((2, 31), (7,)),
        ((12,), (5,)),
        ((12,), (2, 3)),
    ],
    ids=str,
)
SUBSTITUTES = pytest.mark.parametrize(
    "make", [strided_substitute, pooled_substitute], ids=["strided", "pooled"]
)
Make = Callable[..., nn.Module]


@SHAPES
@SUBSTITUTES
@pytest.mark.parametrize("signed", [True, False])
def test_a_substitute_sends_what_the_client_sends(
    make: Make, inputs: tuple[int, ...], smashed: tuple[int, ...], *, signed: bool
) -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(8, *inputs, generator=g)

    z = make(inputs, smashed, signed=signed)(x).detach()

    assert z.shape == (8, *smashed)
    assert (float(z.min()) < 0) is signed


@SHAPES
@pytest.mark.parametrize("normed", [True, False])
def test_a_decoder_goes_the_way_back(
    inputs: tuple[int, ...], smashed: tuple[int, ...], *, normed: bool
) -> None:
    decoder = transposed_decoder(smashed, inputs, width=16, normed=normed)

    out = decoder(torch.randn(3, *smashed)).detach()

    assert out.shape == (3, *inputs)
    if len(inputs) == 3:
        assert float(out.min()) >= 0
        assert float(out.max()) <= 1


@SUBSTITUTES
def test_a_single_sample_passes_in_evaluation_mode(make: Make) -> None:
    network = make((1, 8, 8), (4, 4, 4)).eval()

    assert network(torch.rand(1, 1, 8, 8)).shape == (1, 4, 4, 4)


def test_the_strided_one_is_linear_unless_it_is_told_an_activation() -> None:
    plain = strided_substitute((1, 8, 8), (4, 2, 2))
    x, other = torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8)

    torch.testing.assert_close(plain((x + other) / 2), (plain(x) + plain(other)) / 2)
    bent = strided_substitute((1, 8, 8), (4, 2, 2), activation=nn.Tanh)
    assert not torch.allclose(bent((x + other) / 2), (bent(x) + bent(other)) / 2)


def test_fshas_decoder_is_linear_up_to_the_last() -> None:
    decoder = transposed_decoder((4, 2, 2), (1, 16, 16), width=8)

    kinds = [type(m).__name__ for m in decoder.modules()]

    assert "BatchNorm2d" not in kinds
    assert "Conv2d" not in kinds  # three doublings end in the last transposed convolution
    assert kinds.count("ConvTranspose2d") == 3


@pytest.mark.parametrize("shape", [(1, 2, 3, 4), ()])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    for make in (strided_substitute, pooled_substitute, transposed_decoder):
        with pytest.raises(SpecError, match="must have shape"):
            make(shape, (4, 4, 4))
        with pytest.raises(SpecError, match="must have shape"):
            make((1, 8, 8), shape)


@pytest.mark.parametrize("features", [(6,), (6, 9), (6, 3), (6, 9, 2)], ids=str)
def test_a_tail_gives_a_logit_per_class(features: tuple[int, ...]) -> None:
    tail = tail_network(features, 10)

    assert tail(torch.rand(5, *features)).shape == (5, 10)
    sizes = [m.in_features for m in tail.modules() if isinstance(m, nn.Linear)]
    pooled = [min(4, side) for side in features[1:]]
    assert sizes == [6 * int(torch.tensor(pooled).prod())]
