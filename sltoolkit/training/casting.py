"""Seating a run: what a protocol builds its cast from."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import nn

from sltoolkit.chain import Guarded
from sltoolkit.contracts import Defense, NoDefense, PartySetup, Task
from sltoolkit.data.partition import Dealt, Partition, deal
from sltoolkit.data.samples import Samples, Split
from sltoolkit.errors import ProtocolError, SpecError
from sltoolkit.models.refit import reinitialise
from sltoolkit.parties import HonestClient, HonestMiddle, HonestServer
from sltoolkit.protocols.averaging import Averager
from sltoolkit.protocols.base import Cast, Host, Member, Protocol
from sltoolkit.sampling import Shuffled
from sltoolkit.settings import Training
from sltoolkit.side_by_side import SideBySide
from sltoolkit.streams import Stream
from sltoolkit.wire import Ear, Seat, Wire


@final
@dataclass(kw_only=True, eq=False)
class Run:
    """A run before and while it happens.

    Attributes:
        protocol: its script.
        parts: the cut network as it is initialised: (client, server) or (head, middle, tail).
        cast: the seated parties.
        task: shapes and classes, as they are known at the first wire.
        defense: the defence as it was given, untouched.
        data: the private and aux samples.
        rng: the victim's root stream.
    """

    protocol: Protocol
    parts: tuple[nn.Module, ...]
    cast: Cast
    task: Task
    defense: Defense
    data: Split
    rng: Stream


@final
@dataclass(kw_only=True, eq=False)
class Casting:
    """Builds the parties of a run, each with a copy of its network and of the defence.

    Attributes:
        parts: the cut network.
        data: the private and aux samples.
        shards: every client's samples.
        defense: the defence as it was given.
        training: how parties learn; None: nobody ever does.
        rng: the victim's root stream.
        wire: between the parties.
        alike: whether clients start alike, because the protocol makes them one network.
    """

    parts: tuple[nn.Module, ...]
    data: Split
    shards: Sequence[Samples]
    defense: Defense
    training: Training | None
    rng: Stream
    wire: Wire
    alike: bool

    def cast(
        self, *, clients: Sequence[Member], servers: Sequence[Host], hops: Sequence[Host] = (),
        averaged: bool = False,
    ) -> Cast:  # fmt: skip
        """The cast; `averaged` seats a fed server that keeps the clients' common networks."""
        return Cast(
            clients=clients, servers=servers, hops=hops, wire=self.wire,
            rng=self.rng.child("protocol"),
            fed=Averager(clients[0].networks()) if averaged else None,
        )  # fmt: skip

    def smashed_shape(self) -> tuple[int, ...]:
        """What the first part makes of one sample."""
        return task_of(self.parts[0], self.data.private_train, self.data).smashed_shape

    def client(
        self, k: int, networks: Sequence[nn.Module], *, samples: Samples | None = None,
        seat: Seat | None = None,
    ) -> Member:  # fmt: skip
        """A client.

        Args:
            k: its number, which names its random streams.
            networks: what it computes up to the cut, and the tail where it has one.
            samples: what it holds; its shard by default.
            seat: its position, `client` k by default.
        """
        rng = self.rng.child(f"client{k}")
        samples = self.shards[k] if samples is None else samples
        blank = tuple(networks)
        if k > 0 and not self.alike:  # private networks start apart
            blank = copy.deepcopy(blank)
            with rng.child("init").scope():
                for module in blank:
                    reinitialise(module)
        head, *tails = (copy.deepcopy(module) for module in blank)
        own = guard(self.defense, rng.child("defense"))
        setup = own.begin(
            self._setup("client", head, samples, task_of(head, samples, self.data), rng)
        )
        end = None
        if tails:
            optimizer = self.training.optimizer_for(tails[0]) if self.training else None
            end = HonestServer(tails[0], optimizer, rng.child("tail"))
        return Member(
            seat=seat or Seat("client", k),
            party=HonestClient(setup.module, setup.optimizer, rng.child("net")), tail=end,
            defense=own, samples=samples, sampler=setup.sampler, order=rng.child("order"),
            rng=rng.child("defense"), blank=blank,
        )  # fmt: skip

    def server(self, seat: Seat, blank: nn.Module, *, copy: int = 0) -> Host:
        """Who computes the loss; a server may keep several copies of its network."""
        name = f"{seat}.{copy}" if copy else str(seat)
        return self._host(replace(seat, copy=copy), blank, HonestServer, name)

    def middle(self, seat: Seat, blank: nn.Module) -> Host:
        """Who sits between two cuts."""
        return self._host(seat, blank, HonestMiddle, str(seat))

    def _host(
        self, seat: Seat, blank: nn.Module, kind: type[HonestServer | HonestMiddle], name: str
    ) -> Host:
        rng = self.rng.child(name)
        own = guard(self.defense, rng.child("defense"))
        task = task_of(self.parts[0], self.data.private_train, self.data)
        everything = self.data.private_train
        setup = own.begin(self._setup("labels", copy.deepcopy(blank), everything, task, rng))
        party = kind(setup.module, setup.optimizer, rng.child("network"))
        return Host(seat=seat, party=party, defense=own, rng=rng.child("defense"), blank=blank)

    def _setup(
        self, side: str, module: nn.Module, samples: Samples, task: Task, rng: Stream
    ) -> PartySetup:
        training = self.training
        return PartySetup(
            side="client" if side == "client" else "labels", module=module,
            optimizer=training.optimizer_for(module) if training else None,
            sampler=Shuffled(batch_size=training.batch_size if training else 64), task=task,
            samples=len(samples), rng=rng.child("defense"),
        )  # fmt: skip


