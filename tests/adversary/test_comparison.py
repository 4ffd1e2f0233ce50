import pytest
import torch

from sltoolkit.adversary.comparison import first_among_equals


@pytest.mark.parametrize("lost", [torch.nan, torch.inf])
def test_one_that_diverged_on_a_sample_is_never_about_as_good(lost: float) -> None:
    assert first_among_equals(torch.tensor([[lost, 1.0], [3.0, 3.0], [2.0, 2.0]])) == 2
    assert first_among_equals(torch.tensor([[lost, 1.0]] * 2)) == 0
