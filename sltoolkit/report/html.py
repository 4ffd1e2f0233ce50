"""The report: one self-contained HTML page, and the files around it."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from matplotlib.figure import Figure
from torch import Tensor

from sltoolkit.errors import StoreError
from sltoolkit.report.against_undefended import ACCURACY_BUDGET
from sltoolkit.report.comparisons import comparisons, formatted_comparisons
from sltoolkit.report.figures import reconstruction_figure, tradeoff_figure
from sltoolkit.report.formats import METRIC_NAMES, formatted, number, records, setting_text, spread
from sltoolkit.report.sentence import sentence
from sltoolkit.report.tables import FAMILIES, details, failures, summary
from sltoolkit.rows.columns import SETTING, VERSIONS, heading


def write_all(
    folder: Path, rows: pd.DataFrame, images: Mapping[str, Tensor], demonstration: bool,
    accuracy_budget: float = ACCURACY_BUDGET,
) -> pd.DataFrame:  # fmt: skip
    """Write `results.csv`, `table.csv`, `comparisons.csv`, what can be drawn, and `report.html`.

    Args:
        folder: the folder of these files; it is made if it is missing.
        rows: the long form of the results.
        images: the reconstruction figure's rows, name -> (N, C, H, W); empty for no figure.
        demonstration: whether the report says that its numbers are a demonstration, not for claims.
        accuracy_budget: how much accuracy a defense may lose before it is unusable.

    Returns:
        The summary that was written.

    Raises:
        SpecError: if there are no rows, columns are missing, or the budget is out of range.
        StoreError: if a file can't be written.
    """
    table, figures = summary(rows, accuracy_budget), {}
    if images:
        figures["reconstructions"] = _png(reconstruction_figure(images))
    if table[[f"{family}_gain_low" for family in FAMILIES]].notna().any(axis=None):
        figures["tradeoff"] = _png(tradeoff_figure(table))
    pairs = comparisons(rows)
    page = _page(rows, table, pairs, figures, demonstration)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        rows.to_csv(folder / "results.csv", index=False)
        table.to_csv(folder / "table.csv", index=False)
        pairs.to_csv(folder / "comparisons.csv", index=False)
        for name, png in figures.items():
            (folder / f"{name}.png").write_bytes(png)
        (folder / "report.html").write_text(page, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"the report can't be written to {folder}: {error}") from error
    return table


def write_report(
    folder: Path, rows: pd.DataFrame, images: Mapping[str, Tensor], demonstration: bool = False
) -> Path:
    """Write all that `write_all` writes, and return the path of the page."""
    write_all(folder, rows, images, demonstration)
    return folder / "report.html"


def _page(
    rows: pd.DataFrame, table: pd.DataFrame, pairs: pd.DataFrame, figures: Mapping[str, bytes],
    demonstration: bool,
) -> str:  # fmt: skip
    environment = Environment(
        loader=PackageLoader("sltoolkit", "report"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    failed = failures(rows)
    return environment.get_template("report.html").render(
        title=_title(rows),
        setting=setting_text(table),
        demonstration=demonstration,
        sentence=sentence(table),
        table=_cells(formatted(table)),
        images={k: base64.b64encode(png).decode() for k, png in figures.items()},
        comparisons=_cells(formatted_comparisons(pairs)),
        details=_cells(_details(rows)),
        failures=_cells(_readable(failed)),
        settings=_settings(rows),
        incomplete=bool(table[[f"{f}_incomplete" for f in FAMILIES]].any(axis=None)),
    )


def _title(rows: pd.DataFrame) -> str:
    names = rows["experiment"].dropna().map(str).unique().tolist() if "experiment" in rows else []
    return ", ".join(names) or "What split learning leaks"


def _details(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per defense, attack and metric, as text."""
    frame = details(rows)
    varying = [c for c in SETTING if frame[c].nunique() > 1] if len(frame) else []
    return pd.DataFrame([_detail(line, varying) for line in records(frame)], dtype=object)


def _detail(line: dict[str, Any], varying: list[str]) -> dict[str, str]:
    digits = {"mse": 4, "mse_affine": 4, "psnr_db": 1}.get(line["metric"], 2)
    return {
        **{heading(c): str(line[c]) for c in varying},
        "defense": line["label"],
        "attack": line["variant"],
        "role": line["role"],
        "knows": line["knowledge"].replace("+", ", "),
        "tuned": line["tuned"],
        "metric": METRIC_NAMES.get(line["metric"], line["metric"]),
        "value": number(line["value"], digits=digits),
        "prior alone": f"{number(line['baseline'], digits=digits)} {line['baseline_name']}",
        "gain": spread(line, "gain", signed=True, digits=digits),
        "interval over": line["interval_over"],
        "victims": str(line["seeds"]),
        "seconds": number(line["seconds"], digits=1),
    }


def _readable(failed: pd.DataFrame) -> pd.DataFrame:
    varying = [c for c in SETTING if failed[c].nunique() > 1]
    kept = ("victim_seed", "attacker_seed", "reason")
    columns = {
        **{c: heading(c) for c in varying}, "label": "defense", "variant": "attack",
        **{c: heading(c) for c in kept},
    }  # fmt: skip
    return failed[list(columns)].rename(columns=columns).astype(str)


def _settings(rows: pd.DataFrame) -> dict[str, str]:
    """Every setting, parameter and version in the rows, which the numbers depend on."""
    columns = [*SETTING, "split", "target_set", "checkpoint", "training", "epochs", "n", *VERSIONS]
    found = {c: rows[c].dropna().map(str).unique() for c in columns if c in rows}
    plugins = {
        kind: (rows[kind] + " " + rows[f"{kind}_params"].fillna("")).unique()
        for kind in ("defense", "attack")
    }
    every = {**found, **plugins}.items()
    texts = {heading(name): "\n".join(v for v in values if v) for name, values in every}
    return {k: v for k, v in texts.items() if v}


def _cells(frame: pd.DataFrame) -> dict[str, Any]:
    return {
        "columns": [str(c) for c in frame.columns],
        "rows": [[str(v) for v in line] for line in frame.itertuples(index=False, name=None)],
    }


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="white")
    return buffer.getvalue()
