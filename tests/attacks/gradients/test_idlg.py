"""iDLG: it gives a batch away."""

from typing import Any

import pytest
from support.gradient_checks import check_batch_of_sigmoid_network

import sltoolkit as sl

pytestmark = pytest.mark.golden


def test_a_random_sigmoid_network_gives_its_batch_away(digits: Any) -> None:
    check_batch_of_sigmoid_network(sl.IDLG(), digits)
