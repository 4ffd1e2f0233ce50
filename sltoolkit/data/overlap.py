"""Rows of equal content in two sets of samples, whatever their ids say."""

from collections import Counter

from torch import Tensor

from sltoolkit.data.samples import Samples

_FEW = 4
"""What a small number of values that occur twice may miss of its mean."""


def copied_rows(own: Samples, *private: Samples) -> int:
    """How many of the attacker's inputs are copies of private ones; 0 if they may be chance.

    An input is a copy if it equals, value by value, an input that occurs once in the private parts.
    Rows that repeat among the private ones (a few binary features, blank images) identify nobody.
    Where rows repeat, a new row equals a single one by chance: among N private rows with D values
    that occur twice, with probability 2 D / N (Good 1953). Copies count from four standard
    deviations beyond that on, those of the estimate included (D is raised by 4 where most rows
    repeat, so that it may be small); where no row repeats, each one counts.

    Args:
        own: the attacker's samples.
        private: the private parts.
    """
    occurrences = Counter(row for part in private for row in row_hashes(part.x))
    copies = sum(occurrences[row] == 1 for row in row_hashes(own.x))
    counts, rows = Counter(occurrences.values()), max(1, occurrences.total())
    twice = counts[2] + (_FEW if 2 * counts[1] < rows else 0)
    ratio = len(own) / rows
    by_chance = 2 * twice * ratio
    return copies if copies > by_chance + 4 * (by_chance * (1 + 4 * ratio)) ** 0.5 else 0


def row_hashes(x: Tensor) -> list[int]:
    """A hash of each row's values; it doesn't depend on dtype, device, strides or signs of zero."""
    values = x.detach().cpu().flatten(1).float().contiguous() + 0.0
    return [hash(row.tobytes()) for row in values.numpy()]
