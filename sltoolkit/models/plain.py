"""Networks without branches: an MLP, two networks of He et al. 2019, and one for signals.

ReLUs are never in place, because a ReLU behind a cut must not rewrite the smashed data, and because
opacus refuses in-place activations.
"""

from collections import OrderedDict
from collections.abc import Sequence
from math import prod
from typing import Annotated

from torch import nn

from sltoolkit.errors import SpecError
from sltoolkit.parameters.parameter import Parameter


def image_shape(shape: Sequence[int], model: str) -> tuple[int, int, int]:
    """`shape` as (C, H, W).

    Raises:
        SpecError: if it doesn't have three positive entries.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise SpecError(f"{model} takes images of shape (C, H, W), got {tuple(shape)}")
    channels, height, width = shape
    return channels, height, width


def mlp(
    *,
    shape: Sequence[int],
    classes: int,
    hidden: Annotated[Sequence[int], Parameter("widths of the hidden layers", least=1)] = (
        256,
        128,
    ),
) -> nn.Sequential:
    """A fully connected ReLU network.

    Blocks: `flatten`, then `fc1`, `relu1`, ... per hidden layer, and a last `fc`.

    Args:
        shape: the shape of one input, features (d,) or an image (C, H, W).
        classes: number of logits.
    """
    blocks: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    width = prod(shape)
    for number, wider in enumerate(hidden, start=1):
        blocks[f"fc{number}"] = nn.Linear(width, wider)
        blocks[f"relu{number}"] = nn.ReLU()
        width = wider
    blocks["fc"] = nn.Linear(width, classes)
    return nn.Sequential(blocks)


def lenet(
    *,
    shape: Sequence[int],
    classes: int,
    padding: Annotated[
        int,
        Parameter(
            "zero padding of both convolutions; 0 in the paper, 2 keeps the size, which images "
            "below 16x16 need",
            least=0,
        ),
    ] = 0,
) -> nn.Sequential:
    """The LeNet of He et al. 2019 (their MNIST victim): 5x5 convolutions of 8 and 16 channels.

    Blocks: `conv1`, `relu1`, `pool1`, `conv2`, `relu2`, `pool2`, `flatten`, `fc1` (120), `relu3`,
    `fc2` (84), `relu4`, `fc3`. The paper's "conv1" and "ReLU2" are `conv1` and `relu2`.

    Args:
        shape: (C, H, W) of one image.
        classes: number of logits.

    Raises:
        SpecError: if the images are too small for two convolutions and two poolings.
    """
    channels, height, width = image_shape(shape, "lenet")
    rows, columns = (_after_lenet_features(size, padding) for size in (height, width))
    if rows < 1 or columns < 1:
        raise SpecError(
            f"lenet with padding={padding} needs larger images than {height}x{width}: two 5x5 "
            "convolutions and two poolings leave nothing; padding=2 takes 4x4 and more"
        )
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv1=nn.Conv2d(channels, 8, 5, padding=padding),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(8, 16, 5, padding=padding),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(16 * rows * columns, 120),
            relu3=nn.ReLU(),
            fc2=nn.Linear(120, 84),
            relu4=nn.ReLU(),
            fc3=nn.Linear(84, classes),
        )
    )


def _after_lenet_features(size: int, padding: int) -> int:
    for _ in range(2):
        size = (size + 2 * padding - 4) // 2
    return size


def cifar_cnn(*, shape: Sequence[int], classes: int) -> nn.Sequential:
    """The six-convolution network of He et al. 2019 (their CIFAR-10 victim).

    Three stages of two 3x3 convolutions (64, 128, 128 channels) and a 2x2 pooling. Blocks of stage
    s: `conv{s}1`, `relu{s}1`, `conv{s}2`, `relu{s}2`, `pool{s}`; then `flatten`, `fc1` (512),
    `sigmoid`, `fc2`. The paper's "conv11", "ReLU22", "ReLU32" are `conv11`, `relu22`, `relu32`.

    Args:
        shape: (C, H, W) of one image.
        classes: number of logits.

    Raises:
        SpecError: if the images are smaller than 8x8.
    """
    channels, height, width = image_shape(shape, "cifar_cnn")
    if min(height, width) < 8:
        raise SpecError(f"cifar_cnn halves images three times: {height}x{width} is below 8x8")
    blocks: OrderedDict[str, nn.Module] = OrderedDict()
    for stage, wider in enumerate((64, 128, 128), start=1):
        for layer in (1, 2):
            blocks[f"conv{stage}{layer}"] = nn.Conv2d(channels, wider, 3, padding=1)
            blocks[f"relu{stage}{layer}"] = nn.ReLU()
            channels = wider
        blocks[f"pool{stage}"] = nn.MaxPool2d(2)
    blocks["flatten"] = nn.Flatten()
    blocks["fc1"] = nn.Linear(channels * (height // 8) * (width // 8), 512)
    blocks["sigmoid"] = nn.Sigmoid()
    blocks["fc2"] = nn.Linear(512, classes)
    return nn.Sequential(blocks)


def ecg_cnn(*, shape: Sequence[int], classes: int) -> nn.Sequential:
    """The one-dimensional network of Abuadbba et al. 2020 for heartbeats.

    Blocks: `conv1` (16 channels of 7), `relu1`, `pool1`, `conv2` (16 of 5), `relu2`, `pool2`,
    `flatten`, `fc1` (128), `relu3`, `fc2`. ReLUs are leaky.

    Args:
        shape: (C, L) of one signal.
        classes: number of logits.

    Raises:
        SpecError: if the shape is not a signal's, or its length is below 8.
    """
    if len(shape) != 2 or shape[1] < 8:
        raise SpecError(f"ecg_cnn takes signals (C, L) of length 8 and more, got {tuple(shape)}")
    channels, length = shape
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv1=nn.Conv1d(channels, 16, 7, padding=3),
            relu1=nn.LeakyReLU(),
            pool1=nn.MaxPool1d(2),
            conv2=nn.Conv1d(16, 16, 5, padding=2),
            relu2=nn.LeakyReLU(),
            pool2=nn.MaxPool1d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(16 * (length // 4), 128),
            relu3=nn.LeakyReLU(),
            fc2=nn.Linear(128, classes),
        )
    )
