"""Models with an unusual forward pass, and cuts in unusual forms."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from support.situations import fault, open_fault, perceptron, refusal_of
from torch import Tensor, nn

import sltoolkit as sl


def _parts_or_refusal(model: nn.Module, cut: Any) -> tuple[nn.Module | None, str]:
    parts: list[nn.Module] = []
    said = refusal_of(lambda: parts.append(nn.Sequential(*sl.cut(model, cut))))
    return (parts[0] if parts else None), said


class _StarArguments(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(64, 8), nn.Linear(8, 2)

    def forward(self, *inputs: Tensor) -> Tensor:
        out: Tensor = self.b(self.a(inputs[0].flatten(1)))
        return out


def test_a_forward_with_star_arguments_is_cut_rightly_or_refused() -> None:
    model, x = _StarArguments().eval(), torch.rand(5, 1, 8, 8)

    parts, refused = _parts_or_refusal(model, "a")

    assert refused or (parts is not None and torch.equal(parts(x), model(x)))


class _WarmsUp(nn.Module):
    n: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.a, self.h = nn.Linear(64, 8), nn.Linear(8, 10)
        self.register_buffer("n", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.n += 1
        out: Tensor = self.h(self.a(x.flatten(1)) * torch.clamp(self.n / 10, max=1.0))
        return out


def test_a_buffer_that_forward_changes_changes_in_the_parts_or_is_refused() -> None:
    model, x = _WarmsUp(), torch.rand(2, 1, 8, 8)
    twin = copy.deepcopy(model)

    parts, refused = _parts_or_refusal(model, "a")

    assert refused or parts is not None
    if parts is not None:
        for _ in range(4):
            torch.testing.assert_close(parts(x), twin(x), rtol=0, atol=0)


def test_cutting_leaves_the_model_as_it_is() -> None:
    model = _WarmsUp()

    _parts_or_refusal(model, "a")

    assert model.n.item() == 0


@pytest.mark.parametrize(
    "cut",
    [
        fault("TypeError: 'numpy.int64' object is not iterable", np.int64(1), id="numpy integer"),
        fault("TypeError from inside", np.array([1]), id="array of one"),
        fault("TypeError: 'float' object is not iterable", 1.0, id="float"),
        fault("TypeError: 'NoneType' object is not iterable", None, id="None"),
    ],
)
def test_a_cut_of_another_type_is_taken_or_refused(cut: Any) -> None:
    model = perceptron()

    parts, refused = _parts_or_refusal(model, cut)

    x = torch.rand(3, 1, 8, 8)
    assert refused or (parts is not None and torch.equal(parts(x), model(x)))


@open_fault("TypeError: a numpy integer is no block")
def test_a_numpy_integer_cuts_as_an_integer_does() -> None:
    model = perceptron()

    assert not refusal_of(lambda: sl.cut(model, np.int64(1)))  # type: ignore[arg-type]


class _ViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 16, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 3)
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        b = x.shape[0]
        x = self.patches(x).flatten(2).transpose(1, 2)
        whole = self.encoder(torch.cat([self.token.expand(b, -1, -1), x], 1))
        out: Tensor = self.head(whole[:, 0])
        return out


def _cuts_or_says(cut: str, word: str) -> bool:
    model, x = _ViT().eval(), torch.rand(3, 1, 8, 8)
    parts, refused = _parts_or_refusal(model, cut)
    if parts is not None:
        torch.testing.assert_close(parts(x), model(x))
        return True
    return word in refused


@open_fault("'calls encoder.layers.0 0 times, not once' explains nothing")
def test_a_cut_inside_a_transformer_encoder_is_made_or_explained() -> None:
    # because torch's encoder is traced as one block, so no cut lies inside it
    assert _cuts_or_says("encoder.layers.0", "TransformerEncoder")


@open_fault("the batch size is 'getitem (computed by getitem)', a value that would cross")
def test_a_batch_size_that_is_read_early_is_no_value_that_crosses() -> None:
    assert _cuts_or_says("patches", "batch size")
