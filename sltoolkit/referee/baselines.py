"""Baselines: what an attacker achieves from the prior alone, without hearing the wire.

An attack's gain is measured from the best baseline; the metric's direction decides which is best.
A baseline learns nothing about the targets except the labels that the attacker's seat sees. (The
shuffled decoder gets their smashed data as input, but it was trained on shuffled pairs.)
"""

from collections.abc import Callable

import torch
from torch import Tensor

from sltoolkit.adversary.inverse_training import (
    FEWEST_SAMPLES,
    HELD_OUT,
    LR,
    Inverse,
    Pairs,
    held_out_inverse,
    steps_for,
)
from sltoolkit.adversary.nearest import nearest
from sltoolkit.contracts.attack import AnyAttack
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.knowledge import Release
from sltoolkit.contracts.outcomes import AttributeGuess, LabelGuess, Outcome, Reconstruction
from sltoolkit.data.samples import Samples
from sltoolkit.data.targets import Targets
from sltoolkit.metrics import KINDS, METRICS, applicable
from sltoolkit.metrics.losses import LOSSES, objectives
from sltoolkit.networks.fitting import BATCH, Fit, decode
from sltoolkit.referee.constants import best_class_constants, best_constant, optimized
from sltoolkit.referee.mount import Mount
from sltoolkit.referee.scoring import score
from sltoolkit.referee.sources import released_targets
from sltoolkit.referee.truth import Truth, asked_about, attributed
from sltoolkit.streams import Stream
from sltoolkit.training.victim import Baselines, Victim

SHUFFLED_PATIENCE = 3
"""A decoder of shuffled pairs stops early: behind the best constant it can only learn by heart."""


def mean_image(aux: Samples, n: int) -> Tensor:
    """The mean of the aux images for every target: (n, C, H, W)."""
    return aux.x.mean(0).expand(n, *aux.x.shape[1:]).clone()


def class_mean(aux: Samples, labels: Tensor) -> Tensor:
    """The mean of the aux images of each target's class, (N, C, H, W).

    Args:
        aux: the attacker's samples.
        labels: the targets' labels (N,), which the seat must see. A class without aux images gets
            the mean of all of them.
    """
    overall = aux.x.mean(0)
    means = {int(c): aux.x[aux.y == c].mean(0) for c in aux.y.unique()}
    return torch.stack([means.get(int(c), overall) for c in labels])


def random_aux(aux: Samples, n: int, labels: Tensor | None, rng: Stream) -> Tensor:
    """A random aux image for every target, (N, C, H, W); of its class if the seat sees labels."""
    g = rng.torch()
    everything = torch.arange(len(aux))
    rows = []
    for i in range(n):
        same = everything if labels is None else everything[(aux.y == labels[i]).cpu()]
        pool = same if len(same) else everything
        rows.append(pool[torch.randint(len(pool), (1,), generator=g)])
    return aux.x[torch.cat(rows)]


def shuffled_decoder(
    release: Release, smashed: Tensor, aux: Samples, labels: Tensor | None, task: Task, rng: Stream
) -> Tensor:
    """A decoder trained on shuffled pairs of smashed data and images, (N, C, H, W).

    It is the decoder attack's network, with its loss and its length, but it has nothing to learn
    except the prior (of each class where labels are seen), so it must collapse to the best constant
    guess. If it does, the decoder pipeline itself leaks nothing.
    """
    shape, n = task.input_shape, len(aux)
    mixed = torch.randperm(n, generator=rng.torch()).to(aux.x.device)
    pairs = Pairs(
        x=aux.x,
        y=None if labels is None else aux.y,
        draw=lambda rows: release.mean(aux.x[mixed[rows]], repeats=len(smashed)),
    )
    with rng.scope():
        network, _ = held_out_inverse(
            lambda: Inverse().network(task, labels=labels is not None, mean=aux.x.mean(0)), pairs,
            how=Fit(steps=steps_for(n, BATCH), lr=LR, loss=LOSSES[objectives(shape)[0]]),
            held_out=HELD_OUT, patience=SHUFFLED_PATIENCE,
        )  # fmt: skip
    return decode(network, smashed.mean(0), labels)


def nearest_aux(release: Release, smashed: Tensor, aux: Samples) -> Tensor:
    """The aux image whose smashed data is nearest to each target's, (N, C, H, W).

    This is the *attack* `retrieval` with its first distance. It hears the wire, so its score is
    shown for comparison and is never subtracted from an attack's score.
    """
    found, _ = nearest(smashed.mean(0), release.mean(aux.x, repeats=len(smashed)))
    return aux.x[found]


