"""Baselines of attacks: they use the prior alone, and never the truth."""

from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
import torch
from support.scripted_attacks import Says, SaysLabels, mean_of_aux
from support.toys import QUICK, TARGETS, network, split
from torch import Tensor, nn

from sltoolkit.api import attack, frozen, train
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.knowledge import Release
from sltoolkit.contracts.outcomes import LabelGuess, Outcome, Reconstruction
from sltoolkit.data.samples import Split
from sltoolkit.data.targets import label_targets
from sltoolkit.protocols import UShaped
from sltoolkit.referee import baselines, scoring
from sltoolkit.referee import judge as referee
from sltoolkit.referee.baselines import image_baselines
from sltoolkit.referee.judge import judge
from sltoolkit.referee.scoring import Scored
from sltoolkit.streams import Stream
from sltoolkit.training.victim import Victim


def test_the_prior_alone_gains_nothing(undefended: Victim) -> None:
    rows = attack(undefended, Says(answer=mean_of_aux)).rows().set_index("metric")
    verdict = judge(undefended, Says(answer=mean_of_aux), seed=0)
    mean = verdict.baselines["mse"]["mean_image"]
    assert rows.loc["mse", "value"] == pytest.approx(mean)
    assert (rows["gain"] <= 1e-6).all()


def test_the_baseline_of_a_row_is_the_best_one_in_its_direction(undefended: Victim) -> None:
    result = attack(undefended, Says(answer=mean_of_aux))
    baselines = result.verdict.baselines
    rows = result.rows().set_index("metric")
    assert rows.loc["mse", "baseline"] == min(baselines["mse"].values())
    assert rows.loc["psnr_db", "baseline"] == max(baselines["psnr_db"].values())
    assert set(baselines["mse"]) == {"mean_image", "random_aux", "shuffled_decoder", "class_mean"}
    assert set(baselines["psnr_db"]) - set(baselines["mse"]) == {
        "best_constant", "best_class_constant"
    }  # fmt: skip


def test_the_class_mean_is_a_baseline_only_where_labels_are_seen() -> None:
    shaped = train(
        network(), split(), cut=["drop", "flatten"], protocol=UShaped(), training=QUICK,
        targets=TARGETS,
    )  # fmt: skip
    hidden = judge(shaped, Says(answer=mean_of_aux), seed=0)
    granted = judge(shaped, Says(answer=mean_of_aux), seed=0, grants=("aux", "release", "labels"))
    assert "class_mean" not in hidden.baselines["mse"]
    assert "class_mean" in granted.baselines["mse"]


def test_label_attacks_are_compared_with_the_class_prior(private_labels: Victim) -> None:
    verdict = judge(
        private_labels, SaysLabels(answer=lambda _: LabelGuess(scores=torch.zeros(12, 3))), seed=0
    )
    known, _ = label_targets(private_labels.client.samples, TARGETS, seed=0)
    prior = private_labels.data.private_train.y.bincount().argmax()
    assert verdict.baselines["leak_auc"] == {"class_prior": 0.5}
    share = (known.y == prior).float().mean()
    assert verdict.baselines["label_accuracy"]["class_prior"] == pytest.approx(float(share))
    assert torch.equal(verdict.truth.ids, known.ids)


class Blind(nn.Module):
    """A client that sends the same smashed data for every input."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.ones(len(x), 4, 8, 8)


def _guesses(data: Split) -> list[Tensor]:
    """All baseline images for a client whose smashed data say nothing."""
    server = nn.Sequential(nn.Flatten(), nn.Linear(256, 3))
    whom = frozen(Blind(), server, data, targets=TARGETS)
    kept: list[Tensor] = []
    honest = scoring.score

    def keep(outcome: Outcome, truth: Any) -> Scored:
        assert isinstance(outcome, Reconstruction)
        kept.append(outcome.images)
        return honest(outcome, truth)

    with mock.patch.object(baselines, "score", keep), mock.patch.object(referee, "score", keep):
        judge(whom, Says(answer=mean_of_aux), seed=0)
    return kept


def test_baselines_do_not_depend_on_the_truth() -> None:
    data = split()
    x = torch.rand(18, 1, 8, 8, generator=Stream(3).torch())
    train_x = torch.rand(48, 1, 8, 8, generator=Stream(4).torch())
    other = replace(
        data, private_holdout=replace(data.private_holdout, x=x),
        private_train=replace(data.private_train, x=train_x),
    )  # fmt: skip
    here, there = _guesses(data), _guesses(other)
    # the attack, four baselines, two constants for each of two metrics, and retrieval
    assert len(here) == 10
    for a, b in zip(here, there, strict=True):
        assert torch.equal(a, b)


@pytest.mark.full_length
def test_the_shuffled_decoder_learns_the_mean_image() -> None:
    data = split(aux=90)
    # smashed data leak everything, and still the decoder must learn nothing but the prior
    identity = Release(lambda x: x)
    found = image_baselines(
        identity,
        data.private_holdout.x[None],
        data.aux,
        None,
        Task(input_shape=(1, 8, 8), smashed_shape=(1, 8, 8), classes=3),
        Stream(0).child("baselines"),
    )
    mean, shuffled = found["mean_image"](), found["shuffled_decoder"]()
    truth = data.private_holdout.x
    errors = [float((guess - truth).square().mean()) for guess in (mean, shuffled)]
    assert errors[1] > 0.8 * errors[0]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_few_aux_samples_still_give_baselines(n: int) -> None:
    data = split(aux=n)
    found = image_baselines(
        Release(lambda x: x.flatten(1)), data.private_holdout.x.flatten(1)[None], data.aux, None,
        Task(input_shape=(1, 8, 8), smashed_shape=(64,), classes=3), Stream(0).child("baselines"),
    )  # fmt: skip
    assert ("shuffled_decoder" in found) == (n == 3)
    assert all(guess().isfinite().all() for guess in found.values())
