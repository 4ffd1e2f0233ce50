"""Parameters and FLOPs of the parts of a network at every cut, counted on a forward pass."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import prod
from typing import final

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sltoolkit.costs.workload import Workload
from sltoolkit.models import CutProfile, build, cut, profile_cuts
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True)
class PartCost:
    """The costs of one party's part of a network.

    Attributes:
        params: number of parameters.
        buffers: numbers in floating-point buffers (BatchNorm's statistics).
        forward_flops: FLOPs of one sample's forward pass: 2 per multiply-add of convolutions and
            matrix products, and nothing else.
        training_flops: FLOPs of one sample's forward and backward pass, without the gradient with
            respect to the whole network's input, which is not needed.
    """

    params: int = 0
    buffers: int = 0
    forward_flops: int = 0
    training_flops: int = 0

    def __add__(self, other: "PartCost") -> "PartCost":
        """The costs of both parts together."""
        return PartCost(
            params=self.params + other.params,
            buffers=self.buffers + other.buffers,
            forward_flops=self.forward_flops + other.forward_flops,
            training_flops=self.training_flops + other.training_flops,
        )


@final
@dataclass(frozen=True, kw_only=True)
class SplitCost:
    """A network cut once.

    Attributes:
        at: the cut's name.
        shape: the shape of one sample's smashed data, without the batch axis.
        client: the part before the cut.
        server: the part after it.
        auxiliary: a linear classifier on the smashed data, averaged over each channel; a client
            that computes its own loss needs such a head.
    """

    at: str
    shape: tuple[int, ...]
    client: PartCost
    server: PartCost
    auxiliary: PartCost

    @property
    def whole(self) -> PartCost:
        """The costs of the whole network."""
        return self.client + self.server

    def workload(self, *, clients: int, samples: int) -> Workload:
        """One epoch of training on `samples` samples, dealt out to `clients` clients."""
        return Workload(
            clients=clients,
            params=self.whole.params,
            samples=samples,
            cut_width=prod(self.shape),
            client_params=self.client.params,
        )


def split_costs(module: nn.Module, shape: Sequence[int], *, classes: int) -> list[SplitCost]:
    """The costs of every legal cut, in order of execution.

    A copy of the model runs forward and backward in evaluation mode on one sample of zeros.

    Args:
        module: the model, which stays as it is.
        shape: the shape of one input, without the batch axis.
        classes: number of classes of the auxiliary head.

    Raises:
        SpecError: if the model can't be cut anywhere, or takes no input of that shape.
    """
    profiles = profile_cuts(module, shape)
    replica = deepcopy(module).eval().requires_grad_()
    like = next(replica.parameters(), torch.zeros(()))
    value = torch.zeros(1, *shape, dtype=like.dtype, device=like.device)
    pieces = []
    with Stream(0).scope():
        for piece in cut(replica, [profile.at for profile in profiles]):
            cost, value = part_cost(piece, value)
            pieces.append(cost)
        auxiliary = [_auxiliary(profile, classes) for profile in profiles]
    return [
        SplitCost(
            at=profile.at,
            shape=profile.shape,
            client=sum(pieces[:number], PartCost()),
            server=sum(pieces[number:], PartCost()),
            auxiliary=head,
        )
        for number, (profile, head) in enumerate(zip(profiles, auxiliary, strict=True), start=1)
    ]


def u_shaped_workload(
    first: SplitCost, second: SplitCost, *, clients: int, samples: int
) -> Workload:
    """One epoch of training a network cut twice, whose clients hold the head and the tail.

    The widths of both cuts add up, and the tail's parameters are the client's.

    Args:
        first: the network at the head's end.
        second: the network at the beginning of the tail, a later cut.
        clients: the number of clients, K.
        samples: the number of samples, p.
    """
    return Workload(
        clients=clients,
        params=first.whole.params,
        samples=samples,
        cut_width=prod(first.shape) + prod(second.shape),
        client_params=first.client.params + second.server.params,
    )


def registered_costs(model: str, shape: Sequence[int], *, classes: int) -> list[SplitCost]:
    """The costs of every legal cut of a registered model, in order of execution.

    Args:
        model: the model's name.
        shape: the shape of one input, without the batch axis.
        classes: number of classes.

    Raises:
        SpecError: if there is no such model, or it doesn't take that shape.
    """
    with Stream(0).scope():
        module = build(model, shape=shape, classes=classes)
    return split_costs(module, shape, classes=classes)


def part_cost(part: nn.Module, value: Tensor) -> tuple[PartCost, Tensor]:
    """The costs of a part on one sample (1, ...), and its output, the next part's input."""
    inlet = value.detach().requires_grad_(value.requires_grad)
    with FlopCounterMode(display=False) as counter:
        out = part(inlet.clone())  # a copy, because an in-place layer may not write to a leaf
        forward = counter.get_total_flops()
        if out.requires_grad:
            torch.autograd.backward(out, torch.ones_like(out))
    cost = PartCost(
        params=sum(p.numel() for p in part.parameters()),
        buffers=sum(b.numel() for b in part.buffers() if b.is_floating_point()),
        forward_flops=forward,
        training_flops=counter.get_total_flops(),
    )
    return cost, out


def _auxiliary(profile: CutProfile, classes: int) -> PartCost:
    pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten()] if len(profile.shape) == 3 else [nn.Flatten()]
    width = profile.shape[0] if len(profile.shape) == 3 else profile.numbers
    head = nn.Sequential(*pooled, nn.Linear(width, classes))
    cost, _ = part_cost(head, torch.zeros(1, *profile.shape, requires_grad=True))
    return cost
