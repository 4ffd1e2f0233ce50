"""Multi-task split learning (Vepakomma et al. 2018): several servers learn from the same parties.

Parties that hold different features of the same samples (modalities) send smashed data to several
servers. Each server joins them along the last axis, has its own labels and learns its own task.
Each party follows the sum of the gradients that the servers send back. The victim's accuracy is
measured on the first task, whose server has the seat `server`; the others are `server1`, ...
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Annotated, ClassVar, final

import torch
from torch import Tensor

from sltoolkit.contracts.attack import Role
from sltoolkit.contracts.grants import Holdings
from sltoolkit.errors import SpecError, lookup
from sltoolkit.models.given import redraw
from sltoolkit.models.resize import resize
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.protocols._conversation import answer
from sltoolkit.protocols._exchange import Exchange
from sltoolkit.protocols._feature_blocks import (
    FeatureBlocks,
    aligned,
    block_seats,
    dry_pass,
    init_stream,
    widths_of,
)
from sltoolkit.training.cast import Cast, Clock
from sltoolkit.training.casting import Casting
from sltoolkit.training.member import Host
from sltoolkit.wire.message import SERVER, Seat
from sltoolkit.wire.turn import PhaseName, Turn
from sltoolkit.wire.wire import Wire

TASKS: Mapping[str, Callable[[Tensor], Tensor]] = {"class": lambda y: y, "parity": lambda y: y % 2}
"""The labels of each task, made from the classes (B,) int64; no task has more labels."""


@final
@dataclass(frozen=True, kw_only=True)
class MultiTask(FeatureBlocks):
    """Parties with blocks of the features, several servers, each with its own task."""

    parts: ClassVar[int] = 2
    citation: ClassVar[str] = (
        "Vepakomma et al. 2018, Split learning for health: Distributed deep learning without "
        "sharing raw patient data (arXiv:1812.00564)"
    )

    tasks: Annotated[
        tuple[str, ...], Parameter("a task per server, `class` or `parity`; the first is `class`")
    ] = ("class", "parity")

    def __post_init__(self) -> None:
        super().__post_init__()
        for task in self.tasks:
            lookup(TASKS, task, "task")
        if self.tasks[:1] != ("class",):
            raise SpecError(
                "protocol.tasks must begin with 'class', on which accuracy is measured, got "
                f"{self.tasks!r}"
            )

    @property
    def seats(self) -> Mapping[Role, Holdings]:
        """What each role holds: `client` is the first party, `server` the first task's server."""
        return block_seats()

    def cast(self, casting: Casting) -> Cast:
        """Every party with a copy of the first part, every server with a copy of the second."""
        parties = self.parties(casting)
        joined = torch.cat(dry_pass(parties), dim=-1)
        servers = [self._server(casting, t, joined) for t in range(len(self.tasks))]
        return casting.cast(clients=parties, servers=servers)

    def _server(self, casting: Casting, t: int, joined: Tensor) -> Host:
        seat = Seat(f"server{t}") if t else SERVER
        rng = init_stream(casting, str(seat))
        rest = resize(casting.parts[1], joined, rng)
        if t and not casting.given:  # every task starts from its own weights
            with rng.scope():
                redraw(rest)
        return casting.server(seat, rest)

    def epoch(self, cast: Cast, clock: Clock, phase: PhaseName) -> None:
        """All batches, each with every party and every server."""
        for views, y, turn in aligned(cast, clock, phase):
            exchanges = [Exchange.begin(me, its) for me, its in views]
            answers = [
                _ask(host, exchanges, TASKS[task](y), turn, cast.wire)
                for host, task in zip(cast.servers, self.tasks, strict=True)
            ]
            for one, arrived in zip(exchanges, zip(*answers, strict=True), strict=True):
                one.learn(reduce(torch.add, arrived))
            cast.wire.close(turn)


def _ask(
    host: Host, exchanges: Sequence[Exchange], y: Tensor, turn: Turn, wire: Wire
) -> list[Tensor]:
    """The gradient of the task with labels `y` at each party's smashed data, as it arrives."""
    received = [one.send(host.seat, wire) for one in exchanges]
    g = answer(host, torch.cat(received, dim=-1), y, replace(turn, y=y))
    slices = g.split(widths_of(received), dim=-1)
    return [one.reply(own, host.seat, wire) for one, own in zip(exchanges, slices, strict=True)]
