"""What a white box makes of what it heard: releases, withheld channels, the network to go through.

R releases are averaged, each channel over the releases in which it was sent. A channel that is
identically zero although the client would not make it so was withheld (random pruning, DISCO: the
mask is visible), and is left out of the loss. One that the client makes zero (a ReLU) is counted.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, Self, final

import torch
from torch import Tensor, nn

from sltoolkit.adversary.descent import squared_error
from sltoolkit.adversary.own_defense import OwnDefense
from sltoolkit.contracts.defense import Defense, Task
from sltoolkit.contracts.knowledge import Aux, Release
from sltoolkit.errors import ThreatModelError
from sltoolkit.streams import Stream

Forward = Literal["client", "mechanism"]
Network = Callable[[Tensor], Tensor]

_PROBES = 64


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class WhiteBoxView:
    """What the white box needs, and what it can use besides."""

    smashed: Tensor
    client_weights: nn.Module
    task: Task
    aux: Aux | None
    release: Release | None
    mechanism: Callable[[Stream], Defense] | None


@final
class StandIn(nn.Module):
    """A network that is held in place of the client, and is not the one that releases are made by.

    Args:
        network: from inputs to smashed data.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """The network's smashed data (B, ...)."""
        out: Tensor = self.network(x)
        return out


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Observation:
    """What was heard of N targets, and the network that is to explain it.

    Attributes:
        client: its own copy of the client, frozen.
        network: what guesses go through: the client, or the defended one.
        z: smashed data, (N, ...), merged over releases.
        weights: of units, broadcast over (N, ...); a target's sum to one.
    """

    client: nn.Module
    network: Network
    z: Tensor
    weights: Tensor

    @classmethod
    def of(cls, view: WhiteBoxView, forward: Forward | None, *, rng: Stream) -> Self:
        """What a white box makes of its view.

        Raises:
            ThreatModelError: if `forward` asks for a mechanism that is not granted.
        """
        client = copy.deepcopy(view.client_weights).eval().requires_grad_(False)
        z, sent = observe(
            view.smashed, masked=withholds(view.smashed, client, view.aux, view.release)
        )
        if z.dim() == 4 and not _shallow(client):  # maps: twice as fast on LeNet
            client.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            z = z.contiguous(memory_format=torch.channels_last)
        network: Network = client
        if forward == "mechanism":
            network = defended(client, view.mechanism, rng.child("mechanism"))
        return cls(client=client, network=network, z=z, weights=unit_weights(z, sent))

    def feature_loss(self, guess: Tensor, rows: Tensor) -> Tensor:
        """Mean squared errors over sent units, (M,), of guesses (M, ...) of the targets `rows`."""
        # a copy: a client whose first layer works in place would rewrite the guess, or a leaf
        return squared_error(self.network(guess.clone()), self.z[rows], self.weights[rows])


def forwards(given: Forward | None, view: WhiteBoxView) -> tuple[Forward, ...]:
    """The networks that a rehearsal compares, where none is given and the mechanism is known."""
    if given is not None or view.mechanism is None:
        return (given or "client",)
    return ("client", "mechanism")


def observe(smashed: Tensor, *, masked: bool) -> tuple[Tensor, Tensor]:
    """Releases merged into one observation.

    Args:
        smashed: (R, N, C, ...).
        masked: whether channels that are identically zero count as not sent.

    Returns:
        The mean over the releases in which a channel was sent, (N, C, ...), and which channels
        were sent at all, (N, C, 1, ...) of zeros and ones.
    """
    if masked:
        count = torch.stack([_present(z) for z in smashed]).sum(0)
    else:
        count = smashed.new_full(smashed.shape[1:3], len(smashed))
    count = count.reshape(*count.shape, *(1,) * (smashed.dim() - 3))
    return smashed.sum(0) / count.clamp(min=1), (count > 0).to(smashed.dtype)


def _present(z: Tensor) -> Tensor:
    """Which channels are not identically zero: (N, C) of (N, C, ...)."""
    return _loudness(z) != 0


def withholds(smashed: Tensor, client: nn.Module, aux: Aux | None, release: Release | None) -> bool:
    """Whether the release zeroes channels that the client does not.

    It does if a channel arrives silent that is louder at the client than another one that arrived:
    a reducer that rounds silences only what is quieter than all that it sends.

    Without queries to the very client that is held, nothing tells a unit that is off from one that
    was withheld: then silent maps are taken as withheld, and silent units of a vector as off.
    """
    if aux is None or release is None or isinstance(client, StandIn):
        return smashed.dim() > 3
    probes = aux.x[:_PROBES].clone()  # a client may work in place
    with torch.no_grad():
        said, sent = _loudness(client(probes)), _loudness(release(probes)[0])
    quietest = sent.where(sent > 0, torch.inf).amin(1, keepdim=True)
    return bool(((sent == 0) & (said > quietest)).any())


def _loudness(z: Tensor) -> Tensor:
    """The largest magnitude in each channel: (N, C) of (N, C, ...)."""
    return z.abs().reshape(*z.shape[:2], -1).amax(2)


def defended(
    client: nn.Module, mechanism: Callable[[Stream], Defense] | None, rng: Stream
) -> Network:
    """The client followed by the mean of a few draws of its own copy of the defense."""
    if mechanism is None:
        raise ThreatModelError(
            "forward='mechanism' needs the defense's public parameters: grant mechanism"
        )
    own = OwnDefense(mechanism, rng)
    return lambda x: own.mean(client(x), x)


def released(
    client: nn.Module, mechanism: Callable[[Stream], Defense] | None, rng: Stream
) -> Release:
    """What a client would answer, through its own copy of the defense where that is known."""
    own = OwnDefense(mechanism, rng)
    return Release(lambda x: own(client(x.clone()), x), per_batch=own.per_batch)


def unit_weights(z: Tensor, sent: Tensor) -> Tensor:
    """What one unit counts for in its target's mean over sent units, (N, C, 1, ...)."""
    per_channel = prod(z.shape[2:])
    counted = sent.flatten(1).sum(1).mul(per_channel).clamp(min=1)
    return sent / counted.reshape(-1, *(1,) * (z.dim() - 1))


@contextmanager
def suitable_kernels(client: nn.Module) -> Iterator[None]:
    """Torch's own CPU convolutions instead of oneDNN's, for a client that is one first layer.

    oneDNN's gradient with respect to an input of 1 to 3 channels takes 2 to 4 times as long as
    torch's; with more channels it is the faster one. The choice depends on the network alone.
    """
    backend: Any = torch.backends.mkldnn
    before = backend.enabled
    backend.enabled = before and not _shallow(client)
    try:
        yield
    finally:
        backend.enabled = before


def _shallow(client: nn.Module) -> bool:
    """Whether its convolutions read 1 to 3 channels, all of them."""
    convolutions = [m for m in client.modules() if isinstance(m, nn.Conv2d)]
    return bool(convolutions) and all(m.in_channels <= 3 for m in convolutions)
