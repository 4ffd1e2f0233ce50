"""Layers whose weights torch derives from other tensors are drawn anew as what they are."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from sltoolkit.models.normed import reset_derived
from sltoolkit.streams import Stream


@pytest.mark.parametrize(
    "make",
    [nn.utils.spectral_norm, parametrizations.spectral_norm],
    ids=["hook", "parametrization"],
)
def test_a_fresh_spectral_norm_is_one(make: Callable[[nn.Module], nn.Module]) -> None:
    torch.manual_seed(0)
    layer = make(nn.Linear(6, 6, bias=False))
    with Stream(1).scope():
        reset_derived(layer)

    weight = layer.eval()(torch.eye(6)).detach()

    assert float(torch.linalg.matrix_norm(weight, 2)) == pytest.approx(1.0, rel=0.1)
