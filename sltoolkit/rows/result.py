"""A judged attack, ready to be shown: rows, a figure, a table over many."""

import math
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any, final

import pandas as pd
import torch

from sltoolkit.contracts.outcomes import Outcome, Reconstruction
from sltoolkit.metrics import METRICS, bootstrap_targets, gain
from sltoolkit.referee.judge import Verdict
from sltoolkit.report.canvas import Figure
from sltoolkit.report.figures import reconstruction_figure
from sltoolkit.report.tables import summary
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """One attack on one victim.

    Attributes:
        facts: the columns that identify it: victim, attack, parameters, seeds.
        verdict: the judged outcome.
    """

    facts: Mapping[str, Any]
    verdict: Verdict

    @property
    def outcome(self) -> Outcome:
        """What the attack handed back."""
        return self.verdict.outcome

    def rows(self) -> pd.DataFrame:
        """Long form: one metric per row, beside its best prior-only baseline."""
        return pd.DataFrame(list(self._rows))

    @cached_property
    def _rows(self) -> tuple[dict[str, Any], ...]:
        return tuple(rows_of_verdict(self.facts, self.verdict))

    def figure(self, count: int = 8) -> Figure:
        """Originals above, reconstructions below.

        Raises:
            TypeError: if the outcome is no reconstruction.
        """
        if not isinstance(self.outcome, Reconstruction):
            raise TypeError(f"{self.facts['attack']} reconstructs nothing to draw; see .rows()")
        images = {"original": self.verdict.truth.x, self.facts["attack"]: self.outcome.images}
        return reconstruction_figure({k: v[:count].cpu() for k, v in images.items()})

    def __repr__(self) -> str:
        """The metrics beside their baselines, in a line."""
        parts = [
            f"{r['metric']} {r['value']:.3g} (prior alone {r['baseline']:.3g})" for r in self._rows
        ]
        return f"{self._headline}: " + ", ".join(parts)

    def _repr_html_(self) -> str:
        """The metrics beside their baselines, as a notebook shows them."""
        shown = [
            {
                "metric": r["metric"],
                "value": f"{r['value']:.3g}",
                "95% over targets": _range(r["ci_low"], r["ci_high"]),
                "prior alone": f"{r['baseline']:.3g} ({r['baseline_name']})",
                "gain": f"{r['gain']:+.3g}",
            }
            for r in self._rows
        ]
        role, n = self.verdict.role, len(self.verdict.truth.ids)
        knows = ", ".join(self.verdict.knowledge)
        return (
            f"<b>{escape(self._headline)}</b>"
            f"<br>{n} targets; the {escape(role)} knows {escape(knows)}"
            + str(pd.DataFrame(shown).to_html(index=False, border=0))
        )

    @property
    def _headline(self) -> str:
        f = self.facts
        return f"{f['attack']} on {f['dataset']}/{f['model']}@{f['cut']}, defense {f['defense']}"


def _range(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"{low:.3g} to {high:.3g}"


def rows_of_verdict(facts: Mapping[str, Any], verdict: Verdict) -> list[dict[str, Any]]:
    """The rows of one judged attack."""
    return [
        {
            **facts,
            "role": verdict.role,
            "knowledge": "+".join(verdict.knowledge),
            "tuned": ",".join(f"{k}={v}" for k, v in sorted(verdict.outcome.tuned.items())),
            **_numbers(metric, verdict),
            "releases": verdict.releases,
            "seconds": verdict.seconds,
            "peak_mb": verdict.peak_mb,
            **environment(),
        }
        for metric in verdict.scores
    ]


def _numbers(metric: str, verdict: Verdict) -> dict[str, Any]:
    values, facts = verdict.scores[metric], METRICS[metric]
    value = float(values.float().mean())
    priors = verdict.baselines[metric]
    best = max if facts.higher_is_more_leak else min
    name = best(priors, key=lambda k: priors[k])
    low = high = math.nan
    judged = len(verdict.truth.ids)
    if values.ndim == 1:
        judged = len(values)
        interval = bootstrap_targets(values.float(), Stream(0).fresh("bootstrap").numpy())
        low, high = interval.low, interval.high
    return {
        "metric": metric,
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "n": judged,
        "baseline": priors[name],
        "baseline_name": name,
        "gain": gain(facts, value, priors[name]),
        "retrieval": verdict.retrieval_score.get(metric, math.nan),
    }


@cache
def environment() -> dict[str, str]:
    """Versions that a number depends on; the commit where the package runs from a checkout."""
    return {
        "sltoolkit": version("sltoolkit"),
        "commit": _commit(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _commit() -> str:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists() or shutil.which("git") is None:
        return ""
    asked = ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def table(results: Sequence[Result]) -> pd.DataFrame:
    """The privacy/accuracy table over many results: one line per defense, with intervals."""
    return summary(pd.concat([r.rows() for r in results], ignore_index=True))
