"""List every published table as fresh or stale, or record the canaries of a new one.

A table is stale if a canary of one of its plug-ins gives other bits than when it was measured (in
another environment, other values), if its experiment, a parameter or the text of a figure has
changed, or if no canaries were recorded. The exit status is 1 if a table is stale.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from published import records
from published.canaries import canaries
from published.drawings import drawn
from published.measure import Bench, CanaryError
from published.records import Record
from published.register import ROOT, Published, drop_measured, register
from published.samples import splits
from sltoolkit.errors import SLToolkitError, SpecError, lookup

CODE = ("sltoolkit", "attacks", "defenses", "benchmarks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status is 0 if nothing is stale, and 2 after a mistake."""
    command = argparse.ArgumentParser(prog="scripts/results", description=__doc__)
    command.add_argument("names", nargs="*", metavar="NAME", help="tables; by default all")
    command.add_argument(
        "--record", action="store_true",
        help="write the canaries of these tables, right after they were measured with this commit",
    )  # fmt: skip
    given = command.parse_args(arguments)
    try:
        known = register()
        names = given.names or ([] if given.record else list(known))
        tables = [lookup(known, name, "published table") for name in names]
        return record(tables) if given.record else report(tables)
    except SLToolkitError as e:
        print(f"scripts/results: {e}", file=sys.stderr)
        return 2


def report(tables: Sequence[Published], folder: Path = records.FOLDER) -> int:
    """Print a line per table, and further ones about what makes it stale."""
    stale = 0
    with Bench() as bench:
        for table in tables:
            how, why = judged(table, bench, folder)
            stale += bool(why)
            state = "not guarded" if table.unguarded else "stale" if why else "fresh"
            print(f"{table.name}: {state} ({how})", *why, sep="\n  ", flush=True)
    return int(stale > 0)


def judged(table: Published, bench: Bench, folder: Path = records.FOLDER) -> tuple[str, list[str]]:
    """How a table was compared, and what makes it stale."""
    if table.unguarded:
        return table.unguarded, []
    path = records.path_of(table.name, folder)
    if not path.exists():
        return f"measured with {table.measured or 'an unknown version'}", ["no canary recorded"]
    then = records.read(path)
    try:
        now = current(table, bench)
    except CanaryError as e:
        return f"measured at {then.commit}", [str(e)]
    compared = "bits" if records.exact(then, now) else "values, since the environment is another"
    how = f"measured at {then.commit}; compared {compared} of {len(then.canaries)} canaries"
    return how, records.differences(then, now)


def current(table: Published, bench: Bench) -> Record:
    """A table's canaries today.

    Raises:
        CanaryError: if one can't be measured.
    """
    experiments = table.experiments()
    cells = {c.name: bench.result(c) for c in canaries(experiments)}
    figures = {f"figure {Path(file).name}": drawn(kind) for file, kind in table.drawn.items()}
    return records.made(experiments, cells | splits(experiments) | figures)


def record(tables: Sequence[Published], folder: Path = records.FOLDER) -> int:
    """Write the canaries of tables.

    Raises:
        SpecError: if no table is named, one has no canaries, or code isn't committed.
        CanaryError: if a canary can't be measured.
    """
    if not tables:
        raise SpecError("--record needs the names of the tables that were measured anew")
    check_committed()
    with Bench() as bench:
        for table in tables:
            if table.unguarded:
                raise SpecError(f"{table.name} has no canaries: {table.unguarded}")
            path = records.path_of(table.name, folder)
            records.write(current(table, bench), path)
            drop_measured(table.name)
            print(f"wrote {path}", flush=True)
    return 0


def check_committed() -> None:
    """Refuse to record with code that no commit holds.

    Raises:
        SpecError: naming what has changed since the commit.
    """
    asked = ["git", "-C", str(ROOT), "status", "--porcelain", "--", *CODE]
    changed = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    if changed:
        raise SpecError(f"commit first, since a record names its commit; changed: {changed[0]}")


if __name__ == "__main__":
    sys.exit(main())
