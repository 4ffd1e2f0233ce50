"""Reproductions: a published result as an experiment, at the paper's scale and at a small one.

A reproduction is a spec with further tables. `[reproduction]` says what is reproduced.
`[scale.NAME]` replaces settings at that scale, and its `changes` say in words what differs from the
paper. `[[scale.NAME.expect]]` says which rows should show which value:

```toml
[reproduction]
id = "A1"
title = "White-box inversion of a CIFAR-10 network"
paper = "He, Zhang and Lee 2019, table 3"

[scale.paper]
changes = ""
seeds = [0, 1, 2, 3, 4]

[[scale.paper.expect]]
what = "ReLU22"
where = { cut = "relu22" }
metric = "psnr_db"
value = 19.47
tolerance = 1.5
source = "paper"
```
"""

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal, final

import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sltoolkit.bench.scales import differences
from sltoolkit.bench.spec import read_toml
from sltoolkit.errors import SpecError, lookup
from sltoolkit.metrics import Interval, t_interval
from sltoolkit.rows.environment import environment

Scale = Literal["small", "paper"]


@final
class Expectation(BaseModel):
    """A number that rows of the experiment should show.

    Attributes:
        what: what the number is about, in words, for the table.
        where: column -> value, which select the rows; `attack.NAME` is a parameter of the attack.
        metric: the metric of these rows; `utility`, or `diagnostics.NAME` for a number that the
            attack itself reports.
        value: the published value, or that of the reference loop.
        tolerance: how far from it the mean over victims may lie.
        source: where the value comes from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: str
    where: dict[str, Any] = {}
    metric: str
    value: float
    tolerance: float
    source: str


@final
class ScaleSpec(BaseModel):
    """What a scale changes and expects; further keys replace those of the experiment.

    Attributes:
        changes: what the scale changes, in words.
        takes: what a run needs besides two CPU cores, some hours and MNIST.
        expect: the numbers that rows should show.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    changes: str
    takes: str = ""
    expect: list[Expectation] = Field(min_length=1)


