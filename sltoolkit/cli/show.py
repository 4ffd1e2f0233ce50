"""What the commands print: tables, descriptions, progress."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from sltoolkit.bench.reproduction import Reproduction, findings, interval_text, number_text, record
from sltoolkit.bench.run import Finished, Tick, collect, load_plan, stored_plan
from sltoolkit.bench.run import Progress as Report
from sltoolkit.bench.store import Store
from sltoolkit.cli.options import Record
from sltoolkit.data.registry import data_root, pool
from sltoolkit.models import build, profile_cuts
from sltoolkit.report.comparisons import WORST, comparisons, formatted_comparisons
from sltoolkit.report.formats import formatted, setting_text
from sltoolkit.report.sentence import sentence
from sltoolkit.report.tables import failures, summary
from sltoolkit.streams import Stream

_LISTED = {
    "attacks": ("name", "family", "needs", "description"),
    "defenses": ("name", "strength", "description"),
    "protocols": ("name", "parts", "description"),
    "models": ("name", "default_cut", "description"),
    "data": ("name", "default_sizes", "description"),
    "metrics": ("name", "unit", "higher_is_more_leak", "range", "description"),
}


def show_table(title: str, records: Sequence[Record]) -> None:
    """Print records as a table, with a column per key."""
    table = Table(
        title=title,
        title_justify="left",
        header_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for i, key in enumerate(records[0]):
        table.add_column(key.replace("_", " "), overflow="fold", no_wrap=i == 0)
    for line in records:
        table.add_row(*(Text(_text(value)) for value in line.values()))
    Console().print(table)


def show_entries(kind: str, records: Sequence[Record]) -> None:
    """Print the short list of a kind."""
    keys = _LISTED[kind]
    show_table(kind, [{key: record[key] for key in keys} for record in records])
    console = Console()
    if kind == "data":
        console.print(f"Files are looked for in {data_root()} (SLTOOLKIT_DATA).", markup=False)
    console.print("More on one of them: sltoolkit describe NAME", markup=False)


def show_record(record: Record) -> None:
    """Print the full record of one plug-in."""
    console = Console()
    console.print(Text(str(record["name"]), style="bold"))
    for key, value in record.items():
        if key == "name" or value in ("", [], {}):
            continue
        if isinstance(value, dict):
            console.print(Text(f"\n{key.replace('_', ' ')}", style="bold"))
            for name, inner in value.items():
                text = _parameter_text(inner) if key == "parameters" else _text(inner)
                console.print(Text(f"  {name}: {text}"))
        elif key == "description":
            console.print(Text(f"{value}\n"))
        else:
            console.print(Text(f"{key.replace('_', ' ')}: {_text(value)}"))


def show_finished(finished: Finished) -> int:
    """Print table, files and closing sentence of an experiment; returns how many cells failed."""
    console, table = Console(), summary(finished.rows, finished.accuracy_budget)
    shown, common = _for_terminal(formatted(table))
    notes = shown.pop("note") if "note" in shown else pd.Series("", index=shown.index)
    lines = [[_narrow(str(v)) for v in line] for line in shown.itertuples(index=False)]
    demonstration = " (a demonstration, not for claims)" if finished.demonstration else ""
    title = setting_text(table) + common + demonstration
    heads = [str(name).replace("reconstruction", "input") for name in shown]
    show_table(title, [dict(zip(heads, line, strict=True)) for line in lines])
    for defense, note in zip(shown["defense"], notes, strict=True):
        if note:
            console.print(Text(f"{defense}: {note}"))
    _show_comparisons(finished)
    names = (
        "report.html", "table.csv", "comparisons.csv", "results.csv", "tradeoff.png",
        "reconstructions.png",
    )  # fmt: skip
    for name in names:
        if (finished.folder / name).exists():
            console.print(Text(str(finished.folder / name)), soft_wrap=True)
    broken = failures(finished.rows)
    for name, reason in broken[["variant", "reason"]].drop_duplicates().itertuples(index=False):
        console.print(Text(f"failed: {name}: {reason}"))
    console.print(Text(f"\n{sentence(table)}"))
    return finished.failed


def _show_comparisons(finished: Finished) -> None:
    """Print what each defense changes in the worst case, if there are pairs of victims."""
    pairs = comparisons(finished.rows)
    if pairs.empty or pairs["pairs"].max() < 2:
        return
    shown = formatted_comparisons(pairs[pairs["attack"] == WORST])
    hidden = {"attack", "interval over", "pairs"}
    hidden |= {"metric"} if pairs["metric"].nunique() == 1 else set()  # for 80 columns
    kept = [c for c in shown.columns if c not in hidden]
    lines = [[_narrow(str(v)) for v in line] for line in shown[kept].itertuples(index=False)]
    title = "differences within pairs of victims (worst case over attacks)"
    show_table(title, [dict(zip(kept, line, strict=True)) for line in lines])


def show_plan(spec: Path | Mapping[str, Any], folder: Path) -> None:
    """Print how many victims and attacks an experiment still has to run, and has in all."""
    _, plan = load_plan(spec)
    store = Store(folder) if folder.exists() else None
    victims = sum(store.has_victim(key) for key in plan.victims) if store else 0
    cells = sum(store.has_cell(key) for key in plan.cells) if store else 0
    console = Console()
    console.print(Text(f"{plan.name}: the experiment is valid"))
    console.print(Text(f"victims to train: {len(plan.victims) - victims} of {len(plan.victims)}"))
    console.print(Text(f"attacks to run: {len(plan.cells) - cells} of {len(plan.cells)}"))


def show_findings(reproduction: Reproduction, folder: Path, kept: Path | None) -> None:
    """Print the published values beside those that a finished experiment found.

    Args:
        reproduction: what was run.
        folder: the folder of its results.
        kept: the folder of the specs, in which the findings are recorded; None records nothing.
    """
    plan, store = stored_plan(folder), Store(folder)
    rows = collect(plan, store)
    cells = {str(c): store.cell(str(c)) for c in rows["cell"].unique()}
    found = findings(reproduction, rows, cells)
    lines = [
        {
            "metric": f.metric, "what": f.what,
            "expected": f"{f.expected:.3g} ± {f.tolerance:.2g}",
            "ours": interval_text(f.ours, digits=3), "within": "yes" if f.within else "NO",
            "prior": number_text(f.prior, digits=3),
        }
        for f in found
    ]  # fmt: skip
    console = Console()
    sources = ", ".join(dict.fromkeys(f.source for f in found))
    show_table(f"{reproduction.id}: {reproduction.title} ({reproduction.paper})", lines)
    console.print(Text(f"expected: {sources}; prior: the score without hearing anything"))
    console.print(Text(f"scale {reproduction.scale}: {reproduction.changes or 'as in the paper'}"))
    if kept is not None:
        console.print(
            Text(str(record(reproduction, found, rows, store.day(cells), kept))), soft_wrap=True
        )


def cut_records(model: str, data: str) -> list[Record]:
    """The profile of every cut of a registered model on a data set."""
    whole = pool(data)
    shape = tuple(whole.samples.x.shape[1:])
    with Stream(0).scope():
        module = build(model, shape=shape, classes=len(whole.classes))
    return [
        {
            "cut": facts.at,
            "smashed": "x".join(map(str, facts.shape)),
            "numbers": facts.numbers,
            "parameters": facts.parameters,
            "parameter share": f"{facts.parameter_share:.1%}",
            "FLOPs": facts.flops,
            "FLOP share": f"{facts.flop_share:.1%}",
        }
        for facts in profile_cuts(module, shape)
    ]


@contextmanager
def progress_bar() -> Iterator[Report]:
    """A live progress bar with the time left."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("starting", total=None, left="")

        def show(tick: Tick) -> None:
            left = f"{tick.seconds_left / 60:.0f} min left" if tick.seconds_left > 90 else (
                f"{tick.seconds_left:.0f} s left")  # fmt: skip
            bar.update(
                task, completed=tick.done, total=tick.total, description=tick.what, left=left
            )

        yield show


