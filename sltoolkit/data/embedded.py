"""Real data that ship with our dependencies, for the demo and tests, never for claims."""

from collections.abc import Iterator

import numpy as np
import torch
from skimage import data as pictures
from skimage.transform import resize

from sltoolkit.data.pool import Pool, from_arrays
from sltoolkit.streams import Stream

PATCH = 32
TILE = 40
STRIDE = 4
SHORT_SIDE = 240
SHARES = (0.5, 0.15, 0.35)
"""Shares of a photograph's tiles that go to private_train, private_holdout and aux."""

PHOTOGRAPHS = {
    "astronaut": "astronaut", "chelsea": "cat", "coffee": "coffee", "rocket": "rocket",
    "immunohistochemistry": "tissue", "hubble_deep_field": "galaxies",
}  # fmt: skip
"""scikit-image's name of a picture -> the class."""


def digits() -> Pool:
    """1,797 handwritten digits, 1x8x8 (scikit-learn; Alpaydin & Kaynak, UCI 1998)."""
    from sklearn.datasets import (
        load_digits,
    )  # takes a second, which only users of digits should pay

    bunch = load_digits()
    images = (bunch.images[:, None] / 16).astype(np.float32)
    return from_arrays(images, bunch.target, name="digits", classes=list("0123456789"))


def faces() -> Pool:
    """100 faces and 100 non-faces, 1x25x25 (scikit-image's LFW subset); persons are not named."""
    images = pictures.lfw_subset().astype(np.float32)[:, None]
    return from_arrays(
        images.clip(0, 1), np.repeat([1, 0], 100), name="faces", classes=["other", "face"]
    )


def photos() -> Pool:
    """32x32 color patches of six photographs; the class is the photograph (scikit-image).

    A photograph is scaled to a short side of 240 pixels and cut into 40x40 tiles. A tile
    belongs to one part, and a patch lies within one tile, so no pixel of a private patch is in an
    attacker's patch. The tile is the group.
    """
    patches: list[np.ndarray] = []
    labels: list[int] = []
    tiles: list[int] = []  # of each patch
    parts: list[int] = []  # of each tile
    for label, name in enumerate(PHOTOGRAPHS):
        for part, tile in _tiles(_photograph(name), Stream(0).child(name)):
            for patch in _patches(tile):
                patches.append(patch)
                labels.append(label)
                tiles.append(len(parts))
            parts.append(part)
    images = torch.from_numpy(np.stack(patches)).permute(0, 3, 1, 2).contiguous()
    of_patch = np.array(parts)[tiles]
    return from_arrays(
        images, np.array(labels), name="photos", classes=list(PHOTOGRAPHS.values()),
        groups=np.array(tiles),
        parts=of_patch,
    )  # fmt: skip


def _photograph(name: str) -> np.ndarray:
    image = getattr(pictures, name)()
    height, width = image.shape[:2]
    scale = SHORT_SIDE / min(height, width)
    shape = (round(height * scale), round(width * scale))
    small: np.ndarray = resize(image[..., :3], shape, anti_aliasing=True)
    return small.astype(np.float32).clip(0, 1)


def _tiles(image: np.ndarray, rng: Stream) -> Iterator[tuple[int, np.ndarray]]:
    corners = [
        (i, j)
        for i in range(0, image.shape[0] - TILE + 1, TILE)
        for j in range(0, image.shape[1] - TILE + 1, TILE)
    ]
    ends = np.round(np.cumsum(SHARES) * len(corners)).astype(int)
    for place, k in enumerate(rng.numpy().permutation(len(corners))):
        i, j = corners[k]
        yield int(np.searchsorted(ends, place, side="right")), image[i : i + TILE, j : j + TILE]


def _patches(tile: np.ndarray) -> Iterator[np.ndarray]:
    for i in range(0, TILE - PATCH + 1, STRIDE):
        for j in range(0, TILE - PATCH + 1, STRIDE):
            yield tile[i : i + PATCH, j : j + PATCH]
