"""Victims for calibration: a message that is sent as it is tells the whole input, or the label.

Each function returns one that makes a victim behind a defense. All its victims have the same
networks, data and targets, so that they differ by the defense alone.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from torch import nn

from sltoolkit.api import frozen, train
from sltoolkit.contracts.attack import AnyAttack, Listener
from sltoolkit.contracts.defense import Defense
from sltoolkit.data.samples import Split
from sltoolkit.data.targets import Targets
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import CollaborativeInference, SplitFedV1, Vanilla
from sltoolkit.streams import Stream
from sltoolkit.testing.judging import granted
from sltoolkit.training.victim import Victim

Make = Callable[[Defense, Sequence[AnyAttack]], Victim]
"""Makes a victim behind a defense; listeners hear its training."""

UNITS = 16
"""Units of the first layer whose updates are heard."""


def copies(data: Split, targets: Targets) -> Make:
    """A client that computes nothing, so that what is sent is a plain copy of the input.

    The server holds no labels, so the prior is that of an input without a label.
    """

    def make(defense: Defense, _: Sequence[AnyAttack]) -> Victim:
        return frozen(
            nn.Identity(), _head(data), data, protocol=CollaborativeInference(), defense=defense,
            targets=targets,
        )  # fmt: skip

    return make


def updates(data: Split, targets: Targets) -> Make:
    """A client with a linear first layer, which sends an update for every record (SplitFed)."""

    def make(defense: Defense, _: Sequence[AnyAttack]) -> Victim:
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            flatten=nn.Flatten(), first=nn.Linear(prod(data.shape), UNITS),
            head=nn.Linear(UNITS, len(data.classes)),
        )  # fmt: skip
        return train(
            lambda: nn.Sequential(layers), data, cut="first", protocol=SplitFedV1(clients=2),
            defense=defense, targets=targets,
            training=Training(epochs=1, optimizer="sgd", lr=0.01),
        )  # fmt: skip

    return make


def logits(data: Split, targets: Targets) -> Make:
    """A client whose logits cross the cut, so that the gradients that come back tell labels."""

    def make(defense: Defense, _: Sequence[AnyAttack]) -> Victim:
        return frozen(
            _head(data), nn.Identity(), data, protocol=Vanilla(labels_at="server"),
            defense=defense, targets=targets,
        )  # fmt: skip

    return make


def trainings(data: Split, targets: Targets, *, epochs: int) -> Make:
    """A training whose client begins by sending plain copies; the attacks listen to it.

    They don't know the defense: one that isn't `in_training` would mislead them about what they
    hear.
    """

    def make(defense: Defense, attacks: Sequence[AnyAttack]) -> Victim:
        listeners: list[Listener[Any]] = [a for a in attacks if isinstance(a, Listener)]
        layers: OrderedDict[str, nn.Module] = OrderedDict(copy=_copying(data), rest=_head(data))
        return train(
            nn.Sequential(layers), data, cut="copy", defense=defense, targets=targets,
            listeners=listeners, grants=granted(*attacks) - {"mechanism"},
            training=Training(epochs=epochs, batch_size=32),
        )  # fmt: skip

    return make


def _copying(data: Split) -> nn.Module:
    """A layer with weights that begins as the identity."""
    channels = data.shape[0]
    layer = nn.Conv2d(channels, channels, 1)
    nn.init.dirac_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def _head(data: Split) -> nn.Module:
    with Stream(0).scope():
        return nn.Sequential(nn.Flatten(), nn.Linear(prod(data.shape), len(data.classes)))
