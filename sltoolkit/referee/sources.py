"""Sources of grants: functions that compute what an attacker is handed, when a view needs it."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense, PartySetup, Task
from sltoolkit.contracts.knowledge import Aux, Hints
from sltoolkit.data.samples import Samples, Split
from sltoolkit.errors import ThreatModelError
from sltoolkit.models.redraw import redraw
from sltoolkit.parties.sampling import Shuffled
from sltoolkit.referee.mount import Mount
from sltoolkit.referee.truth import Asked
from sltoolkit.referee.updates import released_updates
from sltoolkit.streams import Stream
from sltoolkit.training.deployed import Deployed
from sltoolkit.training.victim import Victim
from sltoolkit.wire.message import Link
from sltoolkit.wire.transcript import rows_of


def knowledge_sources(
    data: Split,
    task: Task,
    initial: nn.Module,
    defense: Defense,
    rng: Stream,
    *,
    trains: bool = True,
) -> dict[str, Callable[[], Any]]:
    """Sources of the grants that exist before the training, such as aux data and architecture.

    Args:
        data: the private data, and the attacker's.
        task: shapes and classes.
        initial: the client network; only its architecture is handed out.
        defense: the defense as configured.
        rng: the victim's root stream.
        trains: whether the client is trained in this run; False if it was trained elsewhere.
    """
    fresh = FreshClient(initial=initial)
    mechanism = Mechanism(
        defense=defense, fresh=fresh, task=task, samples=len(data.private_train), trains=trains
    )
    counts = torch.bincount(data.private_train.y.cpu(), minlength=len(data.classes))
    return {
        "task": lambda: task,
        "aux": lambda: Aux(x=data.aux.x.clone(), y=data.aux.y.clone()),
        "prior": lambda: counts / counts.sum(),
        "client_arch": lambda: fresh,
        "mechanism": lambda: mechanism,
    }


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class FreshClient:
    """The architecture of a client: a function from a stream to a network drawn anew."""

    initial: nn.Module

    def __call__(self, stream: Stream) -> nn.Module:
        """A network in training mode that learns; no number of it is the victim's."""
        client = copy.deepcopy(self.initial).requires_grad_(True).train()
        with stream.scope():
            redraw(client)
        return client

    def redrawn(self) -> "FreshClient":
        """The same function, which holds no number of the victim's."""
        return FreshClient(initial=self(Stream(0)))


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Mechanism:
    """The public parameters of a defense: a function from a stream to a fresh copy of it."""

    defense: Defense
    fresh: FreshClient
    task: Task
    samples: int
    trains: bool

    def __call__(self, stream: Stream) -> Defense:
        """The defense as it begins at a fresh client."""
        own, client = copy.deepcopy(self.defense), self.fresh(stream.child("client"))
        parameters = list(client.parameters())
        setup = PartySetup(
            side="client", module=client,
            optimizer=torch.optim.SGD(parameters, lr=0.0) if parameters and self.trains else None,
            sampler=Shuffled(batch_size=64), task=self.task, samples=self.samples, rng=stream,
        )  # fmt: skip
        with stream.scope():
            own.begin(setup)
        return own

    def redrawn(self) -> "Mechanism":
        """The same function, which holds no number of the victim's."""
        return replace(self, fresh=self.fresh.redrawn())


def trained_sources(
    victim: Victim, asked: Asked, mount: Mount, noise: Stream
) -> dict[str, Callable[[], Any]]:
    """Sources of all grants: those that exist before the training, and those that exist after it.

    Args:
        victim: the victim.
        asked: the records that the attack is asked about.
        mount: the attack's seat.
        noise: the stream of the defense's noise in answers to queries.
    """
    member, hops, targets = victim.client, mount.hops, asked.targets
    source = mount.links.get("smashed_grad")
    behind = (*member.hops[hops:], victim.server)

    def gradients(samples: Samples) -> Tensor:
        if source is None:
            raise ThreatModelError(f"no gradient reaches the {mount.role} in this protocol")
        record = victim.transcript.record(Link(source.src, source.dst, source.kind))
        return rows_of(record, samples.ids.cpu())

    return {
        **knowledge_sources(
            victim.data, victim.task_at(hops), member.network(hops),
            victim.configured_defense, victim.rng, trains=victim.recipe.training is not None,
        ),
        "smashed": lambda: released_targets(victim, asked.records, targets.releases, hops),
        "smashed_grad": lambda: gradients(asked.labeled),
        "labels": lambda: _told_labels(member, asked.records, mount, victim.rng),
        "hints": lambda: Hints(smashed_grad=gradients(asked.hinted), y=asked.hinted.y.clone()),
        "client_weights": lambda: copy.deepcopy(member.network(hops)),
        "peer_weights": lambda: copy.deepcopy(peer_of(victim).network(hops)),
        "peer_samples": lambda: peer_samples(victim),
        "server_weights": lambda: copy.deepcopy(
            victim.server if len(behind) == 1 else nn.Sequential(*behind)
        ),
        "updates": lambda: released_updates(victim, asked.records, targets),
        "release": lambda: member.release(noise, hops=hops),
    }  # fmt: skip


def _told_labels(member: Deployed, samples: Samples, mount: Mount, rng: Stream) -> Tensor:
    """The labels (N,) that a seat knows.

    A seat that hears labels on the wire knows them as they were sent; any other seat that knows
    them has the true ones.
    """
    if not mount.hears_labels:
        return samples.y.clone()
    return member.replica().labels(samples, rng.fresh("labels"))


def peer_of(victim: Victim) -> Deployed:
    """The client that colludes: the second one, or the only network that is deployed."""
    return victim.deployed[min(1, len(victim.deployed) - 1)]


def peer_samples(victim: Victim) -> Aux | None:
    """The samples of the colluding client; None if all clients share one deployed network."""
    if len(victim.deployed) < 2:
        return None
    samples = peer_of(victim).samples
    return Aux(x=samples.x.clone(), y=samples.y.clone())


def released_targets(victim: Victim, images: Samples, releases: int, hops: int = 0) -> Tensor:
    """The targets' smashed data as released, (R, N, ...): the same draw for every attack."""
    release = victim.client.release(victim.rng.fresh("targets"), hops=hops)
    return release(images.x, repeats=releases)
