"""What was recorded about a published table's canaries, and what has become of it since.

Bits are compared where the environment is the recorded one. Elsewhere another order of additions
gives other bits, so there values are compared, within half a percent.
"""

import json
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, final

import torch

from published.measure import Measured
from published.register import ROOT, Experiment
from sltoolkit.rows.environment import environment

FOLDER = ROOT / "docs" / "results" / "canaries"
RELATIVE, ABSOLUTE = 5e-3, 1e-4
"""How far values may differ in another environment."""

LIBRARIES = ("torch", "numpy", "scipy", "scikit-image", "scikit-learn", "opacus")


@final
@dataclass(frozen=True, kw_only=True)
class Record:
    """The canaries of a table when it was measured.

    Attributes:
        commit: the commit of the code that measured them and the table.
        environment: what bits depend on besides code.
        experiments: the digest of the table's experiments.
        canaries: their results by name.
    """

    commit: str
    environment: Mapping[str, str]
    experiments: str
    canaries: Mapping[str, Measured]


def path_of(name: str, folder: Path = FOLDER) -> Path:
    """The file of a table's canaries."""
    return folder / f"{name}.json"


def read(path: Path) -> Record:
    """A record from its file."""
    raw = json.loads(path.read_text())
    canaries = {name: Measured(**result) for name, result in raw.pop("canaries").items()}
    return Record(**raw, canaries=canaries)


def made(experiments: Sequence[Experiment], canaries: Mapping[str, Measured]) -> Record:
    """The record of what was just measured."""
    return Record(
        commit=str(environment()["commit"]), environment=fingerprint(),
        experiments=digest_of(experiments), canaries=canaries,
    )  # fmt: skip


def write(record: Record, path: Path) -> None:
    """Write a record to its file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(record), indent=1) + "\n")


def fingerprint() -> dict[str, str]:
    """What the bits of a result depend on besides code: libraries, and the processor's kind."""
    return {
        **{name: version(name) for name in LIBRARIES},
        "machine": platform.machine(),
        "maker": _maker(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def _maker() -> str:
    """Who made the processor, where the system says so; libraries choose their kernels by it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if "vendor_id" in line), "")


def digest_of(experiments: Sequence[Experiment]) -> str:
    """A hash of experiments that differs if any setting does."""
    text = json.dumps([dict(e) for e in experiments], sort_keys=True)
    return sha256(text.encode()).hexdigest()[:16]


def exact(then: Record, now: Record) -> bool:
    """Whether the environments are the same, so that bits can be compared."""
    return dict(then.environment) == dict(now.environment)


def differences(then: Record, now: Record) -> list[str]:
    """What makes a table stale, a sentence each; none if it is fresh."""
    return list(_differences(then, now))


def _differences(then: Record, now: Record) -> Iterator[str]:
    if then.experiments != now.experiments:
        yield "its experiment has changed"
    for name in sorted(then.canaries.keys() ^ now.canaries.keys()):
        yield f"{name}: " + ("is used no longer" if name in then.canaries else "is new")
    for name, was in then.canaries.items():
        if name in now.canaries:
            found = _changes(was, now.canaries[name], bits=exact(then, now))
            yield from (f"{name}: {change}" for change in found)


def _changes(was: Measured, found: Measured, *, bits: bool) -> Iterator[str]:
    for key, value in was.settings.items():
        here = found.settings.get(key, "gone")
        if here != value:
            yield _told(key, value, here)
    other = [
        f"{key} was {value}, and is {found.values.get(key, 'gone')}"
        for key, value in was.values.items()
        if not _close(value, found.values.get(key), bits=bits)
    ]
    if other:
        yield "; ".join(other)
    elif bits and was.bits != found.bits:
        yield "its bits differ"


def _told(key: str, value: Any, here: Any) -> str:
    """The sentence about a changed setting; of two lists only what is not in both."""
    if isinstance(value, list) and isinstance(here, list):
        value, here = [x for x in value if x not in here], [x for x in here if x not in value]
    return f"{key} was {value}, and is {here}"


def _close(value: float, found: float | None, *, bits: bool) -> bool:
    if found is None or bits:
        return value == found
    return math.isclose(value, found, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
