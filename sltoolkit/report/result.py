"""The result of an attack as rows and as a figure, and a table over many results."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any, final

import pandas as pd

from sltoolkit.contracts.outcomes import Outcome, Reconstruction
from sltoolkit.referee.judge import Verdict
from sltoolkit.report.against_undefended import ACCURACY_BUDGET
from sltoolkit.report.canvas import Figure
from sltoolkit.report.figures import reconstruction_figure
from sltoolkit.report.tables import summary
from sltoolkit.rows.build import rows_of
from sltoolkit.rows.columns import Row


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """One attack on one victim.

    Attributes:
        identity: the columns that identify it: victim, attack, parameters, seeds.
        verdict: the judged outcome.
    """

    identity: Mapping[str, Any]
    verdict: Verdict

    @property
    def outcome(self) -> Outcome:
        """What the attack handed back."""
        return self.verdict.outcome

    @cached_property
    def records(self) -> tuple[Row, ...]:
        """One row per metric."""
        return rows_of(self.identity, self.verdict)

    def rows(self) -> pd.DataFrame:
        """The long form: one metric per row, with its best prior-only baseline."""
        return pd.DataFrame([vars(row) for row in self.records])

    def figure(self, count: int = 8) -> Figure:
        """Draw originals above their reconstructions.

        Raises:
            TypeError: if the outcome is no reconstruction.
        """
        name = self.identity["attack"]
        if not isinstance(self.outcome, Reconstruction):
            raise TypeError(f"{name} reconstructs nothing to draw; see .rows()")
        images = {"original": self.verdict.truth.x, name: self.outcome.images}
        return reconstruction_figure({k: v[:count].cpu() for k, v in images.items()})

    def __repr__(self) -> str:
        """The metrics and their baselines, in one line."""
        parts = [
            f"{row.metric} {row.value:.3g} (prior alone {row.baseline:.3g})" for row in self.records
        ]
        return f"{self._headline}: " + ", ".join(parts) + self._warning

    def _repr_html_(self) -> str:
        """The metrics and their baselines, as a notebook shows them."""
        shown = [
            {
                "metric": row.metric,
                "value": f"{row.value:.3g}",
                "95% over targets": _range(row.ci_low, row.ci_high),
                "prior alone": f"{row.baseline:.3g} ({row.baseline_name})",
                "gain": f"{row.gain:+.3g}",
                "95% of the gain": _range(row.gain_low, row.gain_high),
            }
            for row in self.records
        ]
        role, n = self.verdict.role, len(self.verdict.truth.ids)
        knows = ", ".join(self.verdict.knowledge)
        return (
            f"<b>{escape(self._headline)}</b>"
            f"<br>{n} targets; the {escape(role)} knows {escape(knows)}{escape(self._warning)}"
            + str(pd.DataFrame(shown).to_html(index=False, border=0))
        )

    @property
    def _warning(self) -> str:
        """What tells of a defense that protects only the records it was trained on."""
        told = [row.metric for row in self.records if row.trained_only]
        if not told:
            return ""
        return (
            "; far less leaks about records that the victim trained on than about others "
            f"({told[0]}), so the defense may protect only the former"
        )

    @property
    def _headline(self) -> str:
        i = self.identity
        return f"{i['attack']} on {i['dataset']}/{i['model']}@{i['cut']}, defense {i['defense']}"


def _range(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"{low:.3g} to {high:.3g}"


def table(results: Sequence[Result], accuracy_budget: float = ACCURACY_BUDGET) -> pd.DataFrame:
    """The privacy/accuracy table over many results: one line per defense, with intervals.

    Args:
        results: from `attack`.
        accuracy_budget: how much accuracy a defense may lose, in the mean over pairs with
            undefended victims of the same seeds, before it is unusable; 0.03 is 3 points.

    Raises:
        SpecError: if there are no results, or the budget isn't a number from 0 to 1.
    """
    rows = [r.rows() for r in results]
    return summary(pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(), accuracy_budget)
