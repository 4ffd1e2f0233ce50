"""What a process keeps on disk: its parties' tensors as safetensors, the rest as JSON."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, final

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sltoolkit.contracts.chain import Chain
from sltoolkit.contracts.defense import Defense
from sltoolkit.errors import SpecError, StoreError
from sltoolkit.parties.honest import HonestClient, HonestMiddle, HonestServer, Optimizer
from sltoolkit.serve.optimizers import History, PlaceholderOptimizer
from sltoolkit.serve.placeholders import Absent
from sltoolkit.training.cast import Clock
from sltoolkit.training.guarded import Guarded
from sltoolkit.training.member import Host, Member
from sltoolkit.training.run import Run
from sltoolkit.training.tensor_file import metadata, read_recorded, separate
from sltoolkit.wire.message import Seat, Toll, tolls_from, tolls_record

KEPT = 2
"""Processes are at most one epoch apart when one of them dies, so each keeps its last two."""

_NO_WEIGHTS = ("optimizer/", "reducer/")


@final
class ProcessState:
    """The state of the parties that live in this process.

    Args:
        run: the run, with placeholders for all other parties.
        clock: the run's clock.

    Attributes:
        losses: mean loss of each epoch, where a loss is computed here.
        before: bytes that were sent before this process resumed the run.
    """

    def __init__(self, run: Run, clock: Clock) -> None:
        self.run, self.clock = run, clock
        self.losses: list[float] = []
        self.before: Counter[Toll] = Counter()

    @property
    def tolls(self) -> Counter[Toll]:
        """Payload bytes of the whole run, by seats, kind and epoch."""
        return self.before + self.run.cast.wire.tolls

    def networks(self) -> dict[str, nn.Module]:
        """The networks that are here, by name."""
        found: dict[str, nn.Module] = {}
        for name, party in _parties(self.run):
            found[name] = party.module
        for name, defense in _defenses(self.run):
            found |= {f"{name}.defense.{n}": module for n, module in defense.learned().items()}
        return found

    def weights(self) -> dict[str, Tensor]:
        """The states of all networks here, and the common networks where the fed server is here."""
        tensors = {
            f"{name}.{key}": value
            for name, network in self.networks().items()
            for key, value in network.state_dict().items()
        }
        fed_server = self.run.cast.fed_server
        for i, state in enumerate(() if fed_server is None else fed_server.common):
            tensors |= {f"fed.{i}.{key}": t for key, t in state.items() if not t.is_meta}
        return tensors

    def tensors(self) -> dict[str, Tensor]:
        """The weights, the optimizers' states, and what the reducer remembers."""
        reducer = {
            f"reducer/{i}/{key}": t
            for i, kept in enumerate(self._routes().values())
            for key, t in kept.items()
            if not t.is_meta
        }
        return (
            self.weights()
            | reducer
            | {
                f"optimizer/{name}/{i}/{key}": value
                for name, party in _parties(self.run)
                if party.optimizer is not None
                for i, slots in party.optimizer.state_dict()["state"].items()
                for key, value in slots.items()
                if isinstance(value, Tensor)
            }
        )

    def _routes(self) -> Mapping[Any, Mapping[str, Tensor]]:
        codec = self.run.cast.wire.codec
        return {} if codec is None else codec.state_dict()

    def record(self) -> dict[str, Any]:
        """Everything that is not a tensor, as JSON."""
        cast, clock = self.run.cast, self.clock
        last = cast.last_to_learn
        return {
            "step": clock.step,
            "epoch": clock.epoch,
            "last_to_learn": None if last is None else list(cast.clients).index(last),
            "losses": self.losses,
            "begun": [history.begun for history in _histories(self.run)],
            "reducer": [_route_record(route, kept) for route, kept in self._routes().items()],
            "bytes": tolls_record(self.tolls),
            "streams": self.run.rng.state(),
        }

    def load(self, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
        """Go on from a stored state.

        Raises:
            StoreError: if it doesn't fit.
        """
        own = self.weights()
        stored = {n: t for n, t in tensors.items() if not n.startswith(_NO_WEIGHTS)}
        misfits = own.keys() ^ stored.keys() or [n for n in own if own[n].shape != stored[n].shape]
        if misfits:
            raise StoreError(f"the checkpoint doesn't fit this run ({sorted(misfits)[0]})")
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(stored[name])
        for name, party in _parties(self.run):
            if party.optimizer is not None:
                _load_optimizer(party.optimizer, tensors, f"optimizer/{name}/")
        cast = self.run.cast
        self.clock.step, self.clock.epoch = record["step"], record["epoch"]
        last = record["last_to_learn"]
        cast.last_to_learn = None if last is None else cast.clients[last]
        self.losses = list(record["losses"])
        for history, begun in zip(_histories(self.run), record["begun"], strict=True):
            history.begun = begun
        if cast.wire.codec is not None:
            cast.wire.codec.load_state_dict(_routes_from(record["reducer"], tensors))
        self.before = tolls_from(record["bytes"])
        self.run.rng.restore(record["streams"])


def check_resumable(run: Run) -> None:
    """Refuse a run whose checkpoints would not hold all of its state.

    Raises:
        SpecError: naming the defense that keeps such a state, or the server that remembers absent
            parties.
    """
    if getattr(run.protocol, "impute", "") == "mean":
        raise SpecError(
            "--resume: means of absent parties' data aren't in a checkpoint; start anew"
        )
    for _, defense in _defenses(run):
        for inner in _inner(defense):
            if set(vars(inner)) - {f.name for f in fields(inner) if f.init}:  # type: ignore[arg-type]
                raise SpecError(
                    f"--resume: {type(inner).__name__} keeps a state of its own, which checkpoints "
                    "don't hold: start anew, in another folder"
                )


def _inner(defense: Defense) -> list[Defense]:
    if isinstance(defense, Guarded):
        return _inner(defense.inner)
    if isinstance(defense, Chain):
        return [d for link in defense.links for d in _inner(link)]
    return [] if isinstance(defense, Absent) else [defense]


def _defenses(run: Run) -> Iterator[tuple[str, Defense]]:
    parties: list[Member | Host] = [*run.cast.clients, *run.cast.hops, *run.cast.servers]
    for party in parties:
        if not isinstance(party.defense, Absent):
            yield str(party.seat), party.defense


def _parties(run: Run) -> Iterator[tuple[str, HonestClient | HonestServer | HonestMiddle]]:
    """The honest parties that live here, by name."""
    for member in run.cast.clients:
        if not isinstance(member.defense, Absent):
            yield str(member.seat), member.party
            if member.tail is not None:
                yield f"{member.seat}.tail", member.tail
    for i, host in enumerate((*run.cast.hops, *run.cast.servers)):
        if isinstance(host.defense, Absent):
            continue
        if isinstance(host.party, HonestServer | HonestMiddle):
            copy = i - len(run.cast.hops)  # several copies may share a seat
            yield f"{host.seat}.copy{copy}" if copy > 0 else str(host.seat), host.party


def _histories(run: Run) -> Iterator[History]:
    """The histories of placeholders' optimizers."""
    for member in run.cast.clients:
        if isinstance(member.party.optimizer, PlaceholderOptimizer):
            yield member.party.optimizer.history


def _route_record(route: tuple[Seat, Seat, str, str], kept: Mapping[str, Tensor]) -> list[Any]:
    """A route of the reducer, and the shapes of the tensors kept for it, as JSON."""
    src, dst, kind, name = route
    shapes = {key: list(t.shape) for key, t in kept.items()}
    return [src.name, src.index, dst.name, dst.index, kind, name, shapes]


def _routes_from(rows: list[Any], tensors: Mapping[str, Tensor]) -> dict[Any, dict[str, Tensor]]:
    """The routes from their records; those between other processes are on the `meta` device."""
    return {
        (Seat(a, i), Seat(b, j), kind, name): {
            key: tensors.get(f"reducer/{n}/{key}", torch.empty(shape, device="meta"))
            for key, shape in shapes.items()
        }
        for n, (a, i, b, j, kind, name, shapes) in enumerate(rows)
    }


def _load_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor], prefix: str) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(prefix):
            i, key = name.removeprefix(prefix).split("/")
            state.setdefault(int(i), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


@final
class Checkpoints:
    """The checkpoints of a process: the last two, each one file, written atomically.

    Args:
        folder: the folder that holds them.
        rank: the rank of the process.
        plan: a hash of what is run, so that nothing goes on from another run's checkpoint.
    """

    def __init__(self, folder: Path, rank: int, plan: str) -> None:
        self._folder, self._rank, self._plan = folder, rank, plan

    def save(self, state: ProcessState) -> None:
        """Write the state after an epoch, and forget all but the last two."""
        epoch = state.clock.epoch
        record = state.record() | {"plan": self._plan}
        write(self._path(epoch), state.tensors(), metadata(record))
        for old in self.epochs()[:-KEPT]:
            self._path(old).unlink()

    def epochs(self) -> list[int]:
        """The epochs that have a checkpoint, in order."""
        files = self._folder.glob(f"rank-{self._rank}.epoch-*.safetensors")
        return sorted(int(f.name.split("-")[-1].split(".")[0]) for f in files)

    def load(self, state: ProcessState, epoch: int) -> None:
        """Go on from the end of this epoch; 0 is the beginning.

        Raises:
            StoreError: if the file is missing or damaged, or belongs to another run.
        """
        if epoch == 0:
            return
        path = self._path(epoch)
        tensors, record = read_recorded(path, remedy="start anew, without --resume")
        if record["plan"] != self._plan:
            raise StoreError(f"{path} belongs to another experiment: give another --out folder")
        state.load(tensors, record)

    def forget(self, after: int) -> None:
        """Remove the checkpoints of epochs after this one."""
        for epoch in self.epochs():
            if epoch > after:
                self._path(epoch).unlink()

    def _path(self, epoch: int) -> Path:
        return self._folder / f"rank-{self._rank}.epoch-{epoch}.safetensors"


def write(path: Path, tensors: Mapping[str, Tensor], header: dict[str, str]) -> None:
    """Write a safetensors file, whole or not at all."""
    partial = path.with_suffix(".partial")
    save_file(separate(tensors), partial, metadata=header)
    os.replace(partial, path)


def digest(plan: Any) -> str:
    """A hash of plain JSON."""
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
