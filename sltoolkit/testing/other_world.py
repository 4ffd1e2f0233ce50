"""Two worlds that look the same to an attack, so it must give the same outcome in both.

In the second world, everything of the victim that the attack was not granted is changed *in place*,
so that no reference leads to the first world. What is computed from secrets and may be heard (the
deployed client's answers, the updates of its weights) is recorded in the first world and played
back in the second.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, final
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from sltoolkit.contracts.knowledge import Updates
from sltoolkit.data.samples import Samples
from sltoolkit.data.targets import image_targets, label_targets
from sltoolkit.referee import baselines, sources, truth
from sltoolkit.referee.updates import released_updates
from sltoolkit.streams import Stream
from sltoolkit.training.deployed import Deployed
from sltoolkit.training.measured import Measured
from sltoolkit.training.victim import Victim
from sltoolkit.wire.transcript import Record


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """The victim's records that an attack is asked about.

    Attributes:
        images: the targets of reconstruction.
        known: the targets of label attacks.
        hinted: samples whose labels may be granted.
    """

    images: Samples
    known: Samples
    hinted: Samples

    @contextmanager
    def by_referee(self) -> Iterator[None]:
        """In the body, the referee asks about these records, even if the victim's data change."""
        with (
            mock.patch.object(truth, "image_targets", return_value=self.images),
            mock.patch.object(truth, "label_targets", return_value=(self.known, self.hinted)),
            # baselines, too, ask the client, for as long as they learn; no outcome depends on them
            mock.patch.object(baselines, "image_scores", return_value=({}, {})),
        ):
            yield


def asked_about(victim: Victim) -> Asked:
    """The victim's own targets and hints."""
    held, seed = victim.client.samples, victim.recipe.seed
    known, hinted = label_targets(held, victim.targets, seed=seed)
    images = image_targets(victim.data, held, victim.targets, seed=seed)
    return Asked(images=images, known=known, hinted=hinted)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Heard:
    """What a victim lets out about its secrets in the first world, to be replayed in the second.

    Attributes:
        answers: the deployed client's answers, in order.
        updates: the updates of its weights that were heard; all entries are the same.
    """

    answers: list[Tensor] = field(default_factory=list)
    updates: list[Updates] = field(default_factory=list)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """In the body, answers and updates are recorded."""
        answer = Deployed.smash

        def record(
            deployed: Deployed, x: Tensor, rng: Stream, *, hops: int = 0
        ) -> tuple[Tensor, Tensor]:
            z, sent = answer(deployed, x, rng, hops=hops)
            self.answers.append(sent.detach().clone())
            return z, sent

        def hear(*asked: Any) -> Updates:
            self.updates.append(released_updates(*asked))
            return copy.deepcopy(self.updates[0])

        with (
            mock.patch.object(Deployed, "smash", record),
            mock.patch.object(sources, "released_updates", hear),
        ):
            yield

    @contextmanager
    def played_back(self) -> Iterator[None]:
        """In the body, every answer is the next one that was recorded."""
        tape = iter(self.answers)

        def replay(*_: Any, **__: Any) -> tuple[Tensor, Tensor]:
            sent = next(tape, None)
            if sent is None:
                raise LookupError("it asks the deployed client for more than in the first world")
            return sent.clone(), sent.clone()

        def hear_again(*_: Any) -> Updates:
            return copy.deepcopy(self.updates[0])

        with (
            mock.patch.object(Deployed, "smash", replay),
            mock.patch.object(sources, "released_updates", hear_again),
        ):
            yield


@contextmanager
def another_world(victim: Victim, granted: frozenset[str]) -> Iterator[Victim]:
    """In the body, everything of the victim that is not granted is changed in place.

    Args:
        victim: the victim, which is restored at the end.
        granted: the grants that the attack's views can hold.
    """
    asked = asked_about(victim)
    noise = np.random.default_rng(77)
    changed, relabeled = _inputs(victim, asked, granted), _labels(victim, asked, granted)
    for names, module in (
        ({"client_weights", "peer_weights"}, victim.client.client),  # all clients have one network
        ({"server_weights"}, victim.server),
    ):
        if not names & granted:
            changed += [t for t in module.state_dict().values() if t.is_floating_point()]
    # as plain bytes, so that an attack finds no tensor of the first world in memory
    backup = [(t, t.numpy().tobytes()) for t in [*changed, *relabeled]]
    link_records = _transcripts(victim)
    try:
        for t in changed:
            t.copy_(torch.from_numpy(np.asarray(noise.random(t.shape), dtype=np.float32)))
        for y in relabeled:
            y.copy_(y.flip(0))
        if "smashed_grad" not in granted:
            for link, rows in link_records:
                victim.transcript.restore(link, replace(rows, rows=torch.zeros_like(rows.rows)))
        with asked.by_referee():
            yield replace(
                victim, rng=Stream(4321).child("elsewhere"), losses=(), utility=0.0,
                balanced_accuracy=0.0,
                recipe=replace(victim.recipe, dataset="", split="", seed=-1),
                costs=Measured(tolls={}, flops={}),
            )  # fmt: skip
    finally:
        for t, content in backup:
            t.copy_(torch.frombuffer(bytearray(content), dtype=t.dtype).reshape(t.shape))
        for link, rows in link_records:
            victim.transcript.restore(link, rows)


def _inputs(victim: Victim, asked: Asked, granted: frozenset[str]) -> list[Tensor]:
    secret = [victim.data.private_train, victim.data.private_holdout]
    secret += [asked.images, asked.known, asked.hinted]
    own = [] if "aux" in granted else [victim.data.aux]
    return [samples.x for samples in (*secret, *own)]


def _labels(victim: Victim, asked: Asked, granted: frozenset[str]) -> list[Tensor]:
    if "labels" in granted:
        return []
    secret = (asked.known, asked.images, victim.data.private_train, victim.data.private_holdout)
    return [samples.y for samples in secret]


def _transcripts(victim: Victim) -> list[tuple[Any, Record]]:
    return [(link, victim.transcript.record(link)) for link in victim.transcript.links()]
