"""The observation that white-box attacks explain: merged releases, and the network to go through.

R releases are averaged, each channel over the releases in which it was sent. A channel counts as
withheld if it is identically zero although the client itself would not make it zero (random pruning
and DISCO: the mask is visible); it is left out of the loss. A channel that the client itself makes
zero (by a ReLU) stays in the loss.
"""

import copy
from abc import ABC
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Annotated, Any, Literal, Self, final

import torch
from torch import Tensor, nn

from sltoolkit.adversary.descent import squared_error
from sltoolkit.adversary.own_defense import OwnDefense
from sltoolkit.contracts.defense import Defense, Task
from sltoolkit.contracts.knowledge import Aux, Release
from sltoolkit.errors import ThreatModelError
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.streams import Stream

Forward = Literal["client", "mechanism"]

OpenForward = Annotated[
    Forward | None,
    Parameter(
        "descend through the `client` as it is, or through the defended client (`mechanism`)",
        grid=("client", "mechanism"),
    ),
]
"""The parameter `forward` of attacks that descend through a client."""

Network = Callable[[Tensor], Tensor]

_PROBES = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownClient(ABC):
    """What attacks on a known client need, and what they can use besides."""

    smashed: Tensor
    client_weights: nn.Module
    task: Task
    aux: Aux | None
    release: Release | None
    mechanism: Callable[[Stream], Defense] | None


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class UnlabeledView(KnownClient):
    """The view of an attack that has no use for labels."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class WhiteBoxView(KnownClient):
    """The white box's view: its decoder uses the targets' labels if the seat sees them."""

    labels: Tensor | None = None


@final
class StandIn(nn.Module):
    """Marks a network that stands in for the client but is not the one that makes the releases.

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
    """What was heard of N targets, and the network that should explain it.

    Attributes:
        client: the attack's own copy of the client, frozen.
        network: what guesses go through: the client, or the defended client.
        z: smashed data, (N, ...), merged over releases.
        weights: the weights of the units in the loss, broadcast over (N, ...); they sum to one for
            each target.
    """

    client: nn.Module
    network: Network
    z: Tensor
    weights: Tensor

    @classmethod
    def of(cls, view: KnownClient, forward: Forward | None, *, rng: Stream) -> Self:
        """The observation in a white box's view.

        Args:
            view: what the attack holds.
            forward: which network should explain the observation.
            rng: for the draws of the defended client.

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
        """Mean squared errors over sent units, (M,), of guesses (M, ...) at the targets `rows`."""
        # a copy: a client whose first layer works in place would rewrite the guess, or a leaf
        return squared_error(self.network(guess.clone()), self.z[rows], self.weights[rows])


def forwards(given: Forward | None, view: KnownClient) -> tuple[Forward, ...]:
    """The values of `forward` to compare: the given one, or both if the mechanism is known."""
    if given is not None or view.mechanism is None:
        return (given or "client",)
    return ("client", "mechanism")


def observe(smashed: Tensor, *, masked: bool) -> tuple[Tensor, Tensor]:
    """Releases merged into one observation.

    Args:
        smashed: smashed data, (R, N, C, ...).
        masked: whether channels that are identically zero count as not sent.

    Returns:
        The mean over the releases in which a channel was sent, (N, C, ...); and whether a channel
        was sent at all, (N, C, 1, ...), as zeros and ones.
    """
    if masked:
        count = torch.stack([_present(z) for z in smashed]).sum(0)
    else:
        count = smashed.new_full(smashed.shape[1:3], len(smashed))
    count = count.reshape(*count.shape, *(1,) * (smashed.dim() - 3))
    return smashed.sum(0) / count.clamp(min=1), (count > 0).to(smashed.dtype)


def _present(z: Tensor) -> Tensor:
    """Which channels are not identically zero: (N, C, ...) to (N, C)."""
    return _loudness(z) != 0


def withholds(smashed: Tensor, client: nn.Module, aux: Aux | None, release: Release | None) -> bool:
    """Whether the release zeroes channels that the client itself does not.

    A channel is silent if it is all zeros; its loudness is its largest magnitude. The release
    withholds channels if one arrives silent although at the client it is at least as loud as
    another one that did arrive: one of the same sample or, if nothing of it arrives, of any. (A
    reducer that rounds silences only channels that are quieter than all others that it sends.)

    This test needs queries to the very client that is held. Without them, a silent unit may be off
    or withheld. Then silent maps count as withheld, and silent units of a vector count as off.
    """
    if aux is None or release is None or isinstance(client, StandIn):
        return smashed.dim() > 3
    probes = aux.x[:_PROBES].clone()  # a client may work in place
    with torch.no_grad():
        said, sent = _loudness(client(probes)), _loudness(release(probes)[0])
    arriving = sent.where(sent > 0, torch.inf)
    quietest = arriving.amin(1, keepdim=True)
    quietest = quietest.where(quietest.isfinite(), arriving.amin())
    quietest = quietest.where(quietest.isfinite(), 0)
    return bool(((sent == 0) & (said > 0) & (said >= quietest)).any())


def _loudness(z: Tensor) -> Tensor:
    """The largest magnitude in each channel: (N, C, ...) to (N, C)."""
    return z.abs().reshape(*z.shape[:2], -1).amax(2)


def defended(
    client: nn.Module, mechanism: Callable[[Stream], Defense] | None, rng: Stream
) -> Network:
    """The client, then the attacker's copy of the defense, as the mean of a few draws."""
    if mechanism is None:
        raise ThreatModelError(
            "forward='mechanism' needs the defense's public parameters: grant mechanism"
        )
    own = OwnDefense(mechanism, rng)
    return lambda x: own.mean(client(x), x)


def released(
    client: nn.Module, mechanism: Callable[[Stream], Defense] | None, rng: Stream
) -> Release:
    """What a client would answer, through the attacker's copy of the defense if it is known."""
    own = OwnDefense(mechanism, rng)
    return Release(lambda x: own(client(x.clone()), x), per_batch=own.per_batch)


def unit_weights(z: Tensor, sent: Tensor) -> Tensor:
    """The weight of one unit in its target's mean over sent units, (N, C, 1, ...)."""
    per_channel = prod(z.shape[2:])
    counted = sent.flatten(1).sum(1).mul(per_channel).clamp(min=1)
    return sent / counted.reshape(-1, *(1,) * (z.dim() - 1))


@contextmanager
def suitable_kernels(client: nn.Module) -> Iterator[None]:
    """Use torch's own CPU convolutions instead of oneDNN's if all read at most 3 channels.

    oneDNN's gradient with respect to an input of 1 to 3 channels takes 2 to 4 times as long as
    torch's; with more channels oneDNN is faster. The choice depends on the network alone.
    """
    backend: Any = torch.backends.mkldnn
    before = backend.enabled
    backend.enabled = before and not _shallow(client)
    try:
        yield
    finally:
        backend.enabled = before


def _shallow(client: nn.Module) -> bool:
    """Whether the client has convolutions and all of them read at most 3 channels."""
    convolutions = [m for m in client.modules() if isinstance(m, nn.Conv2d)]
    return bool(convolutions) and all(m.in_channels <= 3 for m in convolutions)
