"""The register of what is published: `docs/results/published.toml`, and the experiments behind it.

A table is one measurement and the files that show it. Its experiments come from a spec, from one
scale of a reproduction, or from a script in `benchmarks/`. A page whose numbers no canary can
guard, because they are times or counts, says so in `unguarded`.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from published.benchmarked import BENCHMARKS
from sltoolkit.bench.reproduction import Scale, load_reproduction
from sltoolkit.bench.spec import read_toml
from sltoolkit.errors import SpecError, lookup

ROOT = Path(__file__).parents[2]
REGISTER = ROOT / "docs" / "results" / "published.toml"

Experiment = Mapping[str, Any]


@final
@dataclass(frozen=True, kw_only=True)
class Published:
    """A table or figure that is published.

    Attributes:
        name: its name in the register, and of the file of its canaries.
        files: the files that show its numbers, within the repository.
        command: what measures it.
        measured: with which version it was measured, until canaries are recorded.
        spec: the file of its experiment, within the repository.
        scale: which scale of it, if it is a reproduction.
        benchmark: the script in `benchmarks/` that measures it, if no spec does.
        unguarded: why it has no canaries, if it has none.
        drawn: which of its files is which kind of figure (`drawings.KINDS`).
    """

    name: str
    files: tuple[str, ...]
    command: str
    measured: str = ""
    spec: str = ""
    scale: Scale | None = None
    benchmark: str = ""
    unguarded: str = ""
    drawn: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse an entry whose experiments are not known, or known twice.

        Raises:
            SpecError: naming the table.
        """
        if [bool(self.spec), bool(self.benchmark), bool(self.unguarded)].count(True) != 1:
            raise SpecError(f"{self.name}: give exactly one of spec, benchmark and unguarded")
        if not self.files or not self.command:
            raise SpecError(f"{self.name}: give the files that show it, and its command")

    def experiments(self) -> list[Experiment]:
        """The experiments that measure it, as `load_spec` takes them; none if it is unguarded.

        Raises:
            SpecError: if the spec can't be read, or nobody knows the benchmark.
        """
        if self.unguarded:
            return []
        if self.benchmark:
            return lookup(BENCHMARKS, self.benchmark, "benchmark")()
        path = ROOT / self.spec
        return [load_reproduction(path, self.scale).experiment if self.scale else read_toml(path)]


def register(path: Path = REGISTER) -> dict[str, Published]:
    """All that is published, by name.

    Raises:
        SpecError: if an entry has an unknown key, or a name stands there twice.
    """
    found: dict[str, Published] = {}
    for entry in tomllib.loads(path.read_text())["table"]:
        try:
            table = Published(**entry | {"files": tuple(entry.get("files", ()))})
        except TypeError as e:
            raise SpecError(f"{path.name}: {entry.get('name', 'an entry')}: {e}") from None
        if table.name in found:
            raise SpecError(f"{path.name}: {table.name} stands there twice")
        found[table.name] = table
    return found


def drop_measured(name: str, path: Path = REGISTER) -> None:
    """Remove from an entry what measured the table, since its canaries say it from now on."""
    entries = path.read_text().split("[[table]]\n")
    for i, entry in enumerate(entries):
        if f'name = "{name}"\n' in entry:
            kept = [x for x in entry.splitlines(keepends=True) if not x.startswith("measured =")]
            entries[i] = "".join(kept)
    path.write_text("[[table]]\n".join(entries))
