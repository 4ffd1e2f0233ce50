"""Simulated gains whose true means are known, for tests of intervals.

An attack's gain on a target = its true mean + an effect of the victim's seed (shared in part by all
attacks on that victim) + noise of the target.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
WORLDS = 2000
TARGETS = 16
SEED_SD, TARGET_SD = 1.0, 1.0


def at_least(nominal: float, worlds: int = WORLDS) -> float:
    """The coverage that an exact interval undercuts with probability 0.001."""
    return float(stats.binom.ppf(0.001, worlds, nominal)) / worlds


def gains(means: list[float], seeds: int, worlds: int = WORLDS) -> Array:
    """(worlds, attacks, seeds, targets)."""
    rng = np.random.default_rng(seeds)
    victim = rng.normal(0, SEED_SD * 0.8, (worlds, 1, seeds, 1))
    attack = rng.normal(0, SEED_SD * 0.6, (worlds, len(means), seeds, 1))
    noise = rng.normal(0, TARGET_SD, (worlds, len(means), seeds, TARGETS))
    return np.asarray(means)[None, :, None, None] + victim + attack + noise


def by_attack(world: Array) -> dict[str, list[float]]:
    """Seed means of one world."""
    return {f"attack {i}": row.mean(-1).tolist() for i, row in enumerate(world)}


def covers(low: float, high: float, truth: float) -> bool:
    return low <= truth <= high
