"""DLG: it gives batches and averages away, whatever their shape."""

from typing import Any

import pytest
from dlg_batch import zhu as sigmoid_net
from support.gradient_checks import (
    check_batch_of_sigmoid_network,
    check_inputs_of_shape,
    untrained_on,
)

import sltoolkit as sl

pytestmark = pytest.mark.golden


def test_dlg_finds_two_images_whose_gradients_were_averaged(digits: Any) -> None:
    result = sl.attack(untrained_on(digits, sigmoid_net, 2, batch=2), sl.DLG())
    assert result.verdict.scores["mse"].max() < 1e-3


def test_a_random_sigmoid_network_gives_its_batch_away(digits: Any) -> None:
    check_batch_of_sigmoid_network(sl.DLG(), digits)


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 20), (12,)], ids=str)
def test_images_of_color_signals_and_feature_vectors(shape: tuple[int, ...]) -> None:
    check_inputs_of_shape(sl.DLG(), shape)
