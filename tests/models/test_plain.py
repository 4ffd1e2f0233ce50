"""Networks without branches: their blocks, their smallest inputs and what they refuse."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from sltoolkit.errors import SpecError
from sltoolkit.models import build
from sltoolkit.models.plain import cifar_cnn, ecg_cnn, image_shape, lenet, mlp


@pytest.mark.parametrize("hidden", [(), (7,), (9, 5, 3)])
@pytest.mark.parametrize("shape", [(6,), (1, 2, 3)])
def test_an_mlp_has_a_block_per_hidden_layer(
    hidden: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    network = mlp(shape=shape, classes=4, hidden=hidden)

    numbered = [f"{kind}{i}" for i in range(1, len(hidden) + 1) for kind in ("fc", "relu")]
    assert [name for name, _ in network.named_children()] == ["flatten", *numbered, "fc"]
    assert network(torch.rand(1, *shape)).shape == (1, 4)
    widths = [m.out_features for m in network if isinstance(m, nn.Linear)]
    assert widths == [*hidden, 4]


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lenet, (1, 16, 16)),
        (lenet, (3, 17, 29)),
        (cifar_cnn, (3, 8, 8)),
        (cifar_cnn, (1, 15, 9)),
        (ecg_cnn, (1, 8)),
        (ecg_cnn, (2, 13)),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_smallest_and_odd_inputs_give_logits(
    make: Callable[..., nn.Module], shape: tuple[int, ...], batch: int
) -> None:
    assert make(shape=shape, classes=5)(torch.rand(batch, *shape)).shape == (batch, 5)


def test_padding_takes_small_images() -> None:
    assert lenet(shape=(1, 4, 4), classes=2, padding=2)(torch.rand(1, 1, 4, 4)).shape == (1, 2)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lenet, {"shape": (1, 15, 40)}, "needs larger images than 15x40"),
        (lenet, {"shape": (28, 28)}, "lenet takes images of shape"),
        (cifar_cnn, {"shape": (3, 32, 7)}, "32x7 is below 8x8"),
        (ecg_cnn, {"shape": (1, 7)}, "length 8 and more"),
        (ecg_cnn, {"shape": (1, 8, 8)}, "signals"),
    ],
)
def test_what_does_not_fit_is_refused(
    make: Callable[..., nn.Module], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        make(classes=2, **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mlp", {"hidden": (3, 0)}, "hidden must be a list of whole numbers of at least 1"),
        ("mlp", {"hidden": (2.5,)}, "hidden must be a list of whole numbers of at least 1"),
        ("lenet", {"padding": -1}, "padding must be a whole number of at least 0, got -1"),
    ],
)
def test_senseless_parameters_are_refused_when_it_is_built(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        build(name, shape=(1, 28, 28), classes=2, **options)


def test_no_relu_works_in_place() -> None:
    networks = [
        mlp(shape=(4,), classes=2), lenet(shape=(1, 16, 16), classes=2),
        cifar_cnn(shape=(1, 8, 8), classes=2), ecg_cnn(shape=(1, 8), classes=2),
    ]  # fmt: skip

    assert not any(getattr(m, "inplace", False) for net in networks for m in net.modules())


@pytest.mark.parametrize("shape", [(3, 0, 4), (4,), (1, 2, 3, 4)])
def test_image_shapes_have_three_positive_entries(shape: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match="mine takes images of shape"):
        image_shape(shape, "mine")
    assert image_shape((1, 2, 3), "mine") == (1, 2, 3)
