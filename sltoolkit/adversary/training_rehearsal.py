"""Training rehearsal: how a listener or a hijacker chooses its hyper-parameters.

A training happens once, so a listener or a hijacker can't try one setting after another on it.
Instead the attacker trains a small victim on half of its own samples. Every candidate attacks this
victim and learns from the other half. All listeners listen to the same training, as they do to the
real one. Each hijacker has a training to itself, with the same first weights and batches. Then the
candidates reconstruct samples that neither the victim nor any candidate has seen, and the one with
the best primary metric (for images SSIM) is chosen. The victim is `adversary.own_victim.OwnVictim`.

From the real run, the rehearsal takes only what the attacker holds when it begins: the architecture
of its own network, the size of a batch, whether labels are heard, and whether smashed data can be
negative. If the attacker knows the defense's public parameters (mechanism), the rehearsal's victim
is defended as the real one is; otherwise it is undefended. If the attacker doesn't know the
client's architecture, strided convolutions play the client.

A substitute's first weights matter as much as its settings: from other first weights, the same
setting may be twice as good. So candidates draw the same random numbers, and are compared on
several victims. If no candidate does better than the mean of the attacker's samples, the first one,
which is the default, is kept: how much failures differ is luck and says nothing about the next
training.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from sltoolkit.adversary.comparison import first_among_equals
from sltoolkit.adversary.own_victim import OwnVictim
from sltoolkit.contracts.attack import ActiveAttack, BatchView, Listener
from sltoolkit.progress import part, rehearsal
from sltoolkit.streams import Stream

L = TypeVar("L", bound=Listener[Any])
H = TypeVar("H", bound=ActiveAttack[Any])

VICTIMS = 3
"""How many trainings candidates are compared on."""

BATCHES = 150
"""How many batches each training has; `VICTIMS` times this is the budget of each candidate."""

LISTENING = 0.9
"""Roughly the share of the time that listening takes; reconstructing takes the rest."""


def tuned_listener(listener: L, setup: Any, first: BatchView, *, rng: Stream) -> L:
    """The listener with its open parameters chosen by rehearsal; itself if none is open.

    Args:
        listener: a listener, perhaps with open parameters.
        setup: what it holds before the run: `aux` and `task`, and perhaps `client_arch` and
            `mechanism`.
        first: the first usable batch that it heard in the real run.
        rng: the attacker's stream.

    Raises:
        SpecError: if aux is too small, or a candidate reconstructs nothing.
    """
    candidates = listener.candidates(setup)
    if len(candidates) == 1:
        return candidates[0]
    return rehearse_listening(candidates, setup, first, rng=rng)


def tuned_hijacker(attack: H, setup: Any, first: Tensor, *, rng: Stream) -> H:
    """The hijacker with its open parameters chosen by rehearsal; itself if none is open.

    Args:
        attack: a hijacker of the server's seat, perhaps with open parameters.
        setup: what it holds before the run: `aux` and `task`, and perhaps `client_arch` and
            `mechanism`.
        first: the first usable smashed data that arrived in the real run, (B, ...).
        rng: the attacker's stream.

    Raises:
        SpecError: if aux is too small, or a candidate reconstructs nothing.
    """
    candidates = attack.candidates(setup)
    if len(candidates) == 1:
        return candidates[0]
    heard = BatchView(
        messages={("smashed", "in"): first}, ids=torch.arange(len(first), device=first.device),
        step=0, epoch=0, network=None,
    )  # fmt: skip
    return rehearse_hijacking(candidates, setup, heard, rng=rng)


def rehearse_listening(candidates: Sequence[L], setup: Any, first: BatchView, *, rng: Stream) -> L:
    """The candidate that reconstructs best after listening to the attacker's own trainings.

    Each candidate listens to `VICTIMS` trainings of `BATCHES` batches. Of the candidates that are
    about as good as the best, the first is chosen (`comparison.first_among_equals`). If none does
    better than the mean of the attacker's samples, the first of all is kept.
    """
    return candidates[_best(partial(_listened, candidates, setup, first), rng)]


def rehearse_hijacking(candidates: Sequence[H], setup: Any, first: BatchView, *, rng: Stream) -> H:
    """As `rehearse_listening`, for hijackers, each of which has its own trainings."""
    return candidates[_best(partial(_hijacked, candidates, setup, first), rng)]


def _best(attacked: Callable[[Stream], tuple[Tensor, Tensor]], rng: Stream) -> int:
    """The index of the best candidate on `VICTIMS` trainings; `attacked` gives errors on one."""
    found = []
    with rehearsal():
        for number in range(VICTIMS):
            with part(1 / (VICTIMS - number)):
                found.append(attacked(rng.child(f"victim{number}")))
    errors = torch.stack([e for e, _ in found], dim=1)
    best = errors.mean(1).nan_to_num(nan=torch.inf, posinf=torch.inf).min()
    if best >= torch.stack([guess for _, guess in found]).mean():
        return 0
    return first_among_equals(errors)


def _hijacked(
    candidates: Sequence[H], setup: Any, first: BatchView, rng: Stream
) -> tuple[Tensor, Tensor]:
    """Errors on one victim: of each candidate, (candidates,), and of a guess, ()."""
    errors = []
    for number, candidate in enumerate(candidates):
        victim_rng, stream = rng.fresh("stage"), rng.fresh("candidate")
        with victim_rng.scope():
            victim = OwnVictim(setup, first, victim_rng)
        with part(1 / (len(candidates) - number)):
            state = victim.hijacked_by(candidate, replace(setup, aux=victim.rest), stream, BATCHES)
        errors.append(victim.error(candidate.view, state, stream))
    return torch.stack(errors), victim.guess


def _listened(
    candidates: Sequence[L], setup: Any, first: BatchView, rng: Stream
) -> tuple[Tensor, Tensor]:
    """Errors on one victim: of each candidate, (candidates,), and of a guess, ()."""
    with rng.scope():
        victim = OwnVictim(setup, first, rng)
    streams = [rng.fresh("candidate") for _ in candidates]
    with part(LISTENING):
        states = victim.heard_by(candidates, replace(setup, aux=victim.rest), streams, BATCHES)
    errors = [
        victim.error(candidates[0].view, state, stream)
        for state, stream in zip(states, streams, strict=True)
    ]
    return torch.stack(errors), victim.guess
