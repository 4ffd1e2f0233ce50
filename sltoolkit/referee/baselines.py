"""What an attacker achieves from the prior alone, without hearing the wire.

Leakage is gain over the best of these (METRICS' direction decides what is best). None of them
uses the truth, nor smashed data of the targets.
"""

import copy
from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

from sltoolkit.adversary.nearest import nearest
from sltoolkit.contracts.attack import AnyAttack, Role
from sltoolkit.contracts.knowledge import Release
from sltoolkit.contracts.outcomes import AttributeGuess, LabelGuess, Outcome, Reconstruction
from sltoolkit.data.samples import Samples, Split
from sltoolkit.data.targets import Targets, image_targets
from sltoolkit.metrics import METRICS, Metric, applicable
from sltoolkit.networks.inverse import fit_inverse
from sltoolkit.referee.scoring import attributed, in_best_order, means, score
from sltoolkit.referee.sources import released_targets
from sltoolkit.streams import Stream
from sltoolkit.training.protocol import Protocol
from sltoolkit.training.victim import Victim


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


Baselines = tuple[dict[str, dict[str, float]], dict[str, float]]
"""Metric -> prior-only baseline -> mean score; and metric -> score of the retrieval attack."""


def model_accuracy(
    model: nn.Module, data: Split
) -> tuple[dict[str, Tensor], dict[str, dict[str, float]]]:
    """Whether an attacker's own copy of the whole model is right, per sample that nobody learned.

    A copy of it is judged: it sees the truth, and what it remembers must not reach the attacker.

    Args:
        model: inputs (B, ...) -> logits (B, C).
        data: of the victim; its private holdout is classified.

    Returns:
        The score, (N,), and that of naming the private training data's most frequent class.
    """
    held, (metric,) = data.private_holdout, applicable("model", data.shape)
    judged = copy.deepcopy(model).eval()
    with torch.no_grad(), Stream(0).child("stolen").scope():
        logits = torch.cat([judged(x.clone()) for x in held.x.split(256)])
    return _beside_the_prior(metric, logits, held.y, data)


def guess_accuracy(
    guess: Tensor, y: Tensor, data: Split
) -> tuple[dict[str, Tensor], dict[str, dict[str, float]]]:
    """Whether labels that were guessed on the way are right, per target.

    Args:
        guess: scores (N, C).
        y: the targets' labels, (N,).
        data: of the victim.

    Returns:
        The score, (N,), and that of naming the private training data's most frequent class.
    """
    return _beside_the_prior(METRICS["label_accuracy"], guess, y, data)


def _beside_the_prior(
    metric: Metric, logits: Tensor, y: Tensor, data: Split
) -> tuple[dict[str, Tensor], dict[str, dict[str, float]]]:
    prior = torch.bincount(data.private_train.y.cpu(), minlength=len(data.classes))
    guess = prior_scores(prior / prior.sum(), len(y)).to(y.device)
    baseline = {"class_prior": float(metric.function(guess, y).mean())}
    return {metric.name: metric.function(logits.to(y.device), y).cpu()}, {metric.name: baseline}


def prior_baseline(
    victim: Victim, attack: AnyAttack, outcome: Outcome, truth: Samples
) -> dict[str, dict[str, float]]:
    """What guessing by the frequencies in the private data alone would score."""
    own: Samples = victim.data.private_train
    guessed: type[LabelGuess | AttributeGuess] = LabelGuess
    values = victim.task.classes
    if isinstance(outcome, AttributeGuess):
        own, guessed, values = attributed(attack, own), AttributeGuess, outcome.scores.shape[1]
    prior = torch.bincount(own.y.cpu(), minlength=values)
    guess = guessed(scores=prior_scores(prior / prior.sum(), len(truth)).to(truth.y.device))
    return {metric: {"class_prior": mean} for metric, mean in means(score(guess, truth)).items()}


def prepared_baselines(
    victim: Victim, targets: Targets, sees_labels: bool, hops: int = 0
) -> Baselines:
    """The image baselines of a victim's targets, and the retrieval attack beside them.

    They depend on no attack, so they are computed once and kept in `victim.prepared`.
    """
    key = (targets, sees_labels, hops)
    if key not in victim.baseline_cache:
        truth = image_targets(victim.data, victim.client.samples, targets)
        victim.baseline_cache[key] = _image_baselines(victim, truth, targets, sees_labels, hops)
    found: Baselines = victim.baseline_cache[key]
    return found


def sees_labels(protocol: Protocol, role: Role, grants: Collection[str]) -> bool:
    """Whether an attacker sees the targets' labels: by its seat, or because they are granted."""
    return "labels" in protocol.seats[role].grants | set(grants)


def _image_baselines(
    victim: Victim, truth: Samples, targets: Targets, sees_labels: bool, hops: int
) -> Baselines:
    rng = Stream(0).child("baselines")
    smashed = released_targets(victim, truth, targets.releases, hops)
    release = victim.release(victim.rng.fresh("baselines"), hops=hops)
    labels = truth.y if sees_labels else None
    table: dict[str, dict[str, float]] = {}
    for name, guess in image_baselines(release, smashed, victim.data.aux, labels, rng).items():
        prior = in_best_order(Reconstruction(images=guess()), truth.x, targets.batch)
        for metric, value in means(score(prior, truth)).items():
            table.setdefault(metric, {})[name] = value
    nearest = Reconstruction(images=nearest_aux(release, smashed, victim.data.aux))
    retrieved = in_best_order(nearest, truth.x, targets.batch)
    return table, means(score(retrieved, truth))
