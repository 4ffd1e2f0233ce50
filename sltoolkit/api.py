"""The functions that a notebook or a script calls: `train`, `frozen`, `attack`, `table`.

>>> import sltoolkit as sl
>>> data = sl.data.load("photos")
>>> victim = sl.train("lenet", data, cut="conv1", defense=sl.GaussianNoise(std=0.5), seed=0)
>>> result = sl.attack(victim, sl.Decoder(), seed=0)
>>> sl.table([result])
"""

import copy
import time
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sltoolkit import data as datasets
from sltoolkit import models
from sltoolkit.contracts.attack import ActiveAttack, AnyAttack, Listener, Role
from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.data.partition import PARTITIONS, Dealt, Partition, heterogeneity
from sltoolkit.data.samples import Samples, Split
from sltoolkit.data.targets import Targets, label_targets
from sltoolkit.defenses import DEFENSES
from sltoolkit.errors import SpecError
from sltoolkit.parties.settings import Training
from sltoolkit.progress import watch, watch_rehearsals
from sltoolkit.protocols import PROTOCOLS, Protocol
from sltoolkit.referee.intact import intact
from sltoolkit.referee.judge import judge
from sltoolkit.referee.listening import open_listener, seize
from sltoolkit.referee.mount import STANDARD_GRANTS
from sltoolkit.report.result import Result, table
from sltoolkit.rows.build import attempt_columns, verdict_columns
from sltoolkit.rows.names import name_of, named
from sltoolkit.rows.recipes import Cut, recipe_of
from sltoolkit.training.checkpoint import read_victim, restore_victim
from sltoolkit.training.measured import measure
from sltoolkit.training.phases import Progress, deploy, phase_of_epochs, run_phases
from sltoolkit.training.recipe import Recipe
from sltoolkit.training.releases import releases_heard
from sltoolkit.training.run import Run, seat_parties, shards_of, with_format
from sltoolkit.training.secret import victim_stream
from sltoolkit.training.utility import measure_utility
from sltoolkit.training.victim import AttachedListener, Victim
from sltoolkit.wire.codec import Reducer
from sltoolkit.wire.reducers import REDUCERS
from sltoolkit.wire.transcript import Recording, Transcript
from sltoolkit.wire.wire import Wire

__all__ = ["attack", "frozen", "table", "train"]


def train(
    model: models.Model,
    data: Split | str,
    *,
    cut: Cut,
    protocol: Protocol | str = "vanilla",
    partition: Partition | str | None = None,
    reducer: Reducer | str | None = None,
    defense: Defense | str | None = None,
    seed: int = 0,
    salt: str = "",
    training: Training | None = None,
    targets: Targets | None = None,
    listeners: Sequence[Listener[Any]] = (),
    active: ActiveAttack[Any] | None = None,
    attacker_seed: int = 0,
    grants: Collection[str] = STANDARD_GRANTS,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    rehearsing: Progress | None = None,
) -> Victim:
    """Train a split model.

    Args:
        model: a registered name, your own `nn.Module` (a copy is trained, and every client starts
            from the weights that it has), or a function that makes one (it is called for every
            seed; clients whose networks are private draw their own weights, but for frozen ones).
        data: a split, or the name of a data set.
        cut: the block after which the client's part ends; a list of blocks for a protocol with
            more than two parts.
        protocol: a protocol, or its name.
        partition: which client holds which samples, or the name of a partition; by default the
            samples are dealt out in turn.
        reducer: a lossy codec on the wire, or its name; None sends messages unchanged.
        defense: a defense, its name, or None.
        seed: the victim's seed, for initialization, batches, dropout, the defense's noise and the
            draw of the targets. All but the last depend on the private samples, too, so that trying
            seeds redraws nothing.
        salt: a text that they depend on as well; where others own the private samples (a public
            data set), a long random one keeps the noise from being drawn again.
        training: epochs, batch size, optimizer.
        targets: which records attacks will be asked about.
        listeners: attacks that listen to the training.
        active: an attack that takes over a seat.
        attacker_seed: seed of the listeners and of the active attack.
        grants: what these attacks are granted beyond what their seats hold.
        device: where to compute.
        progress: called after each epoch with (epochs done, epochs in all).
        rehearsing: called with (percent done, 100) while a listener or a hijacker rehearses, which
            happens when the first batch that it can use arrives; each rehearsal starts from 0.

    Returns:
        The victim: deployed networks, transcript, utility.

    Raises:
        DataError: if aux holds private records, or parts share a source id or a group.
        SpecError: for an unknown name or a cut that doesn't fit.
        ThreatModelError: before any training, if a listener or a hijacker asks for what its seat
            doesn't hold and the experiment doesn't grant.
        ProtocolError: if the parts don't fit the protocol, or the training diverges.
        TamperingError: if a listener or a hijacker changed the referee's own functions.
    """
    data = _disjoint(data)
    protocol = named(protocol, PROTOCOLS, "protocol")
    if not protocol.learns:
        raise SpecError(
            f"{name_of(protocol, PROTOCOLS)} trains nothing: give it a trained network with "
            "frozen(client, server, data, protocol=...)"
        )
    partition = Dealt() if partition is None else named(partition, PARTITIONS, "partition")
    reducer = None if reducer is None else named(reducer, REDUCERS, "reducer")
    defense = NoDefense() if defense is None else named(defense, DEFENSES, "defense")
    training = training or Training(channels_last=models.prefers_channels_last(model))
    targets = targets or Targets()
    rng = victim_stream(seed, data, salt=salt)
    with rng.child("init").scope():
        whole = models.whole(model, shape=data.shape, classes=len(data.classes))
    parts = tuple(p.to(device) for p in models.verified_cut(whole, cut, data.private_train.x))
    placed = with_format(parts, data.to(device), training)
    shards = shards_of(placed, protocol, partition, rng)
    held = placed.private_train if protocol.alike else shards[0]
    transcript = Transcript(_recording(held, defense, targets, training.epochs, seed))
    run = seat_parties(
        parts, placed, protocol=protocol, defense=defense, training=training, rng=rng,
        partition=partition, wire=Wire(codec=reducer.begin() if reducer else None),
        given=isinstance(model, nn.Module),
    )  # fmt: skip
    attached = [open_listener(x, run, seed=attacker_seed, grants=grants) for x in listeners]
    if active is not None:
        attached.append(seize(active, run, seed=attacker_seed, grants=grants))
    run.cast.wire = run.cast.wire.with_ears([transcript, *(ear for _, ear in attached)])
    start = time.perf_counter()
    hearing = [type(each.attack).__name__ for each, _ in attached]
    with watch_rehearsals(rehearsing), intact(" and ".join(hearing) or "the training"):
        losses = run_phases(run, training.epochs, progress)
    recipe = recipe_of(
        model=_model_name(model), dataset=data.name, split=_digests(data), cut=cut,
        protocol=protocol, defense=defense, seed=seed, training=training, epochs=training.epochs,
        partition=partition, reducer=reducer, salt=salt,
    )  # fmt: skip
    victim = _victim(
        run, recipe, transcript, losses, targets, seconds=time.perf_counter() - start,
        attached=[t for t, _ in attached],
    )  # fmt: skip
    return replace(
        victim,
        heterogeneity=heterogeneity([shard.y for shard in shards], len(data.classes)),
        reducer_error=run.cast.wire.error("smashed"),
    )


