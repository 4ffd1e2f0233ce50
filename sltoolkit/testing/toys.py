"""The toys of the contract suite: tiny images, a network, and victims trained in milliseconds."""

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from torch import nn

from sltoolkit.api import train
from sltoolkit.contracts.defense import Defense
from sltoolkit.data.samples import Samples, Split
from sltoolkit.data.targets import Targets
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Protocol, Vanilla
from sltoolkit.streams import Stream
from sltoolkit.training.victim import Victim

Norm = Literal["batch", "group"]

CLASSES = 3
SHAPE = (1, 8, 8)
CUT = "drop"
GRANTS = frozenset({"aux", "release", "prior"})
TARGETS = Targets(count=6, labels=12, hints=2)
QUICK = Training(epochs=2, batch_size=16, lr=0.05, optimizer="sgd", momentum=0.9)


@final
@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a toy is.

    Attributes:
        sides: height and width of its images.
        train: how many private training samples.
        holdout: how many private samples that nobody trains on.
        aux: how many samples of the attacker.
        targets: what attacks are asked about.
        training: how it is trained.
    """

    sides: tuple[int, int] = SHAPE[1:]
    train: int = 48
    holdout: int = 18
    aux: int = 30
    targets: Targets = TARGETS
    training: Training = QUICK


SMALL = Size()
"""The usual toys."""

LARGE = Size(
    sides=(32, 28), train=120, holdout=68, aux=60, targets=Targets(count=66, labels=70, hints=3),
    training=Training(epochs=2, batch_size=40, lr=0.05, optimizer="sgd", momentum=0.9),
)  # fmt: skip
"""Toys with more of everything than the default targets ask about, for what sleeps on small ones.

They differ in shape, number of targets and size of batches, too.
"""


def samples(n: int, *, first: int, rng: Stream, sides: tuple[int, int] = SMALL.sides) -> Samples:
    """Smooth images: a bright bar at a place that tells the class, on a random slope.

    Args:
        n: how many images.
        first: the id of the first image; the other ids follow.
        rng: the stream of slopes and noise.
        sides: height and width of the images.
    """
    height, width = sides
    g = rng.torch()
    y = torch.arange(n) % CLASSES
    rows = torch.arange(float(height)).view(1, height, 1)
    columns = torch.arange(float(width)).view(1, 1, width)
    bar = 0.4 * (rows // math.ceil(height / CLASSES) == y.view(n, 1, 1)).float()
    slope = torch.rand(n, 2, 1, 1, generator=g) * 0.6 / (height + width - 2)
    x = 0.1 + bar + slope[:, 0] * rows + slope[:, 1] * columns
    x = (x + 0.02 * torch.randn(n, height, width, generator=g)).clamp(0, 1).unsqueeze(1)
    ids = torch.arange(first, first + n)
    return Samples(x=x, y=y, ids=ids, groups=ids.clone())


def split(
    train: int = SMALL.train, holdout: int = SMALL.holdout, aux: int = SMALL.aux, *, seed: int = 0,
    sides: tuple[int, int] = SMALL.sides,
) -> Split:  # fmt: skip
    """Three disjoint parts of toy images."""
    rng = Stream(seed).child("toy")
    return Split(
        name="toy",
        private_train=samples(train, first=0, rng=rng.child("train"), sides=sides),
        private_holdout=samples(holdout, first=1000, rng=rng.child("holdout"), sides=sides),
        aux=samples(aux, first=2000, rng=rng.child("aux"), sides=sides),
        classes=("top", "middle", "bottom"),
    )


def split_of(size: Size) -> Split:
    """The toy images of a size."""
    return split(size.train, size.holdout, size.aux, sides=size.sides)


def random_split(
    train: int,
    holdout: int,
    aux: int,
    *,
    shape: tuple[int, ...],
    classes: int,
    dtype: torch.dtype = torch.float32,
) -> Split:
    """Uniform inputs and labels of any shape, for tests in which only the arithmetic counts.

    Args:
        train: how many private training samples; their ids begin at 1000.
        holdout: how many private samples that nobody trains on.
        aux: how many samples of the attacker.
        shape: the shape of an input.
        classes: how many classes.
        dtype: the type of the inputs.
    """
    n, g = train + holdout + aux, torch.Generator().manual_seed(0)
    x = torch.rand(n, *shape, generator=g, dtype=dtype)
    y = torch.randint(classes, (n,), generator=g)
    whole = Samples(x=x, y=y, ids=torch.arange(n) + 1000, groups=torch.arange(n))
    return Split(
        name="random",
        private_train=whole[:train],
        private_holdout=whole[train : train + holdout],
        aux=whole[train + holdout :],
        classes=tuple(f"class {c}" for c in range(classes)),
    )


def network(
    norm: Norm = "group", *, dropout: float = 0.2, sides: tuple[int, int] = SMALL.sides
) -> nn.Sequential:
    """Convolution, normalization and dropout on either side of the cut; cut it at `CUT`."""
    height, width = ((side - 1) // 2 for side in sides)

    def normal(channels: int) -> nn.Module:
        return nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(2, channels)

    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(1, 4, 3, padding=1),
        norm=normal(4),
        relu=nn.ReLU(),
        drop=nn.Dropout(dropout),
        conv2=nn.Conv2d(4, 6, 3, stride=2),
        norm2=normal(6),
        relu2=nn.ReLU(inplace=True),
        drop2=nn.Dropout(dropout),
        flatten=nn.Flatten(),
        head=nn.Linear(6 * height * width, CLASSES),
    )
    return nn.Sequential(layers)


def cuts(protocol: Protocol) -> str | list[str]:
    """The cuts of the toy network for a protocol that needs two or three parts."""
    return CUT if protocol.parts == 2 else [CUT, "flatten"]


def victim(
    defense: Defense | None = None,
    *,
    norm: Norm = "group",
    protocol: Protocol | None = None,
    size: Size = SMALL,
    **options: Any,
) -> Victim:
    """A trained toy victim; further options are those of `api.train`."""
    protocol = protocol or Vanilla()
    settings: dict[str, Any] = {
        "cut": cuts(protocol), "training": size.training, "targets": size.targets, **options
    }  # fmt: skip
    return train(
        lambda: network(norm, sides=size.sides), split_of(size), defense=defense,
        protocol=protocol, **settings,
    )  # fmt: skip
