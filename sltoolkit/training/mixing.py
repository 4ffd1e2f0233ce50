"""Measures whether examples of a batch mix or share noise, which no guarantee for one survives.

A guarantee per example bounds what one example changes in its own release. It says nothing about a
client in which an example also changes the releases of others: BatchNorm in training, attention
along the batch axis, a normalization that is written by hand. Class names don't tell, so the
harness measures: some rows of a batch are replaced, at equal batch size and random state, and the
other rows must stay bit-equal. Which rows are replaced follows the binary digits of their numbers,
so that for every pair of rows some measurement replaces one and keeps the other.

Nor does a guarantee per release survive noise that is the same twice, because the difference of two
releases is free of it. So a few records are released twice in one batch, and again in the next one.
"""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense
from sltoolkit.data.samples import Samples
from sltoolkit.errors import SpecError
from sltoolkit.streams import Stream
from sltoolkit.wire.turn import PhaseName, Turn

DIGITS = 3
"""Binary digits of a row's number in the batch that is measured, which has 2 ** DIGITS rows."""


def refuse_mixing(defense: Defense, client: nn.Module, samples: Samples, *, learns: bool) -> None:
    """Refuse a client whose examples mix, if the defense guarantees something per example.

    A client that learns is measured in training mode and in evaluation mode, at weights that are
    moved a little, since a weight that starts at zero can hide a path through the batch. A client
    that never learns computes in evaluation mode alone.

    Args:
        defense: the client's own defense, begun.
        client: its network, as the defense wrapped it.
        samples: its samples, from which the measured batch is made.
        learns: whether it learns.

    Raises:
        SpecError: if examples mix, or if the client computes something else at equal random state.
    """
    if defense.guarantee(releases=1, delta=1e-5) is None or not _here(client, samples):
        return
    probe = _moved(client) if learns else client
    modes: tuple[tuple[PhaseName, str], ...] = (
        (("train", "training"), ("release", "evaluation")) if learns
        else (("release", "evaluation"),)
    )  # fmt: skip
    for phase, mode in modes:
        _refuse_in(phase, mode, defense, probe, samples)


def refuse_shared_noise(
    defense: Defense, client: nn.Module, samples: Samples, *, learns: bool
) -> None:
    """Refuse a defense that guarantees something per release, and releases the same twice.

    Args:
        defense: the client's own defense, begun.
        client: its network, as the defense wrapped it.
        samples: its samples, of which some are released.
        learns: whether it learns; if not, it releases nothing in training.

    Raises:
        SpecError: if all releases of a record are equal, in one batch or in two.
    """
    if defense.guarantee(releases=1, delta=1e-5) is None or not _here(client, samples):
        return
    rows = torch.arange(2**DIGITS) // 2  # every record twice
    batch = samples[rows % len(samples)]
    with torch.no_grad(), Stream(0).scope():
        z: Tensor = copy.deepcopy(client).eval()(batch.x[::2]).repeat_interleave(2, 0)
    phases: tuple[PhaseName, ...] = ("train", "release") if learns else ("release",)
    for phase in phases:
        guarding, rng = copy.deepcopy(defense), Stream(0)
        with torch.no_grad(), rng.scope():
            first, second = (
                guarding.smash(z.clone(), _turn(batch, phase, rng, step=step)) for step in range(2)
            )
        _refuse_equal("two batches", phase, first, second)
        _refuse_equal("one batch", phase, first[::2], first[1::2])


def _refuse_equal(where: str, phase: PhaseName, first: Tensor, second: Tensor) -> None:
    if _equal(first, second):
        raise SpecError(
            f"the defense states an epsilon per release, but in the phase {phase!r} two releases "
            f"of a record in {where} are equal. Noise that is the same twice cancels out: draw "
            "fresh noise from `turn.rng` for every example of every batch, large enough for the "
            "precision of the smashed data, or state no guarantee"
        )


