"""The models by name. A new model is one factory and one entry here."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

from torch import nn

from sltoolkit.errors import SpecError, lookup
from sltoolkit.models.plain import cifar_cnn, ecg_cnn, lenet, mlp
from sltoolkit.models.resnet import resnet18, resnet20
from sltoolkit.parameters.checking import check_arguments
from sltoolkit.parameters.parameter import declared

Model = str | nn.Module | Callable[[], nn.Module]
"""A registered name, a network, or a function that makes a network."""


@final
@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """What the toolkit knows about a model.

    Attributes:
        factory: builds it from `shape`, `classes` and its own keyword parameters.
        description: one line.
        citation: where it comes from.
        cut: the block after which the client ends unless told otherwise.
        channels_last: whether training it at batch 64 is faster in `torch.channels_last` on one
            CPU thread (measured 1.2x for LeNet, the CIFAR network and ResNets with BatchNorm, 1.0x
            with GroupNorm). Its rounding errors differ, and so do the weights.
    """

    factory: Callable[..., nn.Sequential]
    description: str
    citation: str
    cut: str
    channels_last: bool

    @property
    def params(self) -> dict[str, Any]:
        """The model's own parameters and their defaults."""
        return {p.name: p.default for p in declared(self.factory)}


HE_2016 = "He, Zhang, Ren, Sun: Deep residual learning for image recognition (CVPR 2016)"
HE_2019 = "He, Zhang, Lee: Model inversion attacks against collaborative inference (ACSAC 2019)"

MODELS: dict[str, ModelEntry] = {
    "mlp": ModelEntry(
        factory=mlp,
        description="fully connected ReLU network, for features or small images",
        citation="Rumelhart, Hinton, Williams: Learning representations by back-propagating errors "
        "(Nature 1986)",
        cut="relu1",
        channels_last=False,
    ),
    "lenet": ModelEntry(
        factory=lenet,
        description="LeNet with 8 and 16 channels of 5x5 convolutions, He et al.'s MNIST victim",
        citation=HE_2019,
        cut="relu2",
        channels_last=True,
    ),
    "cifar_cnn": ModelEntry(
        factory=cifar_cnn,
        description="six 3x3 convolutions, He et al.'s CIFAR-10 victim",
        citation=HE_2019,
        cut="relu22",
        channels_last=True,
    ),
    "ecg_cnn": ModelEntry(
        factory=ecg_cnn,
        description="two 1-D convolutions for signals, the heartbeat victim of Abuadbba et al.",
        citation="Abuadbba et al.: Can we use split learning on 1D CNN models for privacy "
        "preserving training? (AsiaCCS 2020)",
        cut="pool2",
        channels_last=False,
    ),
    "resnet18": ModelEntry(
        factory=resnet18,
        description="ResNet-18 with the CIFAR stem, BatchNorm or GroupNorm",
        citation=HE_2016,
        cut="layer1_1",
        channels_last=True,
    ),
    "resnet20": ModelEntry(
        factory=resnet20,
        description="ResNet-20 for CIFAR, BatchNorm or GroupNorm",
        citation=HE_2016,
        cut="layer1_2",
        channels_last=True,
    ),
}


def build(name: str, *, shape: Sequence[int], classes: int, **params: Any) -> nn.Sequential:
    """A new model of named blocks with torch's default initialization.

    Initialization draws from torch's global generator: call it in a `Stream` scope.

    Args:
        name: key of `MODELS`.
        shape: the shape of one input, (C, H, W) or (d,).
        classes: number of logits.
        params: the model's own parameters.

    Raises:
        SpecError: if the model or a parameter is unknown, or a value doesn't fit.
    """
    entry = lookup(MODELS, name, "model")
    for key in params:
        lookup(entry.params, key, f"parameter of {name}")
    if not shape or min(shape) < 1:
        raise SpecError(f"the shape of one input must be positive integers, got {tuple(shape)}")
    if classes < 1:
        raise SpecError(f"a model needs at least one class, got {classes}")
    check_arguments(entry.factory, params, name)
    return entry.factory(shape=shape, classes=classes, **params)


def whole(model: Model, *, shape: Sequence[int], classes: int) -> nn.Module:
    """The network that `model` stands for: built by name, copied, or made by the function.

    Args:
        model: what to make or copy.
        shape: the shape of one input, for a registered model.
        classes: the number of logits, for a registered model.

    Raises:
        SpecError: if the name is unknown, or the function makes something else.
    """
    if isinstance(model, str):
        return build(model, shape=shape, classes=classes)
    if isinstance(model, nn.Module):
        return copy.deepcopy(model)
    made = model()
    if not isinstance(made, nn.Module):
        raise SpecError(f"the model function returned {type(made).__name__}, expected an nn.Module")
    return made


def prefers_channels_last(model: Model) -> bool:
    """Whether the model is known to train faster in `torch.channels_last`."""
    return isinstance(model, str) and lookup(MODELS, model, "model").channels_last
