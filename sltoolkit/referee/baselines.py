"""What an attacker achieves from the prior alone, without hearing the wire.

Leakage is gain over the best of these (METRICS' direction decides what is best). None of them
uses the truth, nor smashed data of the targets.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from sltoolkit.adversary.nearest import nearest
from sltoolkit.contracts.attack import AnyAttack
from sltoolkit.contracts.knowledge import Release
from sltoolkit.contracts.outcomes import AttributeGuess, LabelGuess, Outcome, Reconstruction
from sltoolkit.data.samples import Samples
from sltoolkit.data.targets import Targets
from sltoolkit.metrics import KINDS, METRICS
from sltoolkit.networks.inverse import fit_inverse
from sltoolkit.referee.mount import Mount
from sltoolkit.referee.scoring import score
from sltoolkit.referee.sources import released_targets
from sltoolkit.referee.truth import Truth, asked_about, attributed
from sltoolkit.streams import Stream
from sltoolkit.training.victim import Baselines, Victim


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

    This is the `retrieval` *attack* with its first distance: it hears the wire, so its score is
    shown for comparison and never subtracted from an attack's result.
    """
    found, _ = nearest(smashed.mean(0), release.mean(aux.x, repeats=len(smashed)))
    return aux.x[found]


def image_baselines(
    release: Release, smashed: Tensor, aux: Samples, labels: Tensor | None, rng: Stream
) -> dict[str, Callable[[], Tensor]]:
    """All prior-only guesses of the targets' images, by name, computed on demand.

    Args:
        release: the oracle; only the shuffled decoder's inputs come from it.
        smashed: what the targets released, (R, N, ...); only the shuffled decoder is shown it.
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


def baselines_of(
    victim: Victim, attack: AnyAttack, mount: Mount, targets: Targets, outcome: Outcome,
    truth: Truth,
) -> Baselines:  # fmt: skip
    """What an outcome is compared with: the prior alone, and the retrieval attack.

    Args:
        victim: the victim.
        attack: the attack.
        mount: its seat.
        targets: which targets it was after.
        outcome: what it handed back.
        truth: about the targets.
    """
    if isinstance(outcome, Reconstruction):
        priors, retrieval = image_scores(victim, mount, targets)
    else:
        priors, retrieval = _guess_scores(victim, attack, outcome, truth), {}
    if outcome.model is not None and truth.held_out is not None:
        (metric,) = KINDS["model"]
        priors = priors | _most_frequent_class(victim, metric, truth.held_out.y)
    if outcome.guess is not None:
        priors = priors | _most_frequent_class(victim, "label_accuracy", truth.y)
    return priors, retrieval


def image_scores(victim: Victim, mount: Mount, targets: Targets) -> Baselines:
    """Scores of all prior-only guesses of a victim's targets, and of the retrieval attack.

    They depend on no attack, so they are computed once and kept in `victim.baseline_cache`.
    """
    key = (targets, mount.sees_labels, mount.hops)
    if key not in victim.baseline_cache:
        victim.baseline_cache[key] = _image_scores(victim, mount, targets)
    return victim.baseline_cache[key]


def _image_scores(victim: Victim, mount: Mount, targets: Targets) -> Baselines:
    rng = Stream(0).child("baselines")
    images = asked_about(victim, targets, "reconstruction").records
    truth = Truth(x=images.x, y=images.y, ids=images.ids, batch=targets.batch)
    smashed = released_targets(victim, images, targets.releases, mount.hops)
    release = victim.release(victim.rng.fresh("baselines"), hops=mount.hops)
    labels = images.y if mount.sees_labels else None
    table: dict[str, dict[str, float]] = {}
    for name, guess in image_baselines(release, smashed, victim.data.aux, labels, rng).items():
        for metric, value in score(Reconstruction(images=guess()), truth).means.items():
            table.setdefault(metric, {})[name] = value
    retrieved = Reconstruction(images=nearest_aux(release, smashed, victim.data.aux))
    return table, score(retrieved, truth).means


def _guess_scores(
    victim: Victim, attack: AnyAttack, outcome: Outcome, truth: Truth
) -> dict[str, dict[str, float]]:
    """What guessing by the frequencies in the private data alone would score."""
    own: Samples = victim.data.private_train
    guessed: type[LabelGuess | AttributeGuess] = LabelGuess
    values = victim.task.classes
    if isinstance(outcome, AttributeGuess):
        own, guessed, values = attributed(attack, own), AttributeGuess, outcome.scores.shape[1]
    guess = guessed(
        scores=prior_scores(_frequencies(own.y, values), len(truth.y)).to(truth.y.device)
    )
    return {metric: {"class_prior": mean} for metric, mean in score(guess, truth).means.items()}


def _most_frequent_class(victim: Victim, metric: str, y: Tensor) -> dict[str, dict[str, float]]:
    """What naming the private training data's most frequent class scores for labels y (N,)."""
    frequencies = _frequencies(victim.data.private_train.y, len(victim.data.classes))
    guess = prior_scores(frequencies, len(y)).to(y.device)
    return {metric: {"class_prior": float(METRICS[metric].function(guess, y).mean())}}


def _frequencies(y: Tensor, values: int) -> Tensor:
    counts = torch.bincount(y.cpu(), minlength=values)
    return counts / counts.sum()
