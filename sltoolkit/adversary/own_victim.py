"""The victim of a training rehearsal: a small training on the attacker's own samples."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from itertools import chain
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.adversary.own_defense import OwnDefense
from sltoolkit.contracts.attack import ActiveAttack, BatchView, Listener, ListenerState
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.errors import SpecError
from sltoolkit.metrics.losses import reconstruction_error
from sltoolkit.models.resize import reinitialize
from sltoolkit.networks.substitutes import strided_substitute, tail_network
from sltoolkit.parties.honest import HonestServer
from sltoolkit.parties.stages import Server
from sltoolkit.progress import advance
from sltoolkit.streams import Stream

SAMPLES = 32
"""How many samples candidates are compared on; fewer if this is more than a quarter of aux."""

LR = 1e-3
"""The learning rate of the victim, which learns by Adam."""


@final
class OwnVictim:
    """A victim of the attacker's own, and the samples that candidates are compared on.

    Draws from torch's global generator: make it in a `Stream` scope.

    Args:
        setup: what the attacker holds before the real run.
        first: the first usable batch that it heard in the real run.
        rng: the victim's stream.

    Attributes:
        targets: the rows of aux that candidates are compared on, (n,).
        rest: the samples that candidates learn from.

    Raises:
        SpecError: if there are fewer than eight aux samples.
    """

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
        self, candidates: Sequence[Listener[Any]], setup: Any, streams: Sequence[Stream], count: int
    ) -> list[ListenerState]:
        """What listeners remember of `count` batches; each draws from its own stream."""
        batches = self.batches(count)
        first, states = next(batches), []
        for candidate, stream in zip(candidates, streams, strict=True):
            with stream.scope():
                states.append(candidate.open(setup, first, rng=stream))
        for heard in chain([first], batches):
            advance(heard.step, count)
            for state, stream in zip(states, streams, strict=True):
                with stream.scope():
                    state.hear(heard)
        return states

    def hijacked_by(
        self, candidate: ActiveAttack[Any], setup: Any, stream: Stream, count: int
    ) -> ListenerState:
        """What a hijacker remembers of `count` batches; its answers train the client."""
        sent = self._sent(count)
        first = next(sent)
        honest = HonestServer(nn.Sequential(*self._parts), None, self._rng.child("server"))
        with stream.scope():
            seat, state = candidate.seize(honest, setup, first[1].detach().clone(), rng=stream)
        if not isinstance(seat, Server):
            raise SpecError(f"{type(candidate).__name__} must put a Server in a Server's place")
        for step, (rows, z) in enumerate(chain([first], sent)):
            z.backward(seat.step(z.detach().clone(), self._y[rows]))
            self._optimizer.step()
            advance(step, count)
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
        """The error of guessing the mean of the candidates' samples, ()."""
        return self._off(self.rest.x.mean(0).expand_as(self._x[self.targets]))

    def _off(self, images: Tensor) -> Tensor:
        return reconstruction_error(images, self._x[self.targets]).mean()

    def error(self, view: type, state: ListenerState, rng: Stream) -> Tensor:
        """A candidate's error, ()."""
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
