"""Training rehearsal: how a listener or a hijacker chooses its hyper-parameters.

A training happens once, so a listener or a hijacker can't try one setting after another on it.
Instead the attacker trains a small victim on half of its own samples. Every candidate attacks this
victim and learns from the other half. All listeners listen to the same training, as they do to the
real one. Each hijacker has a training to itself, with the same first weights and batches. Then the
candidates reconstruct samples that neither the victim nor any candidate has seen, and the best one
is chosen.

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

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from itertools import chain
from typing import Any, TypeVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.adversary.comparison import first_among_equals
from sltoolkit.adversary.own_defense import OwnDefense
from sltoolkit.contracts.attack import ActiveAttack, BatchView, Listener, ListenerState
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.errors import SpecError
from sltoolkit.models.resize import reinitialize
from sltoolkit.networks.substitutes import strided_substitute, tail_network
from sltoolkit.parties.honest import HonestServer
from sltoolkit.parties.stages import Server
from sltoolkit.progress import advance, part, rehearsal
from sltoolkit.streams import Stream

L = TypeVar("L", bound=Listener[Any])
H = TypeVar("H", bound=ActiveAttack[Any])

VICTIMS = 3
"""How many trainings candidates are compared on."""

BATCHES = 150
"""How many batches each training has; `VICTIMS` times this is the budget of each candidate."""

SAMPLES = 32
"""How many samples candidates are compared on; fewer if this is more than a quarter of aux."""

LISTENING = 0.9
"""Roughly the share of the time that listening takes; reconstructing takes the rest."""

LR = 1e-3
"""The learning rate of the rehearsal's victims, which learn by Adam."""


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
    """Mean squared errors on one victim: of each candidate, (candidates,), and of a guess, ()."""
    errors = []
    for number, candidate in enumerate(candidates):
        victim_rng, stream = rng.fresh("stage"), rng.fresh("candidate")
        with victim_rng.scope():
            victim = _OwnVictim(setup, first, victim_rng)
        with part(1 / (len(candidates) - number)):
            state = victim.hijacked_by(candidate, replace(setup, aux=victim.rest), stream)
        errors.append(victim.error(candidate.view, state, stream))
    return torch.stack(errors), victim.guess


def _listened(
    candidates: Sequence[L], setup: Any, first: BatchView, rng: Stream
) -> tuple[Tensor, Tensor]:
    """Mean squared errors on one victim: of each candidate, (candidates,), and of a guess, ()."""
    with rng.scope():
        victim = _OwnVictim(setup, first, rng)
    streams = [rng.fresh("candidate") for _ in candidates]
    with part(LISTENING):
        states = victim.heard_by(candidates, replace(setup, aux=victim.rest), streams)
    errors = [
        victim.error(candidates[0].view, state, stream)
        for state, stream in zip(states, streams, strict=True)
    ]
    return torch.stack(errors), victim.guess


