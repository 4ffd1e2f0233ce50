"""What an attacker achieves from the prior alone, without hearing the wire.

Leakage is gain over the best of these (METRICS' direction decides what is best). None of them
uses the truth, nor smashed data of the targets.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from sltoolkit.data.samples import Samples
from sltoolkit.models.inverse import fit_inverse
from sltoolkit.models.nearest import nearest
from sltoolkit.streams import Stream
from sltoolkit.threat import Release


def mean_image(aux: Samples, n: int) -> Tensor:
    """The mean of the aux images for every target: (n, C, H, W)."""
    return aux.x.mean(0).expand(n, *aux.x.shape[1:]).clone()


def class_mean(aux: Samples, labels: Tensor) -> Tensor:
    """The mean of the aux images of each target's class, (N, C, H, W); needs visible labels."""
    overall = aux.x.mean(0)
    means = {int(c): aux.x[aux.y == c].mean(0) for c in aux.y.unique()}
    return torch.stack([means.get(int(c), overall) for c in labels])


def random_aux(aux: Samples, n: int, labels: Tensor | None, rng: Stream) -> Tensor:
    """A random aux image for every target, of its class where labels are visible."""
    g = rng.torch()
    everything = torch.arange(len(aux))
    rows = []
    for i in range(n):
        same = everything if labels is None else everything[(aux.y == labels[i]).cpu()]
        pool = same if len(same) else everything
        rows.append(pool[torch.randint(len(pool), (1,), generator=g)])
    return aux.x[torch.cat(rows)]


def shuffled_decoder(
    release: Release, smashed: Tensor, aux: Samples, rng: Stream, *, epochs: int = 4
) -> Tensor:
    """A decoder trained on shuffled pairs of smashed data and images, (N, C, H, W).

    It has an attack's capacity but nothing to learn except the prior, so it must collapse to the
    mean image; that it does shows that the decoder pipeline itself leaks nothing.
    """
    z = release(aux.x).mean(0)
    mixed = aux.x[torch.randperm(len(aux), generator=rng.torch()).to(aux.x.device)]
    with rng.scope():
        decoder = fit_inverse(z, mixed, epochs=epochs)
    with torch.no_grad():
        out: Tensor = decoder(smashed.mean(0))
    return out


def nearest_aux(release: Release, smashed: Tensor, aux: Samples) -> Tensor:
    """The aux image whose smashed data is nearest to each target's, (N, C, H, W).

    This is the `retrieval` *attack* with its first distance: it hears the wire, so it is shown
    beside the baselines and never subtracted from an attack's result.
    """
    found, _ = nearest(smashed.mean(0), release.mean(aux.x, repeats=len(smashed)))
    return aux.x[found]


def image_baselines(
    release: Release, smashed: Tensor, aux: Samples, labels: Tensor | None, rng: Stream
) -> dict[str, Callable[[], Tensor]]:
    """All prior-only guesses of the targets' images, by name, computed on demand.

    Args:
        release: the oracle, for the shuffled decoder's inputs only.
        smashed: (R, N, ...), likewise.
        aux: the attacker's samples.
        labels: the targets' labels where the seat sees them, else None.
        rng: randomness of the draws and of the shuffled decoder.
    """
    n = smashed.shape[1]
    found: dict[str, Callable[[], Tensor]] = {
        "mean_image": lambda: mean_image(aux, n),
        "random_aux": lambda: random_aux(aux, n, labels, rng.fresh("random_aux")),
        "shuffled_decoder": lambda: shuffled_decoder(
            release, smashed, aux, rng.fresh("shuffled_decoder")
        ),
    }
    if labels is not None:
        visible = labels
        found["class_mean"] = lambda: class_mean(aux, visible)
    return found


def prior_scores(prior: Tensor, n: int) -> Tensor:
    """The class frequencies as every target's scores: (n, C); its guess is the majority class."""
    return prior.expand(n, -1).clone()
