"""Victims for tests that only look."""

import pytest
from support.toys import victim

from sltoolkit.protocols import Vanilla
from sltoolkit.training.victim import Victim


@pytest.fixture(scope="module")
def undefended() -> Victim:
    """One victim for tests that only look."""
    return victim()


@pytest.fixture(scope="module")
def private_labels() -> Victim:
    """A victim whose client does not hold the labels."""
    return victim(protocol=Vanilla(labels_at="server"))
