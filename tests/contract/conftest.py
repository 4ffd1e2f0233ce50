"""One victim with BatchNorm and dropout for the whole contract suite."""

import pytest
from support.toys import victim as trained

from sltoolkit.defenses import GaussianNoise
from sltoolkit.training.victim import Victim


@pytest.fixture(scope="session")
def victim() -> Victim:
    """Undefended."""
    return trained(norm="batch")


@pytest.fixture(scope="session")
def noisy_victim() -> Victim:
    """Defended by noise."""
    return trained(GaussianNoise(std=0.3), norm="batch")
