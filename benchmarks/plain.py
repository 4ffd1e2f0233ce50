"""One epoch of every protocol in plain PyTorch, without parties and without a wire.

The loops use the networks, optimizers, samples and orders of a cast that is not used otherwise, so
that they take the same steps on the same batches as the toolkit. If a protocol splits the network,
every part has an optimizer, and the graph ends at every cut, as it must if different parties
compute the parts: outputs are detached, and each part goes backward by itself from the gradient
that the next part returns. For comparison, one graph can run through all parts, which is impossible
in split learning.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import zip_longest
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.errors import ProtocolError
from sltoolkit.parties.honest import HonestClient, HonestMiddle, HonestServer, Optimizer
from sltoolkit.training.cast import Cast
from sltoolkit.training.member import Host, Member

BATCH = 64
Part = tuple[nn.Module, Optimizer]
Batch = tuple[Tensor, Tensor]


@final
class Cuts:
    """The cuts that one batch crosses.

    Args:
        apart: whether the graph ends at a cut.
    """

    def __init__(self, *, apart: bool = True) -> None:
        self._apart = apart
        self._crossed: list[tuple[Tensor, list[Tensor]]] = []

    def cross(self, z: Tensor, *, receivers: int = 1) -> list[Tensor]:
        """The tensors that the receivers compute with, one for each."""
        if not self._apart:
            return [z] * receivers
        self._crossed.append((z, [z.detach().requires_grad_() for _ in range(receivers)]))
        return self._crossed[-1][1]

    def follow(self, losses: Sequence[Tensor], optimizers: Sequence[Optimizer]) -> None:
        """Go backward from the losses, cut by cut, and step all optimizers."""
        for optimizer in optimizers:
            optimizer.zero_grad()
        if not self._apart:
            torch.stack(list(losses)).sum().backward()
        else:
            for loss in losses:
                loss.backward()
            for z, received in reversed(self._crossed):
                first, *others = [r.grad for r in received if r.grad is not None]
                z.backward(sum(others, first))
        for optimizer in optimizers:
            optimizer.step()


def taking_turns(cast: Cast, *, apart: bool = True) -> None:
    """Vanilla, U-shaped, multi-hop: each client continues from its predecessor's weights."""
    shared = [part_of(host) for host in (*cast.hops, cast.server)]
    before = parts_of(cast.clients[-1])
    for me in cast.clients:
        own = parts_of(me)
        for (network, _), (old, _) in zip(own, before, strict=True):
            network.load_state_dict(old.state_dict())
        before = own
        for x, y in batches(me):
            learn([own[0], *shared, *own[1:]], x, y, apart=apart)


def splitfed(cast: Cast, *, apart: bool = True, clients: bool = True, drawn: bool = False) -> None:
    """SplitFed with a copy of the server's network per client (V1, V3), or with one (V2).

    Args:
        cast: the cast whose networks learn.
        apart: whether the graph ends at the cut.
        clients: whether the clients' networks are averaged.
        drawn: whether the clients come in a random order.
    """
    order = list(range(len(cast.clients)))
    if drawn:  # after two draws that decide which clients take part and which leave
        draws = cast.rng.torch()
        torch.randperm(len(order), generator=draws)
        torch.rand(2, len(order), generator=draws, dtype=torch.float64)
        order = torch.randperm(len(order), generator=draws).tolist()
    for k in order:
        me, host = cast.clients[k], cast.servers[k % len(cast.servers)]
        for x, y in batches(me):
            learn([*parts_of(me), part_of(host)], x, y, apart=apart)
    if clients:
        average([parts_of(me)[0][0] for me in cast.clients], cast.clients)
    if len(cast.servers) > 1:
        average([part_of(host)[0] for host in cast.servers], cast.clients)


def average_of_losses(cast: Cast, *, apart: bool = True) -> None:
    """Blind learning: one backward pass of the server for all clients."""
    server, optimizer = part_of(cast.server)
    heads = [parts_of(me)[0] for me in cast.clients]
    for step in zip_longest(*map(batches, cast.clients)):
        there = [(k, batch) for k, batch in enumerate(step) if batch is not None]
        cuts = Cuts(apart=apart)
        smashed = torch.cat([cuts.cross(heads[k][0](x))[0] for k, (x, _) in there])
        loss = functional.cross_entropy(server(smashed), torch.cat([y for _, (_, y) in there]))
        cuts.follow([loss], [optimizer, *(heads[k][1] for k, _ in there)])
    average([network for network, _ in heads], cast.clients)


def local_losses(cast: Cast) -> None:
    """Local losses: an auxiliary head instead of the gradient."""
    server = part_of(cast.server)
    for me in cast.clients:
        head, auxiliary = parts_of(me)
        for x, y in batches(me):
            z = head[0](x)
            _WHOLE.follow([functional.cross_entropy(server[0](z.detach()), y)], [server[1]])
            local = functional.cross_entropy(auxiliary[0](z), y)
            _WHOLE.follow([local], [head[1], auxiliary[1]])
    for i in range(2):
        average([parts_of(me)[i][0] for me in cast.clients], cast.clients)


def federated(cast: Cast) -> None:
    """FedAvg with one local epoch."""
    for me in cast.clients:
        for x, y in batches(me):
            learn(parts_of(me), x, y, apart=False)
    for i in range(2):
        average([parts_of(me)[i][0] for me in cast.clients], cast.clients)


