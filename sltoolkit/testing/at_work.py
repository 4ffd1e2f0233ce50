"""A defense at work: what it makes of smashed data, in training and deployed."""

from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense
from sltoolkit.data.samples import Samples
from sltoolkit.errors import SpecError
from sltoolkit.streams import Stream
from sltoolkit.testing.runs import seated, witness
from sltoolkit.training.phases import deploy
from sltoolkit.training.run import Run
from sltoolkit.wire.turn import Turn


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class AtWork:
    """A client's defense, in training or deployed.

    Attributes:
        defense: the client's own copy.
        client: the client's network.
        phase: the phase of its releases.
        rng: the stream that it draws from.
    """

    defense: Defense
    client: nn.Module
    phase: Literal["train", "release"]
    rng: Stream

    def smashed(self, records: Samples) -> Tensor:
        """Smashed data without the defense, (B, ...)."""
        with torch.no_grad(), self.rng.fresh("client").scope():
            z: Tensor = self.client(records.x)
        return z

    def sent(self, z: Tensor, records: Samples, *, step: int = 0) -> Tensor:
        """What is sent for smashed data (B, ...) of B records, in the shape of `z`."""
        with torch.no_grad(), self.rng.scope():
            return self.defense.smash(z.clone(), self.turn(records, step=step))

    def turn(self, records: Samples, *, step: int = 0) -> Turn:
        """What the defense is told of a batch; when deployed it gets neither ids nor labels."""
        trains = self.phase == "train"
        return Turn(
            ids=records.ids if trains else torch.full_like(records.ids, -1), x=records.x,
            y=records.y if trains else None, step=step, epoch=step, phase=self.phase, rng=self.rng,
        )  # fmt: skip


def accepted(defense: Defense) -> Run:
    """A run with the defense, before it begins.

    Raises:
        AssertionError: if the toolkit refuses the defense.
    """
    try:
        return seated(defense)
    except SpecError as refusal:
        raise AssertionError(f"{type(defense).__name__} is refused: {refusal}") from refusal


def in_training(defense: Defense) -> AtWork:
    """The defense of a client whose training begins."""
    run = accepted(defense)
    own = run.cast.clients[0]
    return AtWork(defense=own.defense, client=own.party.module, phase="train", rng=own.rng)


def when_deployed(defense: Defense) -> AtWork:
    """The defense of a client that was trained and deployed."""
    run = accepted(defense)
    witness(run, epochs=1)
    member = deploy(run)[0][0].replica()
    return AtWork(defense=member.defense, client=member.client, phase="release", rng=Stream(11))
