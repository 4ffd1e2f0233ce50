"""Near-duplicates: images that show the same thing, whatever their ids say."""

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional

from sltoolkit.data.overlap import row_hashes
from sltoolkit.data.samples import Samples
from sltoolkit.errors import SpecError

SIDE = 8
"""Pixels per side of the gray thumbnails by which near-duplicates are looked for."""

NEAR_THUMBNAIL = 0.07
NEAR = 0.3
"""Near-duplicates differ by less than these fractions of what sets either apart.

Of 2,000 images of CIFAR-10, 96 % are near-duplicates of their JPEG version at 30.5 dB; of the
70,000 different digits of MNIST, 0.1 % have a near-duplicate.
"""

_AXES = 8  # of the tree's points: few, since trees in many dimensions are slow
_MOST_PAIRS = 50_000_000
_CHUNK = 1 << 22  # numbers that are compared at once


def families(samples: Samples) -> Tensor:
    """Number the groups, with near-duplicates joined: (N,) int64, equal within a family.

    Two images are near-duplicates if their difference is small compared with what sets each of them
    apart: its difference from the mean image, and its own contrast. Both are asked of the pixels
    and of gray thumbnails, in which noise and compression fade. Dark images, and fine textures on a
    common background, are therefore as far apart as bright ones; a blank image is nobody's
    duplicate. Near-duplicates of near-duplicates belong to the same family. Signals are duplicates
    only if they are equal, and equal rows of features are different people.

    Raises:
        SpecError: if most images look alike, so that there are too many pairs to compare.
    """
    groups = samples.groups.cpu().numpy()
    one = [np.unique(groups, return_index=True)[1][np.unique(groups, return_inverse=True)[1]]]
    other = [np.arange(len(groups))]
    if samples.x.ndim > 2:
        x = samples.x.detach().cpu().flatten(1)
        first = _first_equal(x)
        kept = np.flatnonzero(first == np.arange(len(first)))
        one, other = [*one, first], [*other, np.arange(len(first))]
        if samples.x.ndim == 4:
            a, b = _near_pairs(samples.x.detach().cpu()[kept])
            one, other = [*one, kept[a]], [*other, kept[b]]
    edges = (np.concatenate(one), np.concatenate(other))
    graph = coo_matrix((np.ones(len(edges[0]), bool), edges), shape=(len(groups),) * 2)
    return torch.from_numpy(connected_components(graph, directed=False)[1]).long()


def _first_equal(x: Tensor) -> np.ndarray:
    """For each row, the place of the first row that equals it; blank rows equal only themselves."""
    place: dict[int, int] = {}
    blank = (x.amax(1) == x.amin(1)).tolist()
    return np.array(
        [
            i if blank[i] else place.setdefault(row, i)
            for i, row in enumerate(row_hashes(x))
        ]
    )  # fmt: skip


def _near_pairs(x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The places of all pairs of near-duplicates among different images."""
    thumbnails = functional.adaptive_avg_pool2d(x.mean(1, keepdim=True), SIDE).flatten(1)
    found = _candidates(thumbnails)
    found = found[_near(thumbnails, found, NEAR_THUMBNAIL)]
    found = found[_near(x.flatten(1), found, NEAR)]
    return found[:, 0], found[:, 1]


def _candidates(thumbnails: Tensor) -> np.ndarray:
    """Pairs (P, 2) whose thumbnails are near in the directions in which thumbnails vary most."""
    centered = thumbnails - thumbnails.mean(0)
    unit = centered / centered.norm(dim=1, keepdim=True).clamp_min(1e-12)
    axes = torch.linalg.eigh(unit.T @ unit).eigenvectors[:, -_AXES:]
    points = (unit @ axes).numpy()
    tree, step = cKDTree(points), 1 + len(points) // 1000
    pairs = step * tree.count_neighbors(cKDTree(points[::step]), NEAR_THUMBNAIL)
    if pairs > _MOST_PAIRS:
        raise SpecError(
            f"about {pairs / len(points):.0f} images look like each of the {len(points)} images, "
            "too many to compare pair by pair: take repeated images out, or pass "
            "duplicates='ignore' if they are different sources"
        )
    found: np.ndarray = tree.query_pairs(NEAR_THUMBNAIL, output_type="ndarray")
    return found


def _near(x: Tensor, pairs: np.ndarray, limit: float) -> np.ndarray:
    """Which pairs of rows differ by less than `limit`, relative to what sets each row apart."""
    rows, places = np.unique(pairs, return_inverse=True)
    own = x[rows]
    apart = (own - x.mean(0)).norm(dim=1).minimum((own - own.mean(1, keepdim=True)).norm(dim=1))
    found = [np.zeros(0, bool)]
    for a, b in (
        p.T for p in torch.from_numpy(places.reshape(-1, 2)).split(1 + _CHUNK // own.shape[1])
    ):
        found.append(((own[a] - own[b]).norm(dim=1) < limit * apart[a].minimum(apart[b])).numpy())
    return np.concatenate(found)