def seat_parties(
    parts: tuple[nn.Module, ...],
    data: Split,
    *,
    protocol: Protocol,
    defense: Defense,
    training: Training | None,
    rng: Stream,
    ears: Sequence[Ear] = (),
    partition: Partition | None = None,
    wire: Wire | None = None,
) -> Run:
    """Seat honest parties with copies of the parts; without `training` nobody ever learns.

    Args:
        parts: the cut network.
        data: the private data and the attacker's.
        protocol: who talks to whom.
        defense: every party gets a copy.
        training: how parties learn.
        rng: the victim's root stream.
        ears: who hears the wire.
        partition: which client holds which samples; dealt out in turn by default.
        wire: between the parties; one that hands messages over in this process by default.

    Raises:
        ProtocolError: if the number of parts or clients doesn't fit.
    """
    if len(parts) != protocol.parts:
        raise ProtocolError(
            f"{type(protocol).__name__} needs the network in {protocol.parts} parts, "
            f"got {len(parts)}: give {protocol.parts - 1} cut(s)"
        )
    shards = shards_of(data, protocol, partition, rng)
    for k, shard in enumerate(shards):
        _check_smallest_batch(parts, shard, training, k)
    casting = Casting(
        parts=parts, data=data, shards=shards, defense=defense, training=training, rng=rng,
        wire=(wire or Wire()).with_ears(ears), alike=protocol.alike,
    )  # fmt: skip
    cast = protocol.cast(casting)
    first = protocol.deploy(cast, data.private_train[:0])[0][0]
    task = task_of(first.client, data.private_train, data)
    if isinstance(first.defense, SideBySide):
        defense = first.defense.as_configured(defense)
    return Run(
        protocol=protocol, parts=parts, cast=cast, task=task, defense=defense, data=data, rng=rng
    )


def shards_of(
    data: Split, protocol: Protocol, partition: Partition | None, rng: Stream
) -> list[Samples]:
    """Every client's private training samples; the same whenever it is asked."""
    return deal(data.private_train, protocol.holders, partition or Dealt(), rng.fresh("partition"))


def task_of(head: nn.Module, samples: Samples, data: Split) -> Task:
    """Shapes found by a dry pass in evaluation mode over one sample (on a copy)."""
    head, x = copy.deepcopy(head).eval(), samples.x[:1]
    with torch.no_grad(), Stream(0).scope():
        try:
            z = head(x)
        except RuntimeError as e:
            shape = "x".join(map(str, x.shape[1:]))
            raise SpecError(f"the client network can't take inputs of shape {shape}: {e}") from e
    return Task(
        input_shape=tuple(x.shape[1:]), smashed_shape=tuple(z.shape[1:]), classes=len(data.classes)
    )


def guard(defense: Defense, rng: Stream) -> Defense:
    """A party's own copy of the defence, in its own random scope."""
    return defense if isinstance(defense, NoDefense) else Guarded(copy.deepcopy(defense), rng)


def with_format(parts: tuple[nn.Module, ...], data: Split, training: Training) -> Split:
    """Put networks and inputs into the memory format that the training asks for."""
    if not training.channels_last or len(data.shape) != 3:
        return data
    for part in parts:
        part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    train = data.private_train
    x = train.x.contiguous(memory_format=torch.channels_last)
    return replace(data, private_train=replace(train, x=x))


def _check_smallest_batch(
    parts: Sequence[nn.Module], samples: Samples, training: Training | None, k: int
) -> None:
    """BatchNorm can't learn from one value per channel, which torch says only in mid-training."""
    batch = training.batch_size if training else 0
    if batch == 0 or (len(samples) % batch or min(len(samples), batch)) != 1:
        return
    probe = copy.deepcopy(nn.Sequential(*parts)).train()
    with torch.no_grad(), Stream(0).scope():
        try:
            probe(samples.x[:1])
        except ValueError as e:
            raise ProtocolError(
                f"client {k} has {len(samples)} training samples, so that with batches of {batch} "
                f"a batch of one is left, from which BatchNorm can't learn ({e}): choose another "
                "batch_size or number of samples, or use GroupNorm"
            ) from e
        except RuntimeError:
            return  # parts that don't fit together are reported where they are seated
