"""Scores: what is refused, and what the truth, noise, labels and stolen models are worth."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from support.scripted_attacks import Says, SaysLabels, mean_of_aux
from support.toys import TARGETS
from torch import Tensor, nn

from sltoolkit.api import attack
from sltoolkit.contracts.outcomes import LabelGuess, MembershipScores, Outcome, Reconstruction
from sltoolkit.data.targets import image_targets, label_targets
from sltoolkit.errors import SpecError
from sltoolkit.referee.judge import judge
from sltoolkit.streams import Stream
from sltoolkit.training.victim import Victim

NAN = float("nan")


def images(*shape: int, fill: float = 0.5) -> Callable[[Any], Outcome]:
    """A constant reconstruction."""
    return lambda _: Reconstruction(images=torch.full(shape, fill))


def truth_of(whom: Victim) -> Tensor:
    """The truth, as only the referee has it."""
    return image_targets(whom.data, whom.client.samples, TARGETS, seed=whom.recipe.seed).x


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (images(5, 1, 8, 8), r"shape \(5, 1, 8, 8\) for targets \(6, 1, 8, 8\)"),
        (images(6, 8, 8), "one row per target"),
        (images(6, 1, 8, 8, fill=NAN), "diverged"),
        (images(6, 1, 8, 8, fill=float("inf")), "diverged"),
        (lambda _: LabelGuess(scores=torch.zeros(5, 3)), r"shape \(5, 3\) for targets"),
        (lambda _: LabelGuess(scores=torch.zeros(12)), "one row per target"),
        (lambda _: LabelGuess(scores=torch.full((12, 3), NAN)), "diverged"),
        (lambda _: MembershipScores(scores=torch.zeros(6)), "no metrics for MembershipScores"),
    ],
)
def test_an_outcome_that_cannot_be_judged_is_refused(
    undefended: Victim, answer: Callable[[Any], Outcome], said: str
) -> None:
    with pytest.raises(SpecError, match=said):
        judge(undefended, Says(answer=answer), seed=0)


def test_pixels_are_clamped_to_their_range(undefended: Victim) -> None:
    wild, tame = (
        judge(undefended, Says(answer=images(6, 1, 8, 8, fill=f)), seed=0) for f in (7.0, 1.0)
    )
    assert torch.equal(wild.scores["mse"], tame.scores["mse"])


def test_the_truth_itself_scores_a_gain_in_every_metric(undefended: Victim) -> None:
    rows = attack(
        undefended, Says(answer=lambda _: Reconstruction(images=truth_of(undefended)))
    ).rows()
    assert (rows["gain"] > 0).all()
    assert rows.set_index("metric").loc["mse", "value"] == 0.0
    assert (
        rows.set_index("metric").loc["mse", "gain"] == rows.set_index("metric").loc["mse"].baseline
    )


def test_noise_scores_a_loss_in_every_metric(undefended: Victim) -> None:
    noise = Stream(0).torch()
    answer = Reconstruction(images=torch.rand(6, 1, 8, 8, generator=noise))
    assert (attack(undefended, Says(answer=lambda _: answer)).rows()["gain"] < 0).all()


def test_guessing_every_label_gains_what_the_prior_leaves(private_labels: Victim) -> None:
    known, _ = label_targets(private_labels.client.samples, TARGETS, seed=0)
    scores = nn.functional.one_hot(known.y, 3).double()
    rows = attack(private_labels, SaysLabels(answer=lambda _: LabelGuess(scores=scores))).rows()
    assert rows.set_index("metric").loc["leak_auc", "gain"] == 0.5
    assert set(rows["target_set"]) == {"private_train"}


def test_a_stolen_model_is_judged_on_the_private_holdout(undefended: Victim) -> None:
    held = undefended.data.private_holdout
    right = nn.functional.one_hot(held.y, 3).float()
    wrong = right.roll(1, dims=1)
    half = torch.cat([right[: len(right) // 2], wrong[len(right) // 2 :]])

    class Stolen(nn.Module):
        """A stolen model that knows the answers, draws random numbers, and remembers its inputs."""

        def __init__(self) -> None:
            super().__init__()
            self.seen: list[Tensor] = []

        def forward(self, x: Tensor) -> Tensor:
            torch.rand(1)
            self.seen.append(x)
            return torch.stack([half[(held.x == each).flatten(1).all(1)][0] for each in x])

    stolen, before = Stolen(), torch.get_rng_state()
    verdict = judge(
        undefended, Says(answer=lambda view: replace(mean_of_aux(view), model=stolen)), seed=0
    )
    assert stolen.seen == []  # a copy was judged, so the attacker learns nothing about the holdout
    assert torch.equal(torch.get_rng_state(), before)
    assert verdict.scores["model_accuracy"].tolist() == [1.0] * 9 + [0.0] * 9
    most = undefended.data.private_train.y.bincount().argmax()
    expected = float((held.y == most).float().mean())
    assert verdict.baselines["model_accuracy"] == {"class_prior": pytest.approx(expected)}


def test_labels_guessed_on_the_way_are_judged_beside(undefended: Victim) -> None:
    def first_class(view: Any) -> Outcome:
        guess = torch.zeros(len(undefended.data.classes))
        guess[0] = 1
        return replace(mean_of_aux(view), guess=guess.expand(view.smashed.shape[1], -1))

    verdict = judge(undefended, Says(answer=first_class), seed=0)
    y = verdict.truth.y
    assert verdict.scores["label_accuracy"].tolist() == (y == 0).double().tolist()
    most = undefended.data.private_train.y.bincount().argmax()
    prior = pytest.approx(float((y == most).float().mean()))
    assert verdict.baselines["label_accuracy"] == {"class_prior": prior}
    assert "ssim" in verdict.scores or "mse" in verdict.scores
