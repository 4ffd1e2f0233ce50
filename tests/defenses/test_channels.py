"""How many channels are pruned."""

import pytest

from sltoolkit.defenses.smashed._channels import pruned_count

pytestmark = pytest.mark.golden


def test_pruned_count_rounds_down_but_not_the_error_of_the_product() -> None:
    assert [pruned_count(r, c) for r, c in [(0.29, 100), (0.65, 8), (0.99, 8), (0.0, 5)]] == [
        29, 5, 7, 0,
    ]  # fmt: skip
