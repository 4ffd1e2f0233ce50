"""Canaries of data sets that ship with dependencies: the split that an experiment draws."""

import json
from collections.abc import Sequence

from published.measure import DIGITS, Measured, digest
from published.register import Experiment
from sltoolkit.bench.spec import DataSpec, load_spec
from sltoolkit.data import DATASETS, load
from sltoolkit.data.pool import PARTS


def splits(experiments: Sequence[Experiment]) -> dict[str, Measured]:
    """A canary for every embedded data set of some experiments, by name."""
    given = [point.data for e in experiments for point in load_spec(e).points()]
    return {
        f"data {_said(data)}": _split(data)
        for data in {_said(data): data for data in given}.values()
        if data.name in DATASETS and DATASETS[data.name].embedded
    }


def _said(data: DataSpec) -> str:
    told = data.model_dump(exclude_defaults=True, exclude={"name"})
    return f"{data.name} {json.dumps(told, sort_keys=True)}" if told else data.name


def _split(data: DataSpec) -> Measured:
    split = load(**data.model_dump())
    parts = {part: getattr(split, part) for part in PARTS}
    tensors = {f"{part}.{k}": getattr(held, k) for part, held in parts.items() for k in "xy"}
    means = {name: float(f"{t.double().mean():.{DIGITS}g}") for name, t in tensors.items()}
    return Measured(bits=digest({}, tensors), values=means, settings={})
