"""The referee's numbers: metrics per target, intervals over victims, the worst case over attacks.

All are pure functions. Only the referee calls those that need the truth.
"""

from sltoolkit.metrics.correlation import distance_correlation, unbiased_distance_correlation
from sltoolkit.metrics.discrepancy import mk_mmd
from sltoolkit.metrics.image import mse, mse_affine, psnr_db, ssim
from sltoolkit.metrics.intervals import (
    UNBOUNDED,
    Interval,
    Over,
    Range,
    bootstrap_set,
    bootstrap_targets,
    clipped,
    paired_difference,
    surely_below,
    t_interval,
)
from sltoolkit.metrics.labels import accuracy, advantage, leak_auc
from sltoolkit.metrics.pareto import hypervolume, pareto_front
from sltoolkit.metrics.registry import KINDS, METRICS, Metric, applicable, gain, gain_range, primary
from sltoolkit.metrics.worst_case import (
    WorstCase,
    envelope,
    worst_case,
    worst_case_of_network,
    worst_difference,
)

__all__ = [
    "KINDS",
    "METRICS",
    "UNBOUNDED",
    "Interval",
    "Metric",
    "Over",
    "Range",
    "WorstCase",
    "accuracy",
    "advantage",
    "applicable",
    "bootstrap_set",
    "bootstrap_targets",
    "clipped",
    "distance_correlation",
    "envelope",
    "gain",
    "gain_range",
    "hypervolume",
    "leak_auc",
    "mk_mmd",
    "mse",
    "mse_affine",
    "paired_difference",
    "pareto_front",
    "primary",
    "psnr_db",
    "ssim",
    "surely_below",
    "t_interval",
    "unbiased_distance_correlation",
    "worst_case",
    "worst_case_of_network",
    "worst_difference",
]