def restored(
    path: Path, model: models.Model, data: Split, *, cut: Cut, protocol: Protocol, defense: Defense,
    seed: int, training: Training, targets: Targets, device: torch.device | str = "cpu",
    partition: Partition | str | None = None, reducer: Reducer | str | None = None,
    salt: str = "",
) -> Victim:  # fmt: skip
    """The victim that `checkpoint.save_victim` stored in a file, given its training's arguments."""
    tensors, record = read_victim(path)
    untrained = train(
        model, data, cut=cut, protocol=protocol, defense=defense, seed=seed,
        training=replace(training, epochs=0), targets=targets, device=device,
        partition=partition, reducer=reducer, salt=salt,
    )  # fmt: skip
    return restore_victim(untrained, tensors, record)


def frozen(
    client: nn.Module,
    server: nn.Module,
    data: Split | str,
    *,
    cut: str = "given",
    tail: nn.Module | None = None,
    protocol: Protocol | str | None = None,
    defense: Defense | str | None = None,
    seed: int = 0,
    salt: str = "",
    targets: Targets | None = None,
    device: torch.device | str = "cpu",
) -> Victim:
    """Make a victim from networks that were trained elsewhere; their weights stay as they are.

    The protocol runs once over the private training samples without learning. This pass gives the
    gradients that label attacks need.

    Args:
        client: the network up to the cut.
        server: the network behind it (up to the tail, if there is one).
        data: what the networks were trained on, what was held out, and the attacker's own data,
            given apart: `sltoolkit.data.parts`. A split that was drawn from a pool, or the name of
            a data set, doesn't say what the networks have seen: rows and the closing sentence then
            say that the accuracy may be over training data.
        cut: the name of the place between client and server in rows and tables.
        tail: the last part, where the client holds it (U-shaped).
        protocol: a protocol, or its name; it decides which party holds what, and what travels. By
            default `u_shaped` with a tail, and `vanilla` without one; without a tail, label attacks
            need `Vanilla(labels_at="server")`.
        defense: a defense in front of the wire, its name, or None; a defense that acts by training
            the client is refused.
        seed: the seed of the defense's noise, which depends on the private samples, too, and of
            the draw of the targets.
        salt: as for `train`.
        targets: which records attacks will be asked about.
        device: where to compute.

    Raises:
        DataError: as `train`.
    """
    data = _disjoint(data).to(device)
    targets = targets or Targets()
    defense = NoDefense() if defense is None else named(defense, DEFENSES, "defense")
    usual = "vanilla" if tail is None else "u_shaped"
    protocol = named(protocol or usual, PROTOCOLS, "protocol")
    given = (client, server) if tail is None else (client, server, tail)
    parts = tuple(copy.deepcopy(p).to(device) for p in given)
    if defense.learns:
        raise SpecError(
            f"{name_of(defense, DEFENSES)} acts by training the client, so in front of a network "
            "that was trained without it, it would do nothing: use train(..., defense=...)"
        )
    rng = victim_stream(seed, data, salt=salt)
    held = data.private_train if protocol.alike else shards_of(data, protocol, None, rng)[0]
    transcript = Transcript(_recording(held, defense, targets, 1, seed))
    run = seat_parties(
        parts, data, protocol=protocol, defense=defense, training=None,
        rng=rng, ears=[transcript], given=True,
    )  # fmt: skip
    losses = run_phases(run, 1)
    recipe = recipe_of(
        model=_model_name(client), dataset=data.name, split=_digests(data), cut=cut,
        protocol=protocol, defense=defense, seed=seed, training=None, epochs=1, partition=Dealt(),
        reducer=None, salt=salt,
    )  # fmt: skip
    victim = _victim(run, recipe, transcript, losses, targets)
    return replace(victim, holdout_unseen=not data.drawn)


