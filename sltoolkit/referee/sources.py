"""Where grants come from: what an attacker is handed, computed only when it is asked for."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sltoolkit.contracts.attack import Role
from sltoolkit.contracts.defense import Defense, PartySetup, Task
from sltoolkit.contracts.knowledge import Aux, Hints
from sltoolkit.data.samples import Samples, Split
from sltoolkit.data.targets import Targets
from sltoolkit.errors import ThreatModelError
from sltoolkit.models.resize import reinitialize
from sltoolkit.parties.sampling import Shuffled
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
    """Sources of the grants that exist before the training: own data, architecture, mechanism.

    Args:
        data: the private data and the attacker's.
        task: shapes and classes.
        initial: the client network, as it is or will be deployed.
        defense: as configured.
        rng: the victim's root stream.
        trains: whether the client is trained; not one that was trained elsewhere.
    """

    def fresh_client(stream: Stream) -> nn.Module:
        client = copy.deepcopy(initial).requires_grad_(True).train()
        with stream.scope():
            reinitialize(client)
        return client

    def mechanism(stream: Stream) -> Defense:
        own, client = copy.deepcopy(defense), fresh_client(stream.child("client"))
        parameters = list(client.parameters())
        setup = PartySetup(
            side="client", module=client,
            optimizer=torch.optim.SGD(parameters, lr=0.0) if parameters and trains else None,
            sampler=Shuffled(batch_size=64), task=task, samples=len(data.private_train),
            rng=stream,
        )  # fmt: skip
        with stream.scope():
            own.begin(setup)
        return own

    counts = torch.bincount(data.private_train.y.cpu(), minlength=len(data.classes))
    return {
        "task": lambda: task,
        "aux": lambda: Aux(x=data.aux.x.clone(), y=data.aux.y.clone()),
        "prior": lambda: counts / counts.sum(),
        "client_arch": lambda: fresh_client,
        "mechanism": lambda: mechanism,
    }


def trained_sources(
    victim: Victim, images: Samples, known: Samples, hinted: Samples, targets: Targets,
    role: Role, family: str, noise: Stream,
) -> dict[str, Callable[[], Any]]:  # fmt: skip
    """Sources of all grants, those included that exist once a victim has been trained.

    Args:
        victim: whom to attack.
        images: the targets of reconstruction.
        known: the targets of label attacks.
        hinted: samples whose labels the attacker knows.
        targets: how the targets were chosen, and how often they are released.
        role: the attacker's seat.
        family: of the attack.
        noise: of what the victim answers to queries.
    """
    member = victim.client
    seat = victim.protocol.seats[role]
    tap = seat.links.get("smashed_grad")
    steals = images if family == "reconstruction" else known
    behind = (*member.hops[seat.hops :], victim.server)

    def gradients(samples: Samples) -> Tensor:
        if tap is None:
            raise ThreatModelError(f"no gradient reaches the {role} in this protocol")
        record = victim.transcript.record(Link(tap.src, tap.dst, tap.kind))
        return rows_of(record, samples.ids.cpu())

    return {
        **knowledge_sources(
            victim.data, victim.task_at(seat.hops), member.network(seat.hops),
            victim.configured_defense, victim.rng, trains=victim.facts["training"] is not None,
        ),
        "smashed": lambda: released_targets(victim, images, targets.releases, seat.hops),
        "smashed_grad": lambda: gradients(known),
        "labels": lambda: told_labels(victim, steals, role),
        "hints": lambda: Hints(smashed_grad=gradients(hinted), y=hinted.y.clone()),
        "client_weights": lambda: copy.deepcopy(member.network(seat.hops)),
        "peer_weights": lambda: copy.deepcopy(peer_of(victim).network(seat.hops)),
        "peer_samples": lambda: peer_samples(victim),
        "server_weights": lambda: copy.deepcopy(
            victim.server if len(behind) == 1 else nn.Sequential(*behind)
        ),
        "updates": lambda: released_updates(victim, steals, targets),
        "release": lambda: victim.release(noise, hops=seat.hops),
    }  # fmt: skip


def told_labels(victim: Victim, samples: Samples, role: Role) -> Tensor:
    """The labels (N,) that a role knows: as they were sent, where it hears them on the wire.

    Who owns them, or is granted them without hearing them, has the true ones.
    """
    hears = role != "client" and "labels" in victim.protocol.seats[role].grants
    if not hears or not victim.protocol.labels_travel:
        return samples.y.clone()
    return victim.client.replica().labels(samples, victim.rng.fresh("labels"))


def peer_of(victim: Victim) -> Deployed:
    """The client that colludes: another one than the target's, or its equal where all are alike."""
    return victim.deployed[min(1, len(victim.deployed) - 1)]


def peer_samples(victim: Victim) -> Aux | None:
    """The samples that a colluding client brings along; None where one network has seen all."""
    if len(victim.deployed) < 2:
        return None
    samples = peer_of(victim).samples
    return Aux(x=samples.x.clone(), y=samples.y.clone())


def released_targets(victim: Victim, images: Samples, releases: int, hops: int = 0) -> Tensor:
    """The targets' smashed data as released, (R, N, ...): the same draw for every attack."""
    return victim.release(victim.rng.fresh("targets"), hops=hops)(images.x, repeats=releases)
