"""Experiment specs: validated settings from TOML, or from the same dictionary built in Python.

```toml
name = "defense-tradeoff"
seeds = [0, 1, 2]

[data]
name = "photos"

[model]
name = "lenet"
cut = "conv1"

[[defense]]
name = "none"

[[defense]]
name = "gaussian_noise"
std = 0.5

[[attack]]
name = "decoder"

[sweep]
"defense.gaussian_noise.std" = [0.1, 0.5, 2.0]
```
"""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, final

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sltoolkit.bench.build import (
    at,
    attack_from,
    check_grants,
    defense_from,
    model_from,
    partition_from,
    places,
    protocol_from,
    reducer_from,
    table_into,
)
from sltoolkit.bench.sweep import check_paths, put, swept_elsewhere, swept_tables
from sltoolkit.data.registry import DATASETS
from sltoolkit.data.split import Duplicates
from sltoolkit.data.targets import Targets
from sltoolkit.errors import SpecError, lookup, nearest
from sltoolkit.parties.settings import Training
from sltoolkit.referee.mount import STANDARD_GRANTS
from sltoolkit.report.against_undefended import ACCURACY_BUDGET, check_budget

Table = dict[str, Any]

_DEVICES = {name: name for name in ("cpu", "cuda", "mps", "xpu")}


@final
class DataSpec(BaseModel):
    """Which data set, how it is split, and where its files are; as in `sltoolkit.data.load`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    train: int | None = None
    holdout: int | None = None
    aux: int | None = None
    aux_from: str | None = None
    seed: int = 0
    root: str | None = None
    duplicates: Duplicates = "together"


@final
class Spec(BaseModel):
    """One experiment: every defense, attacked by every attack, on every victim seed.

    Attributes:
        name: the experiment's name, in every row.
        seeds: victim seeds; any claim needs five.
        salt: a text that the victims' random streams depend on besides their seeds and private
            data; for public data, a long random one. Rows show a short hash of it.
        attacker_seeds: attacker seeds, for every attack on every victim.
        grants: what attacks are granted beyond what their seat holds.
        tune: whether attacks rehearse on each victim, or once per defense on a pilot victim.
        pilot_seed: the pilot's victim seed; never a reported one.
        isolate: whether each attack after the fact runs in a process of its own, which gets its
            view and nothing else.
        demonstration: whether every output is marked as a demonstration.
        accuracy_budget: how much accuracy a defense may lose, in the mean over pairs with
            undefended victims of the same seeds, before it is unusable; 0.03 is 3 points. Results
            don't depend on it, only tables and the closing sentence do.
        device: where to compute.
        checkpoint: a safetensors file with the whole model's weights; it is attacked, and nothing
            is trained.
        data, model, training, targets: settings of all victims.
        protocol: one table, or a list of tables, each of which may have its own `cut` in place of
            the model's. In a list, a protocol leaves out the attacks that it can't seat.
        partition: which client holds which samples.
        reducer: a lossy codec on the wire.
        defense: one table per defense (or `chain = [...]`, a list of tables).
        attack: one table per attack; `grants` and `role` may be given per attack.
        sweep: dotted path -> values; all combinations are run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "experiment"
    seeds: Annotated[list[int], Field(min_length=1)]
    salt: str = ""
    attacker_seeds: Annotated[list[int], Field(min_length=1)] = [0]
    grants: list[str] = sorted(STANDARD_GRANTS)
    tune: Literal["each", "pilot"] = "each"
    pilot_seed: int = 1_000_000
    isolate: bool = False
    demonstration: bool = False
    accuracy_budget: float = ACCURACY_BUDGET
    device: str = "cpu"
    checkpoint: str | None = None
    data: DataSpec
    model: Table
    protocol: Table | Annotated[list[Table], Field(min_length=1)] = {"name": "vanilla"}
    partition: Table = {"name": "dealt"}
    reducer: Table = {"name": "none"}
    training: Table = {}
    targets: Table = {}
    defense: Annotated[list[Table], Field(min_length=1)] = [{"name": "none"}]
    attack: Annotated[list[Table], Field(min_length=1)]
    sweep: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}

    @model_validator(mode="after")
    def _pilot_is_not_reported(self) -> "Spec":
        if self.pilot_seed in self.seeds:
            raise ValueError(f"pilot_seed {self.pilot_seed} is also a reported seed")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds holds the same seed twice: each victim counts once")
        return self

    @property
    def protocols(self) -> list[Table]:
        """The protocols' tables."""
        return self.protocol if isinstance(self.protocol, list) else [self.protocol]

    def for_protocol(self, i: int) -> "Spec":
        """The spec with only its i-th protocol, and with that protocol's cut."""
        table = dict(self.protocols[i])
        model = {**self.model, "cut": table.pop("cut")} if "cut" in table else self.model
        return self.model_copy(update={"protocol": table, "model": model})

    def points(self) -> list["Spec"]:
        """One spec per protocol and combination of swept values, fully checked.

        Its `sweep` then holds one value for each path outside the defenses and attacks.

        Raises:
            SpecError: if a point is wrong; the message names the dotted path.
        """
        if isinstance(self.protocol, list):
            alone = [self.for_protocol(i) for i in range(len(self.protocol))]
            return [point for spec in alone for point in spec.points()]
        plugins = {
            "defense": [d for t in self.defense for d in swept_tables("defense", t, self.sweep)],
            "attack": [a for t in self.attack for a in swept_tables("attack", t, self.sweep)],
        }
        points = []
        for chosen in swept_elsewhere(self.sweep):
            single = {path: [value] for path, value in chosen.items()}
            raw = self.model_dump() | {"sweep": single, **plugins}
            for path, value in chosen.items():
                put(raw, path, value)
            points.append(_checked(raw))
        return points


