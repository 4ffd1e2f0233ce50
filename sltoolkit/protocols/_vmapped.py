"""Many equal conversations in one pass: several clients, each with its own copy of the server.

When a hundred small networks are simulated one by one, most of the time goes into overhead around
the arithmetic. Where they differ only in their weights, `torch.vmap` runs all of them over stacked
weights. Gradients flow back into every network's own weights, so every party keeps its own
optimizer, and every message still crosses the wire.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from sltoolkit.errors import ProtocolError
from sltoolkit.parties.honest import HonestClient, HonestServer
from sltoolkit.protocols._conversation import converse
from sltoolkit.protocols._rounds import Attendance, Batch, lockstep
from sltoolkit.training.cast import without_inputs
from sltoolkit.training.member import Host, Member
from sltoolkit.wire.wire import Wire

LARGEST = 32
"""The most samples in a stacked batch; with larger batches, stacking saves no time."""

ROWS = 800
"""The most samples in one stacked pass; with more, LeNet's activations overflow the caches."""

LAYERS = (
    nn.Conv2d, nn.Linear, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten,
    nn.Identity, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh,
)  # fmt: skip
"""Layers that draw no random numbers, keep no statistics, and support `torch.vmap`."""


class Pair(NamedTuple):
    """A client with a batch, and the host with which it converses."""

    me: Member
    host: Host
    batch: Batch


def converse_jointly(there: Sequence[Attendance], hosts: Sequence[Host], wire: Wire) -> None:
    """All batches of a round, every client with its own host; stacked where that is possible.

    Args:
        there: the clients with their batches.
        hosts: the clients' hosts, by slot.
        wire: the wire between them.
    """
    own = {a.member: hosts[a.slot] for a in there}
    stackable = all(_stackable(me.party) and _stackable(host.party) for me, host in own.items())
    for step in lockstep([(a.member, a.batches) for a in there]):
        pairs = [Pair(me, own[me], batch) for me, batch in step]
        for group in _groups(pairs) if stackable else [[pair] for pair in pairs]:
            if len(group) > 1:
                converse_vmapped(group, wire)
            else:
                me, host, (x, y, turn) = group[0]
                converse(me, host, x, y, turn, wire)


def converse_vmapped(pairs: Sequence[Pair], wire: Wire) -> None:
    """Equal batches of several clients in one pass; the same messages travel as in `converse`.

    Args:
        pairs: honest parties with networks that differ only in their weights, batches of one size.
        wire: the wire between them.
    """
    clients = [me.party for me, _, _ in pairs]
    computed = forward(clients, torch.stack([x for _, _, (x, _, _) in pairs]))

    sent, smashed, labels = [], [], []
    for (me, host, (_, y, turn)), z in zip(pairs, computed, strict=True):
        own = me.defense.labels(y, turn)
        labels.append(wire.send(own, src=me.seat, dst=host.seat, kind="labels", turn=turn))
        sent.append(me.defense.smash(z, turn))
        smashed.append(wire.send(sent[-1], src=me.seat, dst=host.seat, kind="smashed", turn=turn))

    gradients = step([_server(host) for _, host, _ in pairs], torch.stack(smashed), labels)
    back, extra = [], []
    for (me, host, (_, _, turn)), z, g in zip(pairs, sent, gradients, strict=True):
        g = host.defense.gradient(g, without_inputs(turn, host.rng))
        arrived = wire.send(g, src=host.seat, dst=me.seat, kind="smashed_grad", turn=turn)
        back.append(me.defense.receive(arrived, turn))
        extra.append(me.defense.client_loss(z, turn))
    update(clients, sent, back, extra)
    for me, _, (_, _, turn) in pairs:
        me.defense.step(turn)
        wire.close(turn)


def forward(parties: Sequence[HonestClient | HonestServer], x: Tensor) -> tuple[Tensor, ...]:
    """Each network's output (B, ...) for its own rows of x (K, B, ...), in one graph."""
    for party, rows in zip(parties, x, strict=True):
        party.takes(rows)
    first = parties[0].module
    names = (name for name, _ in first.named_parameters())
    each = zip(*(party.weights for party in parties), strict=True)
    weights = {name: torch.stack(same) for name, same in zip(names, each, strict=True)}
    out: Tensor = torch.vmap(lambda w, rows: functional_call(first, w, (rows,)))(weights, x)
    return out.unbind()


def step(servers: Sequence[HonestServer], smashed: Tensor, labels: Sequence[Tensor]) -> Tensor:
    """The `step` of all K servers: smashed data (K, B, ...), labels (B,) each; the gradients."""
    smashed.requires_grad_()
    logits = forward(servers, smashed)
    losses = functional.cross_entropy(torch.cat(logits), torch.cat(list(labels)), reduction="none")
    means = losses.view(len(servers), -1).mean(1)
    for server, loss in zip(servers, means, strict=True):
        server.zero()
        server.returns(smashed.shape[1])
        server.note(loss)
    means.sum().backward()
    for server in servers:
        server.move()
    return torch.zeros_like(smashed) if smashed.grad is None else smashed.grad


def update(
    clients: Sequence[HonestClient],
    sent: Sequence[Tensor],
    back: Sequence[Tensor | None],
    extra: Sequence[Tensor | None],
) -> None:
    """The `update` of all clients with a gradient `back`, in one backward pass."""
    roots, gradients, moving = [], [], []
    for client, z, g, loss in zip(clients, sent, back, extra, strict=True):
        if g is None:
            continue
        client.zero()
        moving.append(client)
        own = [(z, g)] if z.requires_grad else []
        own += [(loss, torch.ones_like(loss))] if loss is not None else []
        if own:
            client.returns(len(z))
        roots += [root for root, _ in own]
        gradients += [gradient for _, gradient in own]
    if roots:
        torch.autograd.backward(roots, gradients)
    for client in moving:
        client.move()


def _groups(pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    """Neighbors with batches of one size, not too many at once."""
    for size, run in groupby(pairs, key=lambda pair: len(pair.batch[1])):
        equal, most = list(run), max(1, ROWS // size) if 0 < size <= LARGEST else 1
        yield from (equal[i : i + most] for i in range(0, len(equal), most))


def _stackable(party: object) -> bool:
    """Whether a party is honest, learns in this process, and has a network that can be stacked."""
    if not isinstance(party, HonestClient | HonestServer) or party.optimizer is None:
        return False
    layers = [m for m in party.module.modules() if type(m) is not nn.Sequential]
    return all(
        type(layer) in LAYERS
        and not getattr(layer, "inplace", False)
        and not (layer._forward_hooks or layer._forward_pre_hooks)
        for layer in layers
    )


def _server(host: Host) -> HonestServer:
    if not isinstance(host.party, HonestServer):
        raise ProtocolError(f"{host.seat} must be an honest server")
    return host.party
