"""Training a victim: run the protocol, phase by phase."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from sltoolkit.contracts.defense import Defense
from sltoolkit.errors import ProtocolError
from sltoolkit.parties.honest import HonestServer
from sltoolkit.training.cast import Cast, Clock
from sltoolkit.training.protocol import Deployment
from sltoolkit.training.run import Run

Progress = Callable[[int, int], None]
"""Called after each epoch with (epochs done, epochs in all)."""


def phase_of_epochs(defense: Defense, epochs: int) -> list[Literal["train", "fit"]]:
    """The phase of every epoch of a run, in order; without a length, a phase lasts `epochs`."""
    return [p.name for p in defense.phases for _ in range(epochs if p.epochs is None else p.epochs)]


def run_phases(run: Run, epochs: int, progress: Progress | None = None) -> tuple[float, ...]:
    """Run every phase of the defense; returns the mean loss of each epoch.

    Raises:
        ProtocolError: if the training diverges.
    """
    cast, clock, losses = run.cast, Clock(), []
    plan = phase_of_epochs(run.defense, epochs)
    total = len(plan)
    for name, stretch in itertools.groupby(plan):
        cast.learn(name == "train")
        for _ in stretch:
            run.protocol.epoch(cast, clock, name)
            clock.epoch += 1
            for _, party, _ in cast.networks():
                party.end_lap()
            batches = _losses(cast)
            losses.append(float(batches.mean()) if len(batches) else 0.0)
            if not bool(batches.isfinite().all()) and name == "train":
                raise ProtocolError(
                    f"the training diverged in epoch {clock.epoch} of {total} (the loss is not a "
                    "finite number): lower the learning rate or the defense's strength"
                )
            if progress is not None:
                progress(clock.epoch, total)
    return tuple(losses)


def _losses(cast: Cast) -> Tensor:
    """The batch losses of the servers, or of the clients' tails where no server computes one."""
    tails = [m.tail.take_losses().cpu() for m in cast.clients if m.tail is not None]
    hosts = [h.party.take_losses().cpu() for h in cast.servers if isinstance(h.party, HonestServer)]
    # a server that was taken over computes no loss
    return torch.cat([torch.empty(0), *(hosts or tails)])


def deploy(run: Run) -> Deployment:
    """The trained clients (one where they are alike) and server, as copies in evaluation mode."""
    members, server = run.protocol.deploy(run.cast, run.data.private_train)
    codec = run.cast.wire.codec
    reducer = None if codec is None else codec.reducer
    return tuple(replace(m, reducer=reducer) for m in members), server