def _refuse_in(
    phase: PhaseName, mode: str, defense: Defense, client: nn.Module, samples: Samples
) -> None:
    for batch, other in _batches(samples):
        said = _released(defense, client, batch, phase)
        if not all(map(_equal, said, _released(defense, client, batch, phase))):
            raise SpecError(
                f"the defense guarantees privacy for one example, so the harness measures whether "
                f"the examples of a batch mix, but in {mode} mode the client computes two "
                "different outputs for one batch at equal random state: let it draw from torch's "
                "global generator only, or use a defense without a guarantee"
            )
        for replaced in _patterns(batch.x.device):
            mixture = _mixture(batch, other, replaced)
            heard = _released(defense, client, mixture, phase)
            pairs = zip(said, heard, strict=True)
            if not all(_equal(a[~replaced], b[~replaced]) for a, b in pairs):
                raise SpecError(
                    "the defense guarantees privacy for one example, but the client mixes the "
                    f"examples of a batch: in {mode} mode the smashed data of an example changed "
                    "when only other examples of its batch were replaced. Use layers that treat "
                    "each example alone (GroupNorm in place of BatchNorm, attention with "
                    "batch_first=True), cut before the layer that mixes, or use a defense without "
                    "a guarantee"
                )


def _here(client: nn.Module, samples: Samples) -> bool:
    """Whether network and inputs are in this process; else the process that has them measures."""
    tensors = [*client.parameters(), *client.buffers(), samples.x]
    return not any(t.is_meta for t in tensors)


def _moved(client: nn.Module) -> nn.Module:
    moved, stream = copy.deepcopy(client), Stream(0).child("mixing")
    with torch.no_grad():
        for weight in moved.parameters():
            if weight.is_floating_point():
                step = torch.randn(weight.shape, generator=stream.torch())
                weight.add_(0.01 * step.to(weight))
    return moved


def _batches(samples: Samples) -> Iterator[tuple[Samples, Samples]]:
    """Batches, each with the rows that replace its own: other samples, then brighter ones."""
    rows = torch.arange(2**DIGITS)
    batch = samples[rows % len(samples)]
    yield batch, samples[(rows + len(samples) // 2 + 1) % len(samples)]
    yield _with(batch, batch.x / 2, batch.y), batch


def _patterns(device: torch.device) -> Iterator[Tensor]:
    rows = torch.arange(2**DIGITS, device=device)
    for digit in range(DIGITS):
        for value in (0, 1):
            yield (rows >> digit) % 2 == value


def _mixture(batch: Samples, other: Samples, replaced: Tensor) -> Samples:
    x = torch.where(replaced.view(-1, *[1] * (batch.x.dim() - 1)), other.x, batch.x)
    return _with(batch, x, torch.where(replaced.to(batch.y.device), other.y, batch.y))


def _with(batch: Samples, x: Tensor, y: Tensor) -> Samples:
    return Samples(**{**vars(batch), "x": x, "y": y})


def _released(
    defense: Defense, client: nn.Module, batch: Samples, phase: PhaseName
) -> tuple[Tensor, Tensor]:
    """Smashed data before and after the private link, at one random state, by copies of both."""
    own: Any = copy.deepcopy(client).train(phase == "train")
    guarding = copy.deepcopy(defense)
    turn = _turn(batch, phase, Stream(0))
    with torch.no_grad(), Stream(0).scope():
        z: Tensor = own(batch.x)
        return z, guarding.up_to_guarantee(z.clone(), turn)


def _turn(batch: Samples, phase: PhaseName, rng: Stream, *, step: int = 0) -> Turn:
    return Turn(
        ids=batch.ids, x=batch.x, y=batch.y, step=step, epoch=step, phase=phase, rng=rng
    )  # fmt: skip


def _equal(a: Tensor, b: Tensor) -> bool:
    return bool(((a == b) | (a.isnan() & b.isnan())).all())