def load_spec(source: Path | str | Mapping[str, Any]) -> Spec:
    """Read and check a spec.

    Args:
        source: a TOML file, or the same tables as a dictionary.

    Raises:
        SpecError: if the spec is wrong; the message names the dotted path and the nearest valid
            key.
    """
    if isinstance(source, Mapping):
        raw = dict(source)
    else:
        raw = read_toml(Path(source))
        if isinstance(raw.get("checkpoint"), str):  # its path is relative to the spec's folder
            raw["checkpoint"] = str((Path(source).parent / raw["checkpoint"]).resolve())
    spec = _checked(raw)
    named = {"defense": spec.defense, "attack": spec.attack}
    names = {key: {str(t["name"]) for t in tables if "name" in t} for key, tables in named.items()}
    check_paths(spec.sweep, names)
    if spec.sweep:
        with at("sweep"):
            spec.points()
    return spec


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        SpecError: if the file is missing or is not valid TOML.
    """
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError as e:
        raise SpecError(f"there is no spec file {path}") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise SpecError(f"{path} is not valid TOML: {e}") from e


def _validated(raw: Mapping[str, Any]) -> Spec:
    try:
        return Spec.model_validate(raw)
    except ValidationError as e:
        raise SpecError("; ".join(_sentences(e))) from None


def _sentences(error: ValidationError) -> Iterable[str]:
    for e in error.errors():
        path = ".".join(map(str, e["loc"]))
        if e["type"] == "extra_forbidden":
            section = Spec if len(e["loc"]) == 1 else DataSpec
            valid = list(section.model_fields)
            hint = nearest(str(e["loc"][-1]), valid)
            yield f"unknown key {path!r}{hint} (valid: {', '.join(valid)})"
        elif e["type"] == "value_error":
            yield e["msg"].removeprefix("Value error, ")
        else:
            yield f"{path or 'spec'}: {e['msg']} (got {e['input']!r:.80})"


def _checked(raw: Mapping[str, Any]) -> Spec:
    """Validate every plug-in table by building it."""
    spec = _validated(raw)
    for key in ("name", "aux_from"):
        named = getattr(spec.data, key)
        if named is not None and not named.endswith(".npz"):
            with at(f"data.{key}"):
                lookup(DATASETS, named, "data set")
    _check_device(spec.device)
    check_budget(spec.accuracy_budget)
    for i in range(len(spec.protocols)):
        _check_cut(spec.for_protocol(i), f"protocol[{i}]" * isinstance(spec.protocol, list))
    check_grants(spec.grants, "grants")
    partition_from(spec.partition, "partition")
    reducer_from(spec.reducer, "reducer")
    table_into(Training, spec.training, "training")
    table_into(Targets, spec.targets, "targets")
    for i, table in enumerate(spec.defense):
        defense_from(table, f"defense[{i}]")
    for i, table in enumerate(spec.attack):
        attack_from(table, f"attack[{i}]")
    return spec


def _check_device(device: str) -> None:
    with at("device"):
        lookup(_DEVICES, device.partition(":")[0], "device")
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as e:  # torch raises these if a device is missing
            reason = str(e).splitlines()[0]
            raise SpecError(f"{device!r} can't be used on this machine ({reason})") from None


def _check_cut(spec: Spec, path: str) -> None:
    _, cut, _ = model_from(spec.model, "model")
    (table,) = spec.protocols
    protocol = protocol_from(table, path or "protocol")
    given, needed = len(places(cut)), protocol.parts - 1
    if given != needed:
        raise SpecError(
            f"{path or 'model'}.cut: {table['name']} needs {needed} cut{'s' * (needed > 1)}, got "
            f"{given} ({cut!r}): give the block after which each part but the last one ends"
        )