@final
@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A reproduction at one scale.

    Attributes:
        name: the name of its file.
        id: its short name, such as `A1`.
        title: what is reproduced.
        paper: where it was published.
        scale: the scale.
        changes: what the scale changes, in words; empty if nothing.
        expect: the numbers that rows should show.
        experiment: what to run, as `load_spec` takes it.
    """

    name: str
    id: str
    title: str
    paper: str
    scale: Scale
    changes: str
    expect: Sequence[Expectation]
    experiment: Mapping[str, Any]


@final
@dataclass(frozen=True, kw_only=True)
class Finding:
    """An expectation, and what was measured.

    Attributes:
        what: what the number is about, in words.
        metric: the metric.
        expected: the expectation's value.
        tolerance: its tolerance.
        source: where the value comes from.
        ours: the measured mean over victims, and its interval.
        prior: the score of the best baseline or, for utility, of the best constant guess; None for
            a number that the attack itself reports.
    """

    what: str
    metric: str
    expected: float
    tolerance: float
    source: str
    ours: Interval
    prior: float | None

    @property
    def within(self) -> bool:
        """Whether the mean lies within the tolerance."""
        return abs(self.ours.value - self.expected) <= self.tolerance


def is_reproduction(path: Path) -> bool:
    """Whether a spec file reproduces a published result."""
    return "reproduction" in read_toml(path)


def load_reproduction(path: Path, scale: Scale) -> Reproduction:
    """Read a reproduction at a scale.

    Raises:
        SpecError: if the file is wrong; the message says where.
    """
    raw = read_toml(path)
    about, scales = raw.pop("reproduction", None), raw.pop("scale", {})
    if not isinstance(about, dict) or set(about) != {"id", "title", "paper"}:
        raise SpecError(f"{path}: [reproduction] needs exactly id, title and paper")
    try:
        chosen = ScaleSpec.model_validate(lookup(scales, scale, "scale"))
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(map(str, ("scale", scale, *first["loc"])))
        raise SpecError(f"{path}: {where}: {first['msg']}") from None
    experiment = raw | {"name": f"{path.stem}-{scale}"}
    for key, value in (chosen.model_extra or {}).items():
        merge = isinstance(value, dict) and isinstance(experiment.get(key), dict)
        experiment[key] = experiment[key] | value if merge else value
    return Reproduction(
        name=path.stem, **about, scale=scale, changes=chosen.changes, expect=chosen.expect,
        experiment=experiment,
    )  # fmt: skip


def findings(
    reproduction: Reproduction, rows: pd.DataFrame, cells: Mapping[str, Mapping[str, Any]]
) -> list[Finding]:
    """What the rows show for each expectation.

    Args:
        reproduction: the reproduction with its expectations.
        rows: the long form of the results.
        cells: cell -> its record, for numbers that attacks themselves report.

    Raises:
        SpecError: if no row fits an expectation.
    """
    return [_finding(e, rows, cells) for e in reproduction.expect]


def _finding(e: Expectation, rows: pd.DataFrame, cells: Mapping[str, Mapping[str, Any]]) -> Finding:
    found = rows[rows["status"] == "ok"]
    for column, value in e.where.items():
        found = found[_column(e, found, column) == str(value)]
    kind, _, key = e.metric.partition(".")
    if kind == "utility":
        found = found.assign(value=found["utility"].astype(float), baseline=found["chance"])
    elif kind == "diagnostics":
        numbers = [cells[c]["diagnostics"].get(key) for c in found["cell"]]
        found = found.assign(value=pd.Series(numbers, found.index, dtype=float), baseline=math.nan)
    else:
        found = found[found["metric"] == e.metric]
    if found.empty or found["value"].isna().any():
        raise SpecError(
            f"{e.what}: nothing was measured where {e.where} with {e.metric}; see the failed rows"
        )
    means = found.groupby("victim_seed")[["value", "baseline"]].mean()
    prior = float(means["baseline"].mean())
    return Finding(
        what=e.what, metric=e.metric, expected=e.value, tolerance=e.tolerance, source=e.source,
        ours=t_interval(means["value"].tolist()), prior=None if math.isnan(prior) else prior,
    )  # fmt: skip


def _column(e: Expectation, rows: pd.DataFrame, name: str) -> "pd.Series[str]":
    """A column of the rows, or a parameter of their attacks, as text."""
    head, _, parameter = name.partition(".")
    if head == "attack" and parameter:
        return rows["attack_params"].map(lambda text: str(json.loads(text).get(parameter)))
    if name not in rows:
        raise SpecError(f"{e.what}: rows have no column {name!r}")
    return rows[name].map(str)


def record(
    reproduction: Reproduction, found: Sequence[Finding], rows: pd.DataFrame, day: date,
    folder: Path,
) -> Path:  # fmt: skip
    """Keep the findings next to the specs, and write `RESULTS.md` from all that are kept.

    Args:
        reproduction: what was reproduced.
        found: its findings.
        rows: the rows that the findings are about; they name the versions that made them.
        day: when the last of these rows was made.
        folder: the folder of the specs.
    """
    made = {name: " ".join(sorted(set(rows[name].dropna().map(str)))) for name in environment()}
    facts = {
        "id": reproduction.id, "title": reproduction.title, "paper": reproduction.paper,
        "scale": reproduction.scale, "changes": reproduction.changes,
        "findings": [asdict(f) | {"within": f.within} for f in found],
        "date": day.isoformat(), "hardware": _hardware(), **made,
    }  # fmt: skip
    kept = folder / "results"
    kept.mkdir(exist_ok=True)
    path = kept / f"{reproduction.name}-{reproduction.scale}.json"
    path.write_text(json.dumps(facts, indent=1) + "\n")
    (folder / "RESULTS.md").write_text(results_page(folder))
    return path


def results_page(folder: Path) -> str:
    """The page of all reproductions in a folder: findings at each scale, or that it was not run."""
    lines = [
        "# Reproductions", "",
        "This page is written by `sltoolkit bench reproductions/NAME.toml --scale SCALE --record`:",
        "don't edit it. Expected numbers are from the paper or, at the small scale, from a",
        "reference loop, which is written from the paper's equations. Ours are means over victims",
        "with 95 % t intervals. The prior alone is what an attacker scores without hearing",
        "anything: the best baseline, or a guess of the class. Settings are those of a small scale",
        "that differ from the paper scale's, which are in parentheses.",
        "",
    ]  # fmt: skip
    for path in sorted(folder.glob("*.toml")):
        raw = read_toml(path)
        about = raw["reproduction"]
        lines += [f"## {about['id']}: {about['title']}", "", f"{about['paper']}. `{path.name}`", ""]
        for scale in raw["scale"]:
            lines += [*_section(path, scale, raw["scale"][scale].get("takes", "")), ""]
    return "\n".join(lines)


def _section(spec: Path, scale: Scale, takes: str) -> list[str]:
    path = spec.parent / "results" / f"{spec.stem}-{scale}.json"
    if not path.exists():
        return [f"**{scale}**: not run" + (f"; it takes {takes}" if takes else "")]
    facts = json.loads(path.read_text())
    here, paper = (load_reproduction(spec, s).experiment for s in (scale, "paper"))
    settings = differences(here, paper)
    head = f"**{scale}**, {facts['date']}, {facts['hardware']}, commit {facts['commit'] or '?'}"
    changes = f"Changed: {facts['changes']}" if facts["changes"] else "As in the paper."
    table = [
        "| what | metric | expected | from | ours | within tolerance | prior alone |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for f in facts["findings"]:
        ours = Interval(**f["ours"])
        verdict = "yes" if f["within"] else "**no**"
        table.append(
            f"| {f['what']} | {f['metric']} | {f['expected']:.4g} ± {f['tolerance']:.2g} "
            f"| {f['source']} | {interval_text(ours)} | {verdict} | {number_text(f['prior'])} |"
        )
    otherwise = ["", f"Settings (the paper scale's): `{'; '.join(settings)}`"] if settings else []
    return [head, "", changes, *otherwise, "", *table]


def interval_text(ours: Interval, *, digits: int = 4) -> str:
    """`19.1 [18.7, 19.5]`, or without an interval for a single victim."""
    value, low, high = (f"{x:.{digits}g}" for x in (ours.value, ours.low, ours.high))
    return f"{value} (n=1)" if ours.n < 2 else f"{value} [{low}, {high}]"


def number_text(value: float | None, *, digits: int = 4) -> str:
    """`0.1234`, or an empty text for None."""
    return "" if value is None else f"{value:.{digits}g}"


def _hardware() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cores = os.cpu_count() or 1
    return f"{cores} CPU core{'s' * (cores > 1)} ({platform.machine()})"
