"""Any map-style data set: read like a file, and refused with a helpful sentence."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.images import LABELS, NCHW, NHWC, PIXELS
from torch.utils.data import TensorDataset

from sltoolkit.data.dataset import from_dataset
from sltoolkit.errors import DataError


@pytest.mark.parametrize(
    "inputs",
    [
        list(torch.from_numpy(NCHW)),
        list(PIXELS),
        list(PIXELS.double()),
        list(NHWC),
        list(NCHW / 255),
        [Image.fromarray(image) for image in NHWC],
    ],
    ids=["tensors", "floats", "doubles", "HWC", "CHW", "pictures"],
)
@pytest.mark.parametrize("label", [int, np.int64, torch.tensor], ids=["int", "numpy", "tensor"])
def test_kinds_of_samples_give_the_same_pool(inputs: list[Any], label: Any) -> None:
    samples = [(x, label(int(y)), "ignored") for x, y in zip(inputs, LABELS, strict=True)]

    pool = from_dataset(samples, name="mine", classes=("a", "b", "c"))

    assert torch.allclose(pool.samples.x, PIXELS, rtol=0, atol=1e-7)
    assert pool.samples.y.tolist() == LABELS.tolist()
    assert (pool.name, pool.classes) == ("mine", ("a", "b", "c"))


def test_a_tensor_dataset_of_features_keeps_its_groups() -> None:
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    groups = torch.tensor([0, 0, 1, 1, 2, 2])

    pool = from_dataset(TensorDataset(x, torch.from_numpy(LABELS)), groups=groups)

    assert pool.samples.x.equal(x)
    assert pool.samples.groups.equal(groups)


def test_gray_pictures_get_a_channel() -> None:
    pool = from_dataset([(Image.fromarray(image), 0) for image in NCHW[:, 0]])

    assert pool.samples.x.equal(PIXELS[:, :1])


ODD_SAMPLES: dict[str, tuple[Any, str]] = {
    "other size": ((NHWC[0, 1:], 0), r"is \(4, 7, 3\) uint8, sample 0 is \(5, 7, 3\) uint8"),
    "other type": ((NHWC[0] / 255, 0), r"is \(5, 7, 3\) float64, sample 0 is .* uint8"),
    "no pair": (NHWC[0], r"is a ndarray, expected a pair"),
    "no label": ((NHWC[0],), r"is a tuple, expected a pair"),
    "label with a fraction": ((NHWC[0], 0.5), "has the label 0.5, expected an integer"),
    "two labels": ((NHWC[0], np.array([0, 1])), "has the label .*, expected an integer"),
    "text": (("picture.png", 0), "has an x of type str, expected a tensor"),
    "palette": ((Image.new("P", (7, 5)), 0), r"is a picture of mode P, .*convert\('RGB'\)"),
}


@pytest.mark.parametrize("case", ODD_SAMPLES)
def test_an_odd_sample_is_named(case: str) -> None:
    sample, reason = ODD_SAMPLES[case]

    with pytest.raises(DataError, match=f"mine: sample 2 {reason}"):
        from_dataset([(NHWC[0], 0), (NHWC[1], 1), sample, (NHWC[2], 1)], name="mine")


def test_an_empty_data_set_is_refused() -> None:
    with pytest.raises(DataError, match="mine: the data set is empty"):
        from_dataset([], name="mine")


def test_a_data_set_of_ambiguous_layout_is_refused() -> None:
    with pytest.raises(DataError, match=r"mine: .*both of the places.*\(C, H, W\)"):
        from_dataset([(np.zeros((3, 8, 3), np.uint8), 0)], name="mine")


def test_normalized_pixels_are_refused() -> None:
    with pytest.raises(DataError, match=r"mine: .*expected \[0, 1\].*undo the normalization"):
        from_dataset([(PIXELS[0] - 0.5, 0)], name="mine")
