"""The command line: `sltoolkit demo, bench, report, list, describe, cuts, costs, data`.

Exit codes: 0 success; 1 cells failed, or an error occurred during the run; 2 the request is wrong;
130 interrupted. Heavy modules are imported by the commands that need them, so that `--help` answers
at once.
"""

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from sltoolkit.cli.costs import costs
from sltoolkit.cli.options import Json, Kind, Workers
from sltoolkit.errors import DataError, SLToolkitError, SpecError, ThreatModelError

_USER_ERRORS = (SpecError, DataError, ThreatModelError)


_DEMO_WORKERS = min(2, os.cpu_count() or 1)


class _Sentences(TyperGroup):
    """Turns an error that a user can cause into one sentence and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except SLToolkitError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(2 if isinstance(error, _USER_ERRORS) else 1) from None
        except KeyboardInterrupt:
            typer.echo(
                "interrupted: what was finished is kept; run the same command to go on", err=True
            )
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Sentences,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Measure what split learning leaks, and what defending it costs.\n\n"
    "Start with `sltoolkit demo`; then write an experiment of your own and run "
    "`sltoolkit bench`.",
)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("runs/demo"),
    workers: Workers = _DEMO_WORKERS,
) -> None:
    """Train, defend and attack on embedded photographs: a table and figures in minutes.

    Example: sltoolkit demo --out runs/demo
    """
    from importlib.resources import as_file, files

    with as_file(files("sltoolkit.bench") / "demo.toml") as spec:
        _exit(_run(spec, out, workers))


@app.command()
def bench(
    spec: Annotated[Path, typer.Argument(help="The experiment, a TOML file.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the results; a run in it is continued.  [default: runs/NAME]"
        ),
    ] = None,
    workers: Workers = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the experiment; show what it would run.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run cells again that failed before.")
    ] = False,
    scale: Annotated[
        Literal["small", "paper"],
        typer.Option(help="For a reproduction: in minutes, or as published."),
    ] = "small",
    record: Annotated[
        bool, typer.Option("--record", help="For a reproduction: write its RESULTS.md anew.")
    ] = False,
) -> None:
    """Run an experiment: every defense against every attack, over several victims.

    You can interrupt it at any time; the same command then runs only what is missing. For a
    reproduction of a published result, it also prints published and measured values side by side.

    Example: sltoolkit bench experiment.toml --out runs/mine --workers 2

    Example: sltoolkit bench reproductions/he_whitebox.toml --scale small
    """
    from sltoolkit.bench.reproduction import is_reproduction, load_reproduction
    from sltoolkit.cli.show import show_plan

    reproduction = load_reproduction(spec, scale) if is_reproduction(spec) else None
    if reproduction is None and record:
        raise SpecError(f"{spec} reproduces nothing (no [reproduction]): leave out --record")
    source = spec if reproduction is None else reproduction.experiment
    name = spec.stem if reproduction is None else f"{spec.stem}-{scale}"
    folder = out or Path("runs") / name
    if dry_run:
        show_plan(source, folder)
        return
    failed = _run(source, folder, workers, retry_failed)
    if reproduction is not None:
        from sltoolkit.cli.show import show_findings

        show_findings(reproduction, folder, spec.parent if record else None)
    _exit(failed)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished experiment.")],
    figures: Annotated[
        bool, typer.Option("--figures", help="Also draw figures for a paper, as PDF and PNG.")
    ] = False,
    accuracy_budget: Annotated[
        float | None,
        typer.Option(
            help="How much accuracy a defense may lose, 0.03 for 3 points; by default the spec's."
        ),
    ] = None,
) -> None:
    """Rebuild table, figures and report of an experiment, without training.

    With --figures, it also draws grids of reconstructions, and curves of quality over the cut, the
    attacker's samples, the training and the attack's steps, where the experiment varied them.

    Example: sltoolkit report runs/mine --figures
    """
    if not (folder / "spec.json").is_file():
        raise SpecError(
            f"{folder} holds no experiment (no spec.json); `sltoolkit bench SPEC --out {folder}` "
            "makes one"
        )
    from sltoolkit.bench.run import write_report
    from sltoolkit.cli.show import show_finished

    failed = show_finished(write_report(folder, accuracy_budget))
    if figures:
        from sltoolkit.bench.figures import write_figures

        for path in write_figures(folder):
            typer.echo(path)
    _exit(failed)


@app.command("list")
def list_(
    kind: Annotated[Kind, typer.Argument(help="What to list.", show_choices=True)],
    as_json: Json = False,
) -> None:
    """List attacks, defenses, protocols, models, data or metrics.

    Example: sltoolkit list attacks
    """
    from sltoolkit.cli.catalog import entries
    from sltoolkit.cli.show import show_entries

    found = entries(kind)
    _json(found) if as_json else show_entries(kind, found)


@app.command()
def describe(
    name: Annotated[
        str,
        typer.Argument(help="Name of an attack, defense, protocol, model, data set or metric."),
    ],
    as_json: Json = False,
    figure: Annotated[
        Path | None, typer.Option(help="Draw a protocol's message flow to this file, such as a PNG")
    ] = None,
) -> None:
    """Describe an attack, a defense, ...: what it is, its source, parameters and needs.

    For a protocol, also show what each seat holds, and which messages are sent.

    Example: sltoolkit describe whitebox
    """
    from sltoolkit.cli.catalog import describe as described
    from sltoolkit.cli.flow import draw_flow, flow_record, show_flow
    from sltoolkit.cli.show import show_record

    record = described(name)
    speaks = record["kind"] == "protocols"
    if figure is not None:
        draw_flow(name, figure)
    if as_json:
        _json(record | flow_record(name) if speaks else record)
        return
    show_record(record)
    if speaks:
        show_flow(name)


@app.command()
def cuts(
    model: Annotated[str, typer.Argument(help="A model's name; see `sltoolkit list models`.")],
    data: Annotated[str, typer.Option(help="A data set's name, or an .npz file.")] = "photos",
    as_json: Json = False,
) -> None:
    """Show where a model can be cut: what crosses the cut, and the client's share of the work.

    Example: sltoolkit cuts lenet --data photos
    """
    from sltoolkit.cli.show import cut_records, show_table

    found = cut_records(model, data)
    _json(found) if as_json else show_table(f"{model} on {data}", found)


app.command()(costs)


@app.command()
def data(
    name: Annotated[str | None, typer.Argument(help="A data set; by default all of them.")] = None,
    as_json: Json = False,
) -> None:
    """Show data sets, their sizes, and the folder where their files are looked for.

    Set SLTOOLKIT_DATA to the folder that holds your files.

    Example: sltoolkit data mnist
    """
    from sltoolkit.cli.catalog import entries
    from sltoolkit.cli.show import show_entries, show_record
    from sltoolkit.data.registry import describe as described

    if name is None:
        found = entries("data")
        _json(found) if as_json else show_entries("data", found)
    else:
        record = described(name)
        _json(record) if as_json else show_record(record)


def main() -> None:
    """The `sltoolkit` command."""
    app()


def _run(source: Any, out: Path, workers: int, retry_failed: bool = False) -> int:
    """Run an experiment and show its results; returns how many cells failed."""
    from sltoolkit.bench.run import run_bench
    from sltoolkit.cli.show import progress_bar, show_finished, show_plan

    show_plan(source, out)
    with progress_bar() as progress:
        finished = run_bench(
            source, out, workers=workers, retry_failed=retry_failed, progress=progress
        )
    return show_finished(finished)


def _exit(failed: int) -> None:
    if failed:
        plural = "" if failed == 1 else "s"
        typer.echo(f"{failed} cell{plural} failed; the report says why", err=True)
        raise typer.Exit(1)


def _json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, default=str))
