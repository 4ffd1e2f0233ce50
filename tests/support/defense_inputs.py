"""Turns and setups to try a defense on, without a run around it."""

import torch
from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense, PartySetup, Task
from sltoolkit.parties.sampling import Shuffled
from sltoolkit.streams import Stream
from sltoolkit.wire.turn import PhaseName, Turn

IMAGE = (1, 8, 8)
SHAPES = [(6, 4, 4), (6, 20), (10,)]
PHASES: tuple[PhaseName, ...] = ("train", "fit", "release")


def turn_for(x: Tensor, phase: PhaseName = "train", seed: int = 0) -> Turn:
    """A turn over inputs (B, ...) with a fresh stream."""
    ids = torch.arange(len(x))
    return Turn(ids=ids, x=x, y=None, step=0, epoch=0, phase=phase, rng=Stream(seed))


def begun(
    defense: Defense, shape: tuple[int, ...], module: nn.Module | None = None, *, seed: int = 7
) -> Defense:
    """The defense after `begin` at a client with smashed data of a shape."""
    module = nn.Flatten() if module is None else module
    weights = list(module.parameters())
    rng = Stream(seed)
    with rng.scope():
        defense.begin(
            PartySetup(
                side="client",
                module=module,
                optimizer=torch.optim.SGD(weights, lr=0.1) if weights else None,
                sampler=Shuffled(batch_size=8),
                task=Task(input_shape=IMAGE, smashed_shape=shape, classes=10),
                samples=100,
                rng=rng,
            )
        )
    return defense


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def images(n: int) -> Tensor:
    return torch.rand(n, *IMAGE, generator=torch.Generator().manual_seed(3))
