"""Every protocol by name, for the tests of drawn flows."""

import pytest

from sltoolkit.protocols import PROTOCOLS

EVERY = pytest.mark.parametrize("name", PROTOCOLS)