def synchronous(cast: Cast) -> None:
    """Large-batch SGD: all clients step along the mean gradient."""
    everybody = [parts_of(me) for me in cast.clients]
    weights = [[w for part in parts for w in part[0].parameters()] for parts in everybody]
    for step in zip_longest(*map(batches, cast.clients)):
        there = [(k, batch) for k, batch in enumerate(step) if batch is not None]
        total = sum(len(y) for _, (_, y) in there)
        for k, (x, y) in there:
            for _, optimizer in everybody[k]:
                optimizer.zero_grad()
            (functional.cross_entropy(forward(everybody[k], x), y) * (len(y) / total)).backward()
        for same in zip(*weights, strict=True):
            mean = torch.stack([same[k].grad for k, _ in there if same[k].grad is not None]).sum(0)
            for weight in same:
                weight.grad = mean
        for parts in everybody:
            for _, optimizer in parts:
                optimizer.step()


def feature_blocks(cast: Cast, *, apart: bool = True) -> None:
    """Vertical, extended vanilla, multi-task: parties with different blocks of features."""
    heads = [parts_of(me)[0] for me in cast.clients]
    joiner, servers = list(map(part_of, cast.hops)), list(map(part_of, cast.servers))
    views = [me.samples.x for me in cast.clients]
    optimizers = [optimizer for _, optimizer in (*heads, *joiner, *servers)]
    for index, y in indices(cast.clients[0]):
        cuts = Cuts(apart=apart)
        said = [network(x[index]) for (network, _), x in zip(heads, views, strict=True)]
        if joiner:
            z = torch.cat([cuts.cross(z)[0] for z in said], dim=-1)
            heard = cuts.cross(forward(joiner, z), receivers=len(servers))
        else:
            copies = [cuts.cross(z, receivers=len(servers)) for z in said]
            heard = [torch.cat(own, dim=-1) for own in zip(*copies, strict=True)]
        losses = [
            functional.cross_entropy(server(z), own)
            for (server, _), z, own in zip(servers, heard, [y, y % 2], strict=False)
        ]
        cuts.follow(losses, optimizers)


def inference(cast: Cast) -> None:
    """Collaborative inference: all parties compute, and none learns."""
    for me in cast.clients:
        with torch.no_grad():
            for x, _ in batches(me):
                server_of(cast)(me.party.module(x))


_WHOLE = Cuts(apart=False)

PLAIN: dict[str, Callable[..., None]] = {
    "vanilla": taking_turns,
    "u_shaped": taking_turns,
    "vertical": feature_blocks,
    "extended_vanilla": feature_blocks,
    "multi_hop": taking_turns,
    "multi_task": feature_blocks,
    "splitfed_v1": splitfed,
    "splitfed_v2": partial(splitfed, drawn=True),
    "splitfed_v3": partial(splitfed, clients=False),
    "blind_learning": average_of_losses,
    "local_loss": local_losses,
    "fedavg": federated,
    "large_batch_sgd": synchronous,
    "collaborative_inference": inference,
}

SPLIT = frozenset(PLAIN) - {"local_loss", "fedavg", "large_batch_sgd", "collaborative_inference"}
"""Protocols in which gradients cross a cut between parties; their loops take `apart`."""


def learn(parts: Sequence[Part], x: Tensor, y: Tensor, *, apart: bool) -> None:
    """Take one step of a network in parts."""
    cuts = Cuts(apart=apart)
    (first, _), *rest = parts
    x = first(x)
    for network, _ in rest:
        x = network(*cuts.cross(x))
    cuts.follow([functional.cross_entropy(x, y)], [optimizer for _, optimizer in parts])


def forward(parts: Sequence[Part], x: Tensor) -> Tensor:
    """The output of all parts, one after the other."""
    for network, _ in parts:
        x = network(x)
    return x


def average(networks: Sequence[nn.Module], clients: Sequence[Member]) -> None:
    """Give all networks their mean, weighted by the clients' samples."""
    counts = [len(me.samples) for me in clients]
    states = [network.state_dict() for network in networks]
    mean = {
        name: torch.stack([s[name] * n for s, n in zip(states, counts, strict=True)]).sum(0)
        / sum(counts)
        for name in states[0]
    }
    for network in networks:
        network.load_state_dict(mean)


def indices(me: Member) -> Iterator[Batch]:
    """One epoch of a client's batches: indices and labels."""
    y = me.samples.y
    for index in torch.randperm(len(y), generator=me.order.torch()).split(BATCH):
        yield index, y[index]


def batches(me: Member) -> Iterator[Batch]:
    """One epoch of a client's batches: inputs and labels."""
    x = me.samples.x
    return ((x[index], y) for index, y in indices(me))


def parts_of(me: Member) -> list[Part]:
    """A client's networks with their optimizers."""
    return [_part(party) for party in (me.party, me.tail) if party is not None]


def part_of(host: Host) -> Part:
    """A host's network with its optimizer."""
    return _part(_honest(host))


def server_of(cast: Cast) -> nn.Module:
    """The server's network, which may have no optimizer."""
    return _honest(cast.server).module


def _honest(host: Host) -> HonestMiddle | HonestServer:
    if not isinstance(host.party, HonestMiddle | HonestServer):
        raise ProtocolError(f"{host.seat} was taken over")
    return host.party


def _part(party: HonestClient | HonestMiddle | HonestServer) -> Part:
    if party.optimizer is None:
        raise ProtocolError("a network without an optimizer can't learn")
    return party.module, party.optimizer
