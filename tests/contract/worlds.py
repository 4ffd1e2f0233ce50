"""Two worlds: an attack must give the same outcome in both, as far as it may see the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, final
from unittest import mock

import numpy as np
import torch
from support.toys import TARGETS
from torch import Tensor

from sltoolkit.data.targets import image_targets, label_targets
from sltoolkit.streams import Stream
from sltoolkit.training.deployed import Deployed
from sltoolkit.training.measured import Measured
from sltoolkit.training.victim import Victim
from sltoolkit.wire.transcript import Record


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Selected:
    """Which records are asked about: indices into the victim's own samples."""

    images: Any
    known: Any
    hinted: Any


def selected(victim: Victim) -> Selected:
    """The targets and hints of a victim; the referee selects the same."""
    known, hinted = label_targets(victim.client.samples, TARGETS)
    return Selected(
        images=image_targets(victim.data, victim.client.samples, TARGETS), known=known,
        hinted=hinted,
    )  # fmt: skip


@final
@dataclass(kw_only=True, eq=False)
class Answers:
    """What the deployed client answers in the first world, to be played back in the second."""

    tape: list[Tensor] = field(default_factory=list)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Meanwhile every answer is recorded."""
        answer = Deployed.smash

        def record(
            deployed: Deployed, x: Tensor, rng: Stream, *, hops: int = 0
        ) -> tuple[Tensor, Tensor]:
            z, sent = answer(deployed, x, rng, hops=hops)
            self.tape.append(sent.detach().clone())
            return z, sent

        with mock.patch.object(Deployed, "smash", record):
            yield

    @contextmanager
    def played_back(self) -> Iterator[None]:
        """Meanwhile every answer is the next one that was recorded."""

        def replay(*_: Any, **__: Any) -> tuple[Tensor, Tensor]:
            sent = self.tape.pop(0)
            return sent, sent

        with mock.patch.object(Deployed, "smash", replay):
            yield


@contextmanager
def another_world(victim: Victim, granted: frozenset[str], chosen: Selected) -> Iterator[Victim]:
    """Meanwhile everything of the victim that is not granted is different, in place."""
    member = victim.client
    noise = np.random.default_rng(77)
    changed: list[Tensor] = [
        victim.data.private_train.x, victim.data.private_holdout.x,
        chosen.images.x, chosen.known.x, chosen.hinted.x,
    ]  # fmt: skip
    if "aux" not in granted:
        changed.append(victim.data.aux.x)
    for names, module in (
        ({"client_weights", "peer_weights"}, member.client),  # all clients have one network here
        ({"server_weights"}, victim.server),
    ):
        if not names & granted:
            changed += [t for t in module.state_dict().values() if t.is_floating_point()]
    labels = [chosen.known.y, chosen.images.y, victim.data.private_train.y]
    labels = [] if "labels" in granted else [*labels, victim.data.private_holdout.y]
    # as plain bytes: nothing that an attack finds in memory is a tensor of the first world
    backup = [(t, t.numpy().tobytes()) for t in [*changed, *labels]]
    link_records = _transcripts(victim)
    try:
        for t in changed:
            t.copy_(torch.from_numpy(np.asarray(noise.random(t.shape), dtype=np.float32)))
        for y in labels:
            y.copy_(y.flip(0))
        if "smashed_grad" not in granted:
            for link, rows in link_records:
                victim.transcript.restore(link, replace(rows, rows=torch.zeros_like(rows.rows)))
        yield replace(
            victim, rng=Stream(4321).child("elsewhere"), losses=(), utility=0.0,
            recipe=replace(victim.recipe, dataset="", split="", seed=-1),
            costs=Measured(tolls={}, flops={}),
        )  # fmt: skip
    finally:
        for t, content in backup:
            t.copy_(torch.frombuffer(bytearray(content), dtype=t.dtype).reshape(t.shape))
        for link, rows in link_records:
            victim.transcript.restore(link, rows)


def _transcripts(victim: Victim) -> list[tuple[Any, Record]]:
    return [(link, victim.transcript.record(link)) for link in victim.transcript.links()]
