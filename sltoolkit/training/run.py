"""A run of a protocol: its parties, seated, and their data."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import nn

from sltoolkit.contracts.defense import Defense, Task
from sltoolkit.data.partition import Dealt, Partition, deal
from sltoolkit.data.samples import Samples, Split
from sltoolkit.errors import ProtocolError
from sltoolkit.parties.settings import Training
from sltoolkit.streams import Stream
from sltoolkit.training.cast import Cast
from sltoolkit.training.casting import Casting, task_of
from sltoolkit.training.joint_client import JointClient
from sltoolkit.training.protocol import Protocol
from sltoolkit.wire.wire import Ear, Wire


@final
@dataclass(kw_only=True, eq=False)
class Run:
    """A run before and while it happens.

    Attributes:
        protocol: the protocol that it follows.
        parts: the cut network as it is initialized: (client, server) or (head, middle, tail).
        cast: its seated parties.
        task: shapes and classes, with the smashed data of the first cut.
        defense: the defense as it was given, untouched.
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
    given: bool = False,
) -> Run:
    """Seat honest parties with copies of the parts; without `training` no party ever learns.

    Args:
        parts: the cut network.
        data: the private data and the attacker's.
        protocol: which parties there are, and what they send each other.
        defense: the defense, of which every party gets its own copy.
        training: how parties learn.
        rng: the victim's root stream.
        ears: the ears that hear the wire.
        partition: which client holds which samples; `Dealt` by default.
        wire: the wire between the parties; by default one within this process.
        given: whether the weights of the parts were given; then every client starts from them.
            Otherwise, clients after the first draw weights of their own where networks are private.

    Raises:
        ProtocolError: if the number of parts or clients doesn't fit, or BatchNorm would get a
            batch of one.
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
        given=given,
    )  # fmt: skip
    cast = protocol.cast(casting)
    first = protocol.deploy(cast, data.private_train[:0])[0][0]
    task = task_of(first.client, data.private_train, data)
    if isinstance(first.defense, JointClient):
        defense = first.defense.as_configured(defense)
    return Run(
        protocol=protocol, parts=parts, cast=cast, task=task, defense=defense, data=data, rng=rng
    )


def shards_of(
    data: Split, protocol: Protocol, partition: Partition | None, rng: Stream
) -> list[Samples]:
    """Every client's private training samples; the same in every call."""
    return deal(data.private_train, protocol.holders, partition or Dealt(), rng.fresh("partition"))


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
    """Refuse a batch of one before the training where BatchNorm would fail in the middle of it."""
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