def attack(
    victim: Victim,
    attack: AnyAttack,
    *,
    seed: int = 0,
    grants: Collection[str] = STANDARD_GRANTS,
    targets: Targets | None = None,
    role: Role | None = None,
    isolate: bool = False,
    progress: Progress | None = None,
) -> Result:
    """Attack a trained victim, and judge the outcome against the truth and the prior alone.

    Args:
        victim: from `train` or `frozen`.
        attack: an attack with its hyper-parameters.
        seed: the attacker's seed.
        grants: what the attack is granted beyond what its seat holds; by default `aux`, `release`
            and `prior` (own data, queries, class frequencies).
        targets: which records the attack is asked about; by default the victim's own targets.
        role: the seat; by default the first of the attack's roles that holds what it needs.
        isolate: run an attack after the fact in a process of its own, which gets its view and
            nothing else; the results are the same. It takes some seconds to start, and reports no
            progress.
        progress: called with (percent done, 100), rehearsal included. If the attack doesn't report
            its progress, it is called only at the end.

    Raises:
        ProtocolError: if an isolated attack's process ends early, or sends what is no answer.
        SpecError: if an attack can't be isolated, because its code can't be imported elsewhere.
        TamperingError: if the attack changed the referee's own functions, so its result is void.
        ThreatModelError: if a grant is missing, or a listener didn't hear this victim's training.
    """
    attempt = attempt_columns(victim, attack, seed=seed, targets=targets or victim.targets)
    with nullcontext() if progress is None else watch(progress):
        verdict = judge(
            victim, attack, seed=seed, grants=grants, targets=targets, role=role, isolate=isolate
        )
    found = verdict_columns(victim.configured_defense, attack, verdict)
    return Result(identity={**attempt, **found}, verdict=verdict)


def _disjoint(data: Split | str) -> Split:
    """The split, or the data set of a name; refused if the attacker owns private records."""
    data = datasets.load(data) if isinstance(data, str) else data
    datasets.check_disjoint(data)
    return data


def _model_name(model: models.Model) -> str:
    return model if isinstance(model, str) else getattr(model, "__name__", type(model).__name__)


def _digests(data: Split) -> str:
    return "/".join(data.digests.values())


def _victim(
    run: Run, recipe: Recipe, transcript: Transcript, losses: tuple[float, ...], targets: Targets,
    *, seconds: float = 0.0, attached: Sequence[AttachedListener] = (),
) -> Victim:  # fmt: skip
    deployed, server = deploy(run)
    measured = measure_utility(deployed, server, run.data.private_holdout, run.rng)
    return Victim(
        recipe=recipe,
        data=run.data,
        protocol=run.protocol,
        deployed=deployed,
        server=server,
        task=run.task,
        transcript=transcript,
        utility=measured.accuracy,
        balanced_accuracy=measured.balanced_accuracy,
        losses=losses,
        costs=measure(run, seconds=seconds),
        rng=run.rng,
        configured_defense=run.defense,
        targets=targets,
        attached=tuple(attached),
        releases_heard=releases_heard(run),
    )


def _recording(
    held: Samples, defense: Defense, targets: Targets, epochs: int, seed: int
) -> Recording:  # fmt: skip
    known, hinted = label_targets(held, targets, seed=seed)
    training = [e for e, name in enumerate(phase_of_epochs(defense, epochs)) if name == "train"]
    wanted = training[:1] if targets.epoch == "first" else training[-1:]
    return Recording(
        kinds=frozenset({"smashed_grad"}),
        ids=torch.cat([known.ids, hinted.ids]),
        epochs=frozenset(wanted),
    )
