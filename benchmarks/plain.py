"""One epoch of every protocol as somebody would write it in plain PyTorch: no parties, no wire.

The loops work on the networks, optimisers, samples and orders of a cast that is not used
otherwise, so that they take the same steps on the same batches as the toolkit's loop does. Where a
protocol splits the network, one graph runs through all parts, and every part has an optimiser.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import zip_longest

import torch
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.errors import ProtocolError
from sltoolkit.parties import HonestClient, HonestMiddle, HonestServer, Optimizer
from sltoolkit.protocols.base import Cast, Host, Member

BATCH = 64
Part = tuple[nn.Module, Optimizer]
Batch = tuple[Tensor, Tensor]


def taking_turns(cast: Cast) -> None:
    """Vanilla, U-shaped, multi-hop: each client goes on from its predecessor's weights."""
    shared = [part_of(host) for host in (*cast.hops, cast.server)]
    before = parts_of(cast.clients[-1])
    for me in cast.clients:
        own = parts_of(me)
        for (network, _), (old, _) in zip(own, before, strict=True):
            network.load_state_dict(old.state_dict())
        before = own
        for x, y in batches(me):
            learn([own[0], *shared, *own[1:]], x, y)


def splitfed(cast: Cast, *, clients: bool = True, drawn: bool = False) -> None:
    """SplitFed with a copy of the server's network per client (V1, V3), or with one (V2).

    Args:
        cast: whose networks learn.
        clients: whether the clients' networks are averaged.
        drawn: whether they come in a random order.
    """
    order = list(range(len(cast.clients)))
    if drawn:  # after two draws about who takes part, and who leaves
        draws = cast.rng.torch()
        torch.randperm(len(order), generator=draws)
        torch.rand(2, len(order), generator=draws, dtype=torch.float64)
        order = torch.randperm(len(order), generator=draws).tolist()
    for k in order:
        me, host = cast.clients[k], cast.servers[k % len(cast.servers)]
        for x, y in batches(me):
            learn([*parts_of(me), part_of(host)], x, y)
    if clients:
        average([parts_of(me)[0][0] for me in cast.clients], cast.clients)
    if len(cast.servers) > 1:
        average([part_of(host)[0] for host in cast.servers], cast.clients)


def average_of_losses(cast: Cast) -> None:
    """Blind learning: one backward pass for all clients."""
    server, optimizer = part_of(cast.server)
    heads = [parts_of(me)[0] for me in cast.clients]
    for step in zip_longest(*map(batches, cast.clients)):
        there = [(k, batch) for k, batch in enumerate(step) if batch is not None]
        smashed = torch.cat([heads[k][0](x) for k, (x, _) in there])
        loss = functional.cross_entropy(server(smashed), torch.cat([y for _, (_, y) in there]))
        follow(loss, [optimizer, *(heads[k][1] for k, _ in there)])
    average([network for network, _ in heads], cast.clients)


def local_losses(cast: Cast) -> None:
    """Local losses: an auxiliary head instead of the gradient."""
    server = part_of(cast.server)
    for me in cast.clients:
        head, auxiliary = parts_of(me)
        for x, y in batches(me):
            z = head[0](x)
            follow(functional.cross_entropy(server[0](z.detach()), y), [server[1]])
            follow(functional.cross_entropy(auxiliary[0](z), y), [head[1], auxiliary[1]])
    for i in range(2):
        average([parts_of(me)[i][0] for me in cast.clients], cast.clients)


def federated(cast: Cast) -> None:
    """FedAvg with one local epoch."""
    for me in cast.clients:
        for x, y in batches(me):
            learn(parts_of(me), x, y)
    for i in range(2):
        average([parts_of(me)[i][0] for me in cast.clients], cast.clients)


def synchronous(cast: Cast) -> None:
    """Large-batch SGD: everybody steps along the mean gradient."""
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


def feature_blocks(cast: Cast) -> None:
    """Vertical, extended vanilla, multi-task: parties with blocks of the features."""
    heads = [parts_of(me)[0] for me in cast.clients]
    joiner, servers = list(map(part_of, cast.hops)), list(map(part_of, cast.servers))
    views = [me.samples.x for me in cast.clients]
    optimizers = [optimizer for _, optimizer in (*heads, *joiner, *servers)]
    for index, y in indices(cast.clients[0]):
        parts = zip(heads, views, strict=True)
        z = torch.cat([network(x[index]) for (network, _), x in parts], dim=-1)
        z = forward(joiner, z)
        labels = [y, y % 2][: len(servers)]
        losses = [
            functional.cross_entropy(server(z), own)
            for (server, _), own in zip(servers, labels, strict=True)
        ]
        follow(torch.stack(losses).sum(), optimizers)


def inference(cast: Cast) -> None:
    """Collaborative inference: nobody learns."""
    for me in cast.clients:
        with torch.no_grad():
            for x, _ in batches(me):
                server_of(cast)(me.party.module(x))


PLAIN: dict[str, Callable[[Cast], None]] = {
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


def learn(parts: Sequence[Part], x: Tensor, y: Tensor) -> None:
    """One step of a network in parts."""
    follow(functional.cross_entropy(forward(parts, x), y), [optimizer for _, optimizer in parts])


def forward(parts: Sequence[Part], x: Tensor) -> Tensor:
    """Through all parts."""
    for network, _ in parts:
        x = network(x)
    return x


def follow(loss: Tensor, optimizers: Iterable[Optimizer]) -> None:
    """Backward, and a step of all optimisers."""
    optimizers = list(optimizers)
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()


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
    """A client's networks with their optimisers."""
    return [_part(party) for party in (me.party, me.tail) if party is not None]


def part_of(host: Host) -> Part:
    """A host's network with its optimiser."""
    return _part(_honest(host))


def server_of(cast: Cast) -> nn.Module:
    """The server's network, which may have no optimiser."""
    return _honest(cast.server).module


def _honest(host: Host) -> HonestMiddle | HonestServer:
    if not isinstance(host.party, HonestMiddle | HonestServer):
        raise ProtocolError(f"{host.seat} was taken over")
    return host.party


def _part(party: HonestClient | HonestMiddle | HonestServer) -> Part:
    if party.optimizer is None:
        raise ProtocolError("a network without an optimiser can't learn")
    return party.module, party.optimizer
