"""A victim on disk: tensors as safetensors, all else as JSON; nothing is ever unpickled."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sltoolkit.errors import StoreError
from sltoolkit.training.measured import Measured
from sltoolkit.training.recipe import Recipe
from sltoolkit.training.tensor_file import metadata, read_recorded, separate
from sltoolkit.training.victim import Victim
from sltoolkit.wire.message import Link, Seat, tolls_from, tolls_record
from sltoolkit.wire.transcript import Record


def victim_tensors(victim: Victim) -> dict[str, Tensor]:
    """All tensors of a victim, by name."""
    tensors = _states("server", victim.server)
    for k, member in enumerate(victim.deployed):
        tensors |= _states(f"client{k}", member.client)
        tensors |= _states(f"tail{k}", member.tail) if member.tail is not None else {}
        for i, hop in enumerate(member.hops):
            tensors |= _states(f"hop{k}.{i}", hop)
        for name, module in member.defense.learned().items():
            tensors |= _states(f"defense{k}.{name}", module)
    for link in victim.transcript.links():
        record = victim.transcript.record(link)
        tensors |= {
            f"heard/{link.src}/{link.dst}/{link.kind}/{k}": v for k, v in vars(record).items()
        }
    return separate(tensors)


def victim_record(victim: Victim) -> dict[str, Any]:
    """Everything of a victim that is not a tensor, as JSON."""
    return {
        "recipe": victim.recipe.record(),
        "utility": victim.utility,
        "balanced_accuracy": victim.balanced_accuracy,
        "losses": list(victim.losses),
        "baselines": [
            [seen, hops, *found]
            for (asked, seen, hops), found in victim.baseline_cache.items()
            if asked == victim.targets
        ],
        "costs": _costs_record(victim.costs),
        "heterogeneity": victim.heterogeneity,
        "reducer_error": victim.reducer_error,
        "releases_heard": dict(victim.releases_heard),
    }


def save_victim(victim: Victim, path: Path) -> None:
    """Write `path`.safetensors; the JSON record travels in its header."""
    save_file(victim_tensors(victim), path, metadata=metadata(victim_record(victim)))


def read_victim(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and record of a stored victim.

    Raises:
        StoreError: if the file is missing or damaged.
    """
    return read_recorded(path, remedy="delete it, and it is made again")


def restore_victim(
    untrained: Victim, tensors: Mapping[str, Tensor], record: Mapping[str, Any]
) -> Victim:
    """The stored victim, given an untrained one that was seated in the same way.

    Raises:
        StoreError: if the stored weights don't fit, or an older version stored them.
    """
    try:
        _load_networks(untrained, tensors)
        for link, heard in _heard(tensors).items():
            untrained.transcript.restore(link, heard)
        for seen, hops, priors, retrieval in record["baselines"]:
            untrained.baseline_cache[untrained.targets, seen, hops] = (priors, retrieval)
        return replace(
            untrained,
            recipe=Recipe.from_record(record["recipe"]),
            utility=record["utility"],
            balanced_accuracy=record["balanced_accuracy"],
            losses=tuple(record["losses"]),
            costs=_costs_from(record["costs"]),
            heterogeneity=record["heterogeneity"],
            reducer_error=record["reducer_error"],
            releases_heard=record["releases_heard"],
        )
    except (RuntimeError, KeyError, TypeError) as e:
        raise StoreError(f"the stored victim doesn't fit its plan ({e}): delete it") from e


def _load_networks(victim: Victim, tensors: Mapping[str, Tensor]) -> None:
    _load("server", victim.server, tensors)
    for k, member in enumerate(victim.deployed):
        _load(f"client{k}", member.client, tensors)
        if member.tail is not None:
            _load(f"tail{k}", member.tail, tensors)
        for i, hop in enumerate(member.hops):
            _load(f"hop{k}.{i}", hop, tensors)
        for name, module in member.defense.learned().items():
            _load(f"defense{k}.{name}", module, tensors)


def _heard(tensors: Mapping[str, Tensor]) -> dict[Link, Record]:
    """What was recorded of the training, by link."""
    links: set[Any] = {tuple(n.split("/")[1:4]) for n in tensors if n.startswith("heard/")}
    parts = ("rows", "ids", "steps")
    return {
        Link(*link): Record(**{k: tensors["/".join(("heard", *link, k))] for k in parts})
        for link in links
    }


def _costs_record(costs: Measured) -> dict[str, Any]:
    return {
        "tolls": tolls_record(costs.tolls),
        "flops": [[seat.name, seat.index, epoch, n] for (seat, epoch), n in costs.flops.items()],
        "seconds": costs.seconds,
    }


def _costs_from(record: Mapping[str, Any]) -> Measured:
    return Measured(
        tolls=tolls_from(record["tolls"]),
        flops={(Seat(name, i), epoch): n for name, i, epoch, n in record["flops"]},
        seconds=record["seconds"],
    )


def _states(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in module.state_dict().items()}


def _load(prefix: str, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    own = {n[len(prefix) + 1 :]: t for n, t in tensors.items() if n.startswith(f"{prefix}.")}
    with torch.no_grad():
        module.load_state_dict(own)
