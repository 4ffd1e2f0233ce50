"""What reference loops share: a reproduction's victims, scores, and the rule for agreement.

A reference loop is written straight from a paper's equations: plain torch, one target after the
other or a plain training loop, no attack code of the toolkit. It shares the networks and the
victims with the toolkit's attack.
"""

from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from sltoolkit import api
from sltoolkit.bench.plan import plan_of
from sltoolkit.bench.recipes import arguments, typed_recipe
from sltoolkit.bench.reproduction import load_reproduction
from sltoolkit.bench.spec import load_spec
from sltoolkit.data.targets import image_targets
from sltoolkit.parties.settings import Training
from sltoolkit.rows.build import recipe_columns
from sltoolkit.training.victim import Victim

FOLDER = Path(__file__).parents[3] / "reproductions"

Found = dict[tuple[str, str], list[float]]
"""The `what` and the metric of an expectation -> one number per victim."""

LEAST = 0.02
"""The share of a value by which two loops may differ even if the victims hardly differ."""


def victims(name: str, *, trained: bool = True) -> Iterator[tuple[dict[str, Any], Victim]]:
    """The victims of a reproduction's small scale, each with what identifies it.

    Args:
        name: the reproduction's name.
        trained: whether the victims are trained; False gives them before their training.
    """
    spec = load_spec(load_reproduction(FOLDER / f"{name}.toml", "small").experiment)
    for planned in plan_of(spec).victims.values():
        given = arguments(planned.recipe)
        told = {"swept": planned.swept, "training": given["training"]}
        facts = {**recipe_columns(typed_recipe(planned.recipe)), **told}
        if not trained:
            given["training"] = Training(epochs=0)
        yield facts, api.train(**given)


def targets_of(victim: Victim) -> tuple[Tensor, Tensor]:
    """The targets (N, ...) and their labels (N,)."""
    held, seed = victim.data.private_train, victim.recipe.seed
    found = image_targets(victim.data, held, victim.targets, seed=seed)
    return found.x, found.y


def smashed(victim: Victim, x: Tensor) -> Tensor:
    """What the victim's client sends for inputs (N, ...)."""
    with torch.no_grad():
        z: Tensor = victim.client.client(x)
    return z


def scores(guess: Tensor, truth: Tensor) -> dict[str, float]:
    """Means over images of error, PSNR, SSIM (where it is defined) and affine error."""
    inside = guess.clamp(0, 1).double()
    errors = (inside - truth.double()).square().flatten(1).mean(1)
    found = {"mse": float(errors.mean()), "psnr_db": float((-10 * errors.log10()).mean())}
    found["mse_affine"] = mean(_affine(g, t) for g, t in zip(guess, truth, strict=True))
    if min(truth.shape[2:]) >= 11:
        found["ssim"] = mean(_ssim(g, t) for g, t in zip(inside, truth.double(), strict=True))
    return found


def _ssim(a: Tensor, b: Tensor) -> float:
    value = structural_similarity(
        a.numpy(), b.numpy(), data_range=1.0, channel_axis=0, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False,
    )  # fmt: skip
    return float(value)


def _affine(guess: Tensor, truth: Tensor) -> float:
    """The least mean squared error of a * guess + b, over all a and b."""
    known = torch.stack([guess.flatten().double(), torch.ones(guess.numel()).double()], dim=1)
    fit = torch.linalg.lstsq(known, truth.flatten().double()[:, None]).solution
    return float((known @ fit - truth.flatten().double()[:, None]).square().mean())


def note(found: Found, what: str, measured: dict[str, float], *metrics: str) -> None:
    """Add a victim's numbers to those of the others."""
    for metric in metrics:
        found.setdefault((what, metric), []).append(measured[metric])


def agreement(numbers: list[float]) -> float:
    """How far apart two means over victims may be if both loops do the same except for chance.

    Two standard errors of the difference, from the spread over the reference's victims; at least
    `LEAST` of the mean.
    """
    return max(2 * stdev(numbers) * sqrt(2 / len(numbers)), LEAST * abs(mean(numbers)))