def image_baselines(
    release: Release, smashed: Tensor, aux: Samples, labels: Tensor | None, task: Task, rng: Stream
) -> dict[str, Callable[[], Tensor]]:
    """The prior-only guesses of the targets' images: name -> function that computes the guess.

    Args:
        release: queries to the deployed client, which only the shuffled decoder makes.
        smashed: the targets' released smashed data, (R, N, ...), for the shuffled decoder only.
        aux: the attacker's samples.
        labels: the targets' labels (N,) if the seat sees them, else None.
        task: shapes and the number of classes.
        rng: randomness of the draws and of the shuffled decoder.
    """
    n = smashed.shape[1]
    found: dict[str, Callable[[], Tensor]] = {
        "mean_image": lambda: mean_image(aux, n),
        "random_aux": lambda: random_aux(aux, n, labels, rng.fresh("random_aux")),
    }
    if len(aux) >= FEWEST_SAMPLES:
        found["shuffled_decoder"] = lambda: shuffled_decoder(
            release, smashed, aux, labels, task, rng.fresh("shuffled_decoder")
        )
    if labels is not None:
        visible = labels
        found["class_mean"] = lambda: class_mean(aux, visible)
    return found


def constant_guesses(
    aux: Samples, n: int, labels: Tensor | None, task: Task
) -> dict[str, dict[str, Tensor]]:
    """Metric -> name -> the best constant guess by that metric, for the N targets, (N, ...).

    There are guesses for every metric whose best constant guess isn't the mean.

    Args:
        aux: the attacker's samples.
        n: the number of targets.
        labels: the targets' labels (N,) if the seat sees them, else None.
        task: shapes and the number of classes.
    """
    found: dict[str, dict[str, Tensor]] = {}
    for metric in filter(optimized, applicable("reconstruction", task.input_shape)):
        guess = best_constant(aux, metric, bounded=task.bounded)
        found[metric.name] = {"best_constant": guess.expand(n, *guess.shape[1:])}
        if labels is not None:
            means = class_mean(aux, torch.arange(task.classes, device=aux.x.device))
            guesses = best_class_constants(aux, means, metric, bounded=task.bounded)
            found[metric.name]["best_class_constant"] = guesses[labels]
    return found


def prior_scores(prior: Tensor, n: int) -> Tensor:
    """The class frequencies (C,) as the scores of every target, (n, C)."""
    return prior.expand(n, -1).clone()


def baselines_of(
    victim: Victim, attack: AnyAttack, mount: Mount, targets: Targets, outcome: Outcome,
    truth: Truth,
) -> Baselines:  # fmt: skip
    """The scores that an outcome is compared with: of the prior alone, and of retrieval.

    Args:
        victim: the victim.
        attack: the attack.
        mount: the attack's seat.
        targets: how the attack's targets were chosen.
        outcome: what the attack handed back.
        truth: the truth about the targets.
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
    """Scores of all prior-only guesses of a victim's image targets, and of the retrieval attack.

    They don't depend on the attack that is judged, so they are computed once per seat and kept in
    `victim.baseline_cache`.
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
    table: dict[str, dict[str, list[float]]] = {}
    aux, task = victim.data.aux, victim.task_at(mount.hops)
    for name, guess in image_baselines(release, smashed, aux, labels, task, rng).items():
        for metric, scores in score(Reconstruction(images=guess()), truth).listed.items():
            table.setdefault(metric, {})[name] = scores
    for metric, guesses in constant_guesses(aux, len(images), labels, task).items():
        for name, constant in guesses.items():
            table[metric][name] = score(Reconstruction(images=constant), truth).listed[metric]
    retrieved = Reconstruction(images=nearest_aux(release, smashed, aux))
    return table, score(retrieved, truth).means


def _guess_scores(
    victim: Victim, attack: AnyAttack, outcome: Outcome, truth: Truth
) -> dict[str, dict[str, list[float]]]:
    """The scores of guessing by the frequencies in the private data alone."""
    own: Samples = victim.data.private_train
    guessed: type[LabelGuess | AttributeGuess] = LabelGuess
    values = victim.task.classes
    if isinstance(outcome, AttributeGuess):
        own, guessed, values = attributed(attack, own), AttributeGuess, outcome.scores.shape[1]
    guess = guessed(
        scores=prior_scores(_frequencies(own.y, values), len(truth.y)).to(truth.y.device)
    )
    return {metric: {"class_prior": each} for metric, each in score(guess, truth).listed.items()}


def _most_frequent_class(
    victim: Victim, metric: str, y: Tensor
) -> dict[str, dict[str, list[float]]]:
    """The scores, for labels y (N,), of always guessing the private data's most frequent class."""
    frequencies = _frequencies(victim.data.private_train.y, len(victim.data.classes))
    guess = prior_scores(frequencies, len(y)).to(y.device)
    return {metric: {"class_prior": METRICS[metric].function(guess, y).flatten().tolist()}}


def _frequencies(y: Tensor, values: int) -> Tensor:
    counts = torch.bincount(y.cpu(), minlength=values)
    return counts / counts.sum()
