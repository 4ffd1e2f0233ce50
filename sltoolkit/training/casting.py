"""Seating a run: what a protocol uses to build its cast."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import nn

from sltoolkit.contracts.defense import Defense, NoDefense, PartySetup, Task
from sltoolkit.data.samples import Samples, Split
from sltoolkit.errors import SpecError
from sltoolkit.models.given import redraw
from sltoolkit.parties.honest import HonestClient, HonestMiddle, HonestServer
from sltoolkit.parties.sampling import Shuffled
from sltoolkit.parties.settings import Training
from sltoolkit.streams import Stream
from sltoolkit.training.averaging import Averager
from sltoolkit.training.cast import Cast
from sltoolkit.training.guarded import Guarded
from sltoolkit.training.member import Host, Member
from sltoolkit.training.mixing import refuse_mixing, refuse_shared_noise
from sltoolkit.wire.message import Seat
from sltoolkit.wire.wire import Wire


@final
@dataclass(kw_only=True, eq=False)
class Casting:
    """Builds the parties of a run, each with its own copy of its network and of the defense.

    Attributes:
        parts: the cut network.
        data: the private and aux samples.
        shards: every client's samples.
        defense: the defense as it was given.
        training: how parties learn; None where no party ever does.
        rng: the victim's root stream.
        wire: the wire between the parties.
        alike: whether all clients end up with one network, so that they also start with one.
        given: whether the weights of the parts were given, so that every client starts from them.
    """

    parts: tuple[nn.Module, ...]
    data: Split
    shards: Sequence[Samples]
    defense: Defense
    training: Training | None
    rng: Stream
    wire: Wire
    alike: bool
    given: bool = False

    def cast(
        self, *, clients: Sequence[Member], servers: Sequence[Host], hops: Sequence[Host] = (),
        averaged: bool = False,
    ) -> Cast:  # fmt: skip
        """The cast; `averaged` seats a fed server that keeps the clients' common networks."""
        return Cast(
            clients=clients, servers=servers, hops=hops, wire=self.wire,
            rng=self.rng.child("protocol"),
            fed_server=Averager(clients[0].networks()) if averaged else None,
        )  # fmt: skip

    def smashed_shape(self) -> tuple[int, ...]:
        """The shape of one sample's smashed data, without the batch axis."""
        return task_of(self.parts[0], self.data.private_train, self.data).smashed_shape

    def client(
        self, k: int, networks: Sequence[nn.Module], *, samples: Samples | None = None,
        seat: Seat | None = None,
    ) -> Member:  # fmt: skip
        """A client with its own copies of the networks and the defense.

        Args:
            k: its number, which names its random streams.
            networks: the network up to the cut, and the tail where it has one.
            samples: the samples that it holds; its shard by default.
            seat: its position, `client` k by default.
        """
        rng = self.rng.child(f"client{k}")
        samples = self.shards[k] if samples is None else samples
        initial = tuple(networks)
        if k > 0 and not (self.alike or self.given):  # private networks start differently
            initial = copy.deepcopy(initial)
            with rng.child("init").scope():
                for module in initial:
                    redraw(module)
        head, *tails = (copy.deepcopy(module) for module in initial)
        own = guard(self.defense, rng.child("defense"))
        setup = own.begin(
            self._setup("client", head, samples, task_of(head, samples, self.data), rng)
        )
        for refuse in (refuse_mixing, refuse_shared_noise):
            refuse(own, setup.module, samples, learns=setup.optimizer is not None)
        end = None
        if tails:
            optimizer = self.training.optimizer_for(tails[0]) if self.training else None
            end = HonestServer(tails[0], optimizer, rng.child("tail"))
        return Member(
            seat=seat or Seat("client", k),
            party=HonestClient(setup.module, setup.optimizer, rng.child("net")), tail=end,
            defense=own, samples=samples, sampler=setup.sampler, order=rng.child("order"),
            rng=rng.child("defense"), initial=initial,
        )  # fmt: skip

    def server(self, seat: Seat, initial: nn.Module, *, copy: int = 0) -> Host:
        """A server that computes the loss; `copy` is the number of its network's copy."""
        name = f"{seat}.{copy}" if copy else str(seat)
        return self._host(replace(seat, copy=copy), initial, HonestServer, name)

    def middle(self, seat: Seat, initial: nn.Module) -> Host:
        """A party between two cuts."""
        return self._host(seat, initial, HonestMiddle, str(seat))

    def _host(
        self, seat: Seat, initial: nn.Module, kind: type[HonestServer | HonestMiddle], name: str
    ) -> Host:
        rng = self.rng.child(name)
        own = guard(self.defense, rng.child("defense"))
        task = task_of(self.parts[0], self.data.private_train, self.data)
        everything = self.data.private_train
        setup = own.begin(self._setup("labels", copy.deepcopy(initial), everything, task, rng))
        party = kind(setup.module, setup.optimizer, rng.child("network"))
        return Host(seat=seat, party=party, defense=own, rng=rng.child("defense"), initial=initial)

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


def task_of(head: nn.Module, samples: Samples, data: Split) -> Task:
    """Shapes and classes, found by passing one sample through a copy of `head`.

    Raises:
        SpecError: if the network can't take such inputs.
    """
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
    """A party's own copy of the defense, which draws only from `rng`."""
    return defense if isinstance(defense, NoDefense) else Guarded(copy.deepcopy(defense), rng)
