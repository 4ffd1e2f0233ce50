"""Two victims with BatchNorm and dropout for the whole contract suite."""

import pytest

from sltoolkit.testing.victims import trained, usual
from sltoolkit.training.victim import Victim


@pytest.fixture(scope="session")
def victim() -> Victim:
    """The undefended victim."""
    return trained(usual, defended=False)


@pytest.fixture(scope="session")
def noisy_victim() -> Victim:
    """The victim that is defended by noise."""
    return trained(usual, defended=True)
