"""A turn: what one party knows about the current batch."""

from dataclasses import dataclass
from typing import Literal, final

from torch import Tensor

from sltoolkit.streams import Stream

PhaseName = Literal["train", "fit", "release"]


@final
@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Turn:
    """What a party knows about the current batch; None where it doesn't hold inputs or labels.

    Attributes:
        ids: source ids of the batch, (B,) int64.
        x: inputs (B, C, H, W).
        y: labels (B,), int64.
        step: batches since the run began.
        epoch: passes over the data since the run began.
        phase: `train`; `fit`, in which a defense learns and both networks are frozen; or `release`,
            in which the deployed client computes.
        rng: the defense's own random stream at this party.
    """

    ids: Tensor
    x: Tensor | None
    y: Tensor | None
    step: int
    epoch: int
    phase: PhaseName
    rng: Stream


@final
@dataclass(frozen=True)
class Phase:
    """Epochs of a run in which the same networks learn; None means the training's number."""

    name: Literal["train", "fit"]
    epochs: int | None = None
