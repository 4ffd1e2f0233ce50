"""The referee's numbers: metrics per target, intervals over victims, the worst case over attacks.

All are pure functions. Only the referee calls those that need the truth.
"""

from sltoolkit.metrics.correlation import distance_correlation, unbiased_distance_correlation
from sltoolkit.metrics.difference import worst_difference
from sltoolkit.metrics.discrepancy import mk_mmd
from sltoolkit.metrics.image import mse, mse_affine, psnr_db, ssim
from sltoolkit.metrics.intervals import (
    Interval,
    WorstCase,
    bootstrap_targets,
    envelope,
    paired_difference,
    surely_below,
    t_interval,
    worst_case,
)
from sltoolkit.metrics.labels import accuracy, advantage, leak_auc
from sltoolkit.metrics.pareto import hypervolume, pareto_front
from sltoolkit.metrics.registry import KINDS, METRICS, Metric, applicable, gain, primary

__all__ = [
    "KINDS",
    "METRICS",
    "Interval",
    "Metric",
    "WorstCase",
    "accuracy",
    "advantage",
    "applicable",
    "bootstrap_targets",
    "distance_correlation",
    "envelope",
    "gain",
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
    "worst_difference",
]