def _for_terminal(shown: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The columns that fit a terminal, and what all lines have in common as a text."""
    left_out = [
        c for c in map(str, shown) if c.endswith((" attack", "(prior)", "/dB", "victims", " lost"))
    ]
    shown, common = shown.drop(columns=left_out), ""
    if "balanced accuracy" in shown:
        balanced = shown.pop("balanced accuracy").str.partition(" ")[0]
        shown["accuracy"] += " (" + balanced + ")"
        shown = shown.rename(columns={"accuracy": "accuracy (balanced)"})
    if "majority share" in shown and shown["majority share"].nunique() == 1:
        common = f", majority share {shown.pop('majority share').iloc[0]}"
    if "interval over" in shown and shown["interval over"].nunique() == 1:
        common += f", intervals over {shown.pop('interval over').iloc[0]}"
    return shown, common


def _narrow(text: str) -> str:
    """A number above its interval, so that the table fits a terminal of 80 columns."""
    if "(δ" in text:
        return text.replace(" (", "\n(").replace(", ", ",\n")
    return text.replace(" [", "\n[").replace("] (", "]\n(").replace(", ", ",")


def _parameter_text(parameter: Mapping[str, Any]) -> str:
    text = f"{parameter['expected']}; default {parameter['default']}"
    if parameter["grid"]:
        text += f"; rehearsed among {_text(parameter['grid'])}"
    return f"{parameter['meaning']}\n    {text}" if parameter["meaning"] else text


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return str(value)
