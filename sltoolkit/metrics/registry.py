"""Which metrics there are, what their numbers mean, and which one is primary.

The kind of an outcome decides which metrics apply and which is primary, so an attack cannot pick
its yardstick.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar, final

from torch import Tensor

from sltoolkit.errors import lookup
from sltoolkit.metrics.image import SSIM_MIN_SIDE, mse, mse_affine, psnr_db, ssim
from sltoolkit.metrics.intervals import Range
from sltoolkit.metrics.labels import accuracy, leak_auc

Number = TypeVar("Number", float, Tensor)


@final
@dataclass(frozen=True, kw_only=True)
class Metric:
    """A function of (what was recovered, the truth), and what its number means.

    Attributes:
        name: its key in `METRICS`.
        function: returns (n,), one number per target, or () when `per_target` is false; the
            mean over targets is `.mean()` of either.
        unit: "1" for pure numbers, "dB", ...
        higher_is_more_leak: the direction.
        lower_bound: the smallest possible number.
        upper_bound: the largest possible number.
        per_target: whether the function gives one number per target.
        in_range: whether images are clamped to [0, 1] before it sees them.
        min_side: the shortest side, in pixels, for which it is defined; 1 admits signals, and 0
            any shape, features included.
    """

    name: str
    function: Callable[[Tensor, Tensor], Tensor]
    unit: str = "1"
    higher_is_more_leak: bool = True
    lower_bound: float = 0.0
    upper_bound: float = 1.0
    per_target: bool = True
    in_range: bool = True
    min_side: int = 0


_ALL = (
    Metric(name="mse", function=mse, higher_is_more_leak=False),
    Metric(
        name="mse_affine", function=mse_affine, higher_is_more_leak=False, upper_bound=0.25,
        in_range=False,
    ),
    Metric(name="psnr_db", function=psnr_db, unit="dB", upper_bound=100.0, min_side=1),
    Metric(name="ssim", function=ssim, lower_bound=-1.0, min_side=SSIM_MIN_SIDE),
    Metric(name="label_accuracy", function=accuracy),
    Metric(name="leak_auc", function=leak_auc, per_target=False),
    Metric(name="attribute_accuracy", function=accuracy),
    Metric(name="attribute_auc", function=leak_auc, per_target=False),
    Metric(name="model_accuracy", function=accuracy),
)  # fmt: skip

METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}

KINDS: Mapping[str, tuple[str, ...]] = {
    "reconstruction": ("ssim", "mse", "psnr_db", "mse_affine"),
    "labels": ("leak_auc", "label_accuracy"),
    "attribute": ("attribute_auc", "attribute_accuracy"),
    "model": ("model_accuracy",),
}
"""Kind of outcome -> names of its metrics; the first that applies is the primary one."""


def applicable(kind: str, shape: tuple[int, ...]) -> tuple[Metric, ...]:
    """The metrics of a kind of outcome that are defined for targets of a shape, primary first.

    Args:
        kind: a key of `KINDS`.
        shape: the shape of one input, without the batch: (c, h, w) for images, (c, l) for
            signals, (d,) for features.

    Raises:
        SpecError: there is no such kind.
    """
    side = min(shape[1:]) if len(shape) == 3 else len(shape) - 1
    names = KINDS[kind] if kind in KINDS else lookup(KINDS, kind, "kind of outcome")
    return tuple(METRICS[name] for name in names if METRICS[name].min_side <= side)


def primary(kind: str, shape: tuple[int, ...]) -> Metric:
    """The primary metric of a kind of outcome, such as SSIM or leak AUC.

    Raises:
        SpecError: there is no such kind.
    """
    return applicable(kind, shape)[0]


def gain(metric: Metric, value: Number, baseline: Number) -> Number:
    """What an attack leaks beyond a baseline, in the metric's unit; positive is more leak.

    Args:
        metric: gives the direction.
        value: the attack's value, a mean or one number per target.
        baseline: the value of a baseline without the release, in the same form.
    """
    return value - baseline if metric.higher_is_more_leak else baseline - value


def gain_range(metric: Metric, baseline: Range) -> Range:
    """The smallest and the largest gain that the metric's bounds allow beyond a baseline.

    Args:
        metric: gives bounds and direction.
        baseline: the range in which the baseline's mean lies, such as its confidence interval.
    """
    low, high = baseline
    if metric.higher_is_more_leak:
        return metric.lower_bound - high, metric.upper_bound - low
    return low - metric.upper_bound, high - metric.lower_bound