@final
class _OwnVictim:
    """The attacker's own victim, and the samples that candidates are compared on."""

    def __init__(self, setup: Any, first: BatchView, rng: Stream) -> None:
        x, y, task = setup.aux.x, setup.aux.y, setup.task
        count = min(SAMPLES, len(y) // 4)
        if count < 1 or len(y) // 2 - count < 2:
            raise SpecError(
                f"a training rehearsal needs at least 8 aux samples, got {len(y)}: give more, or "
                "give values to the attack's open parameters (its rates, for example)"
            )
        order = torch.randperm(len(y), device=y.device)
        half = order[: len(y) // 2]
        self.targets, self._train = half[:count], half[count:]
        self._x, self._y, self._task, self._rng = x, y, task, rng
        rest = order[len(y) // 2 :]
        self.rest = replace(setup.aux, x=x[rest], y=y[rest])
        self._first, self._labeled = first, ("labels", "in") in first.messages
        heard = first.messages["smashed", "in"]
        arch = getattr(setup, "client_arch", None)
        self._client = (
            arch(rng.child("client")) if arch is not None
            # not the architecture of the listeners' substitutes, which would match it too easily
            else strided_substitute(
                task.input_shape, task.smashed_shape, activation=nn.ReLU,
                signed=bool((heard < 0).any()),
            ).to(x)
        )  # fmt: skip
        self._mechanism = getattr(setup, "mechanism", None)
        self._defense = OwnDefense(self._mechanism, rng.child("defense"))
        self._parts = self._behind(heard)
        self._shown = copy.deepcopy(self._parts[0]).eval().requires_grad_(False)
        weights = [w for n in (self._client, *self._parts) for w in n.parameters()]
        self._optimizer = torch.optim.Adam(weights, lr=LR, fused=True)

    def _behind(self, z: Tensor) -> list[nn.Module]:
        """The server's network with fresh weights and, in a U-shape, a tail behind it."""
        if self._first.network is None:
            return [tail_network(self._task.smashed_shape, self._task.classes).to(z)]
        server = copy.deepcopy(self._first.network()).train().requires_grad_(True)
        reinitialize(server)
        if self._labeled:
            return [server]
        with torch.no_grad():
            features = copy.deepcopy(server).eval()(z.clone())
        return [server, tail_network(features.shape[1:], self._task.classes).to(z)]

    def batches(self, count: int) -> Iterator[BatchView]:
        """Train for `count` batches, and yield what a listener hears of each."""
        for step in range(count):
            with self._rng.scope():
                rows = self._batch()
                z = self._step(self._x[rows], self._y[rows])
            yield self._heard(step, rows, z)

    def heard_by(
        self, candidates: Sequence[Listener[Any]], setup: Any, streams: Sequence[Stream]
    ) -> list[ListenerState]:
        """What listeners remember of `BATCHES` batches; each draws from its own stream."""
        batches = self.batches(BATCHES)
        first, states = next(batches), []
        for candidate, stream in zip(candidates, streams, strict=True):
            with stream.scope():
                states.append(candidate.open(setup, first, rng=stream))
        for heard in chain([first], batches):
            advance(heard.step, BATCHES)
            for state, stream in zip(states, streams, strict=True):
                with stream.scope():
                    state.hear(heard)
        return states

    def hijacked_by(
        self, candidate: ActiveAttack[Any], setup: Any, stream: Stream
    ) -> ListenerState:
        """What a hijacker remembers of `BATCHES` batches; its answers train the client."""
        sent = self._sent(BATCHES)
        first = next(sent)
        honest = HonestServer(nn.Sequential(*self._parts), None, self._rng.child("server"))
        with stream.scope():
            seat, state = candidate.seize(honest, setup, first[1].detach().clone(), rng=stream)
        if not isinstance(seat, Server):
            raise SpecError(f"{type(candidate).__name__} must put a Server in a Server's place")
        for step, (rows, z) in enumerate(chain([first], sent)):
            z.backward(seat.step(z.detach().clone(), self._y[rows]))
            self._optimizer.step()
            advance(step, BATCHES)
        return state

    def _sent(self, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batch by batch: rows (B,) and the client's smashed data (B, ...) with their graph."""
        for _ in range(count):
            with self._rng.scope():
                rows = self._batch()
                self._optimizer.zero_grad()
                z = self._defense(self._client.train()(self._x[rows]), self._x[rows])
            yield rows, z

    def _batch(self) -> Tensor:
        """The rows (B,) of the next batch's samples."""
        size = min(len(self._first.ids), len(self._train))
        picked = torch.randperm(len(self._train), device=self._train.device)
        return self._train[picked[: max(2, size)]]

    def _step(self, x: Tensor, y: Tensor) -> Tensor:
        self._client.train()
        z = self._defense(self._client(x), x)
        sent, out = z.detach().clone(), z.clone()  # the server may work in place
        for network in self._parts:
            out = network(out)
        self._optimizer.zero_grad()
        functional.cross_entropy(out, y).backward()
        self._optimizer.step()
        return sent

    def _heard(self, step: int, rows: Tensor, z: Tensor) -> BatchView:
        messages: dict[tuple[Any, Any], Tensor] = {("smashed", "in"): z}
        if self._labeled:
            messages["labels", "in"] = self._y[rows]
        network = None
        if self._first.network is not None:
            self._shown.load_state_dict(self._parts[0].state_dict())
            network = lambda: self._shown  # noqa: E731
        return replace(
            self._first, messages=messages, ids=rows, step=step, epoch=0, network=network
        )

    @property
    def guess(self) -> Tensor:
        """The mean squared error of guessing the mean of the candidates' samples, ()."""
        return self._off(self.rest.x.mean(0))

    def _off(self, images: Tensor) -> Tensor:
        off: Tensor = images - self._x[self.targets]
        return off.square().mean()

    def error(self, view: type, state: ListenerState, rng: Stream) -> Tensor:
        """A candidate's mean squared error, ()."""
        x = self._x[self.targets]
        # the same draws for all candidates
        own = OwnDefense(self._mechanism, self._rng.fresh("defense"))
        with torch.no_grad():
            smashed = own(self._client.eval()(x), x)[None]
        held: Mapping[str, Any] = {
            "smashed": smashed, "task": self._task, "aux": self.rest,
            "labels": self._y[self.targets] if self._labeled else None,
        }  # fmt: skip
        with rng.fresh("finish").scope():
            outcome = state.finish(view(**{f.name: held.get(f.name) for f in fields(view)}))
        if not isinstance(outcome, Reconstruction):
            raise SpecError("an attack on a training that reconstructs nothing can't rehearse")
        return self._off(outcome.images)
