"""The front of a privacy/utility trade-off, and the area that it dominates.

Both axes point up: utility, and privacy (for example the error of the worst attack).
"""

import math
from collections.abc import Sequence

from sltoolkit.errors import SpecError

Point = tuple[float, float]
"""A pair (utility, privacy)."""


def pareto_front(points: Sequence[Point]) -> list[bool]:
    """Which points no other point dominates.

    A point dominates another when it is at least as good in both and better in one. Equal points
    don't dominate each other, so both are kept.

    Args:
        points: (utility, privacy) of each.

    Returns:
        A mask in the order of the points.

    Raises:
        SpecError: a number is not finite; a failed cell has no place in a comparison.
    """
    _finite(points)
    return [not any(_dominates(other, p) for other in points) for p in points]


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """The area between the reference and the front (Zitzler and Thiele 1998, in 2-D).

    Normalize both axes by constants that were fixed before the runs.

    Args:
        points: (utility, privacy) of each; what isn't above the reference adds nothing.
        reference: the worst acceptable point, such as (chance accuracy, 0).

    Returns:
        The area, in units of utility times privacy; 0 for no points.

    Raises:
        SpecError: a number is not finite.
    """
    _finite([*points, reference])
    area, best = 0.0, reference[1]
    for utility, privacy in sorted(points, reverse=True):
        if utility > reference[0] and privacy > best:
            area += (utility - reference[0]) * (privacy - best)
            best = privacy
    return area


def _dominates(a: Point, b: Point) -> bool:
    return a[0] >= b[0] and a[1] >= b[1] and a != b


def _finite(points: Sequence[Point]) -> None:
    for point in points:
        if not all(map(math.isfinite, point)):
            raise SpecError(f"a point of the trade-off must be finite, got {point}; leave it out")
