"""Which images count as near-duplicates, at any brightness, contrast, texture and size."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sltoolkit.data.likeness import families
from sltoolkit.data.registry import pool
from sltoolkit.data.samples import Samples
from sltoolkit.errors import SpecError


def _samples(x: Tensor, groups: Tensor | None = None) -> Samples:
    n = torch.arange(len(x))
    return Samples(x=x, y=n % 2, ids=n, groups=n if groups is None else groups)


def _digits() -> Tensor:
    return pool("digits").samples.x[:300]


def _textures(side: int) -> Tensor:
    return torch.rand(60, 1, side, side, generator=torch.Generator().manual_seed(0))


def _lit(x: Tensor) -> Tensor:
    """The same on one strong slope of light, as in a microscope."""
    return 0.1 * x + torch.linspace(0, 0.9, x.shape[-1])


IMAGES = {
    "digits": _digits,
    "12 of 16 bits": lambda: _digits() * (4095 / 65535),
    "coarse texture": lambda: _textures(16),
    "fine texture": lambda: _textures(160),
    "lit texture": lambda: _lit(_textures(96)),
    "nearly blank": lambda: 0.5 + 1e-3 * _textures(24),
    "colors": lambda: torch.rand(60, 3, 4, 4, generator=torch.Generator().manual_seed(0)),
}


@pytest.mark.parametrize("made", IMAGES.values(), ids=IMAGES)
def test_different_images_are_families_of_their_own(made: object) -> None:
    assert callable(made)
    x = made()
    assert len(families(_samples(x)).unique()) == len(x)


@pytest.mark.parametrize("made", IMAGES.values(), ids=IMAGES)
@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_twins_are_one_family(made: object, noise: float) -> None:
    """Twins with noise of 3 % of the contrast, whatever brightness, contrast and size."""
    assert callable(made)
    x = made()
    contrast = (x - x.mean(0)).flatten(1).std(1).view(-1, 1, 1, 1)
    g = torch.Generator().manual_seed(1)
    twins = x + noise * contrast * torch.randn(x.shape, generator=g)
    found = families(_samples(torch.cat([x, twins])))
    assert torch.equal(found[: len(x)], found[len(x) :])
    assert len(found.unique()) == len(x)


def test_an_image_compressed_again_is_a_twin() -> None:
    x = pool("photos").samples.x[::40]
    x = x[x.flatten(1).std(1) > 0.05]  # compression is no small change of a patch of one color
    bytes_ = [(i.permute(1, 2, 0) * 255).round().byte().numpy() for i in x]
    again = []
    for image in bytes_:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=95)
        again.append(np.asarray(Image.open(file)))
    twins = torch.tensor(np.stack(again)).permute(0, 3, 1, 2).float() / 255
    found = families(_samples(torch.cat([x, twins])))
    assert len(x) > 30
    assert (found[: len(x)] == found[len(x) :]).float().mean() > 0.9


def test_near_duplicates_join_groups_and_chains_are_one_family() -> None:
    x = _textures(12)
    for k in range(1, 15):
        x[k] = 0.97 * x[k - 1] + 0.03 * x[50]
    assert len(families(_samples(x[[0, 14, *range(15, 60)]])).unique()) == 47
    groups = torch.arange(60)
    groups[20] = groups[30] = groups[14]
    found = families(_samples(x, groups))
    assert len(found[[*range(15), 20, 30]].unique()) == 1
    assert len(found.unique()) == 60 - 16


def test_blank_images_are_nobodys_duplicates() -> None:
    assert len(families(_samples(torch.zeros(20, 1, 8, 8))).unique()) == 20


def test_equal_features_are_different_people_and_equal_signals_are_not() -> None:
    x = (torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    assert len(families(_samples(x)).unique()) == 50
    beats = torch.rand(10, 1, 64, generator=torch.Generator().manual_seed(0))
    found = families(_samples(torch.cat([beats, beats, beats + 1e-3])))
    assert torch.equal(found[:10], found[10:20])
    assert len(found.unique()) == 20


def test_a_pool_of_two_images_over_and_over_says_what_helps() -> None:
    g = torch.Generator().manual_seed(0)
    noise = 1e-4 * torch.randn(20_000, 1, 8, 8, generator=g)
    x = torch.rand(2, 1, 8, 8, generator=g)[torch.arange(20_000) % 2] + noise
    with pytest.raises(SpecError, match="duplicates='ignore'"):
        families(_samples(x))
