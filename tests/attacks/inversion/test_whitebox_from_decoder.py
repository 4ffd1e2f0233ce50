"""The white box that starts from a decoder's answers and is pulled towards them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.white_box_views import (
    conv_client,
    digits,
    error,
    linear_client,
    orthogonal,
    seeded,
    whitebox_view,
)
from torch import Tensor

import sltoolkit as sl
from sltoolkit.adversary.rehearsal import rehearsed
from sltoolkit.attacks.inversion import whitebox
from sltoolkit.attacks.inversion._decoded import distance
from sltoolkit.attacks.inversion._observation import WhiteBoxView
from sltoolkit.attacks.inversion._query import LabeledQueryView
from sltoolkit.attacks.inversion.decoder import Decoder
from sltoolkit.attacks.inversion.whitebox import WhiteBox
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.errors import SpecError, ThreatModelError
from sltoolkit.metrics.losses import LOSSES
from sltoolkit.streams import Stream

pytestmark = pytest.mark.golden

OWN = digits(100)[40:]
SHORT = WhiteBox(
    start="decoder", pull=0.5, tv_weight=1e-2, tv_beta=1, forward="client", lr=0.1, steps=20,
    decoder_steps=8,
)  # fmt: skip


def images(attack: WhiteBox, view: WhiteBoxView) -> Tensor:
    return attack.run(view, rng=Stream(1)).images


@contextmanager
def answering(answers: Tensor) -> Iterator[None]:
    """Let every decoder answer this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whitebox, "answers", lambda view, decoder: lambda rng: answers)
        yield


def counted(patch: pytest.MonkeyPatch) -> list[Decoder]:
    """Every decoder that is trained from now on."""
    trained: list[Decoder] = []
    run = Decoder.run

    def noting(self: Decoder, view: LabeledQueryView, *, rng: Stream) -> Reconstruction:
        trained.append(self)
        return run(self, view, rng=rng)

    patch.setattr(Decoder, "run", noting)
    return trained


@dataclass(frozen=True)
class Linear:
    """Gaussian inputs x (2000, 16) behind six orthonormal projections W and noise of std s."""

    std: float

    @property
    def x(self) -> Tensor:
        return torch.randn(2000, 16, generator=seeded(1)).double()

    @property
    def weight(self) -> Tensor:
        return orthogonal(6, 16, 2)

    @property
    def z(self) -> Tensor:
        noise = torch.randn(2000, 6, generator=seeded(3)).double()
        return self.x @ self.weight.T + self.std * noise

    def found(self, answers: Tensor, weight: float) -> Tensor:
        """Where the white box ends that starts from these answers, with this weight of the pull."""
        client = linear_client(self.weight)
        view = replace(whitebox_view(client, self.x), smashed=self.z[None])
        attack = WhiteBox(
            start="decoder", pull=weight / (1 + weight), optimizer="sgd", schedule="constant",
            lr=1 / (2 / 6 + 2 * weight / 16), steps=4, window=0,
        )  # fmt: skip
        with answering(answers):
            return images(attack, view)


@pytest.mark.parametrize("weight", [0.0, 0.3, 2.0, 50.0])
def test_the_pull_divides_the_way_between_what_was_heard_and_the_answer(weight: float) -> None:
    case = Linear(std=0.5)
    answers = torch.randn(2000, 16, generator=seeded(4)).double()
    way = (case.z - answers @ case.weight.T) @ case.weight
    expected = answers + way / (1 + weight * 6 / 16)
    assert torch.allclose(case.found(answers, weight), expected, atol=1e-8)


def test_with_the_answers_true_covariance_the_pull_gives_the_best_estimate() -> None:
    # the answer errs by N(0, 0.8^2) and what was heard by N(0, 0.5^2), independently
    case = Linear(std=0.5)
    answers = case.x + 0.8 * torch.randn(2000, 16, generator=seeded(5)).double()
    true = 16 / 6 * 0.5**2 / 0.8**2
    best = error(case.found(answers, true), case.x)
    combined = 1 / (1 / 0.5**2 + 1 / 0.8**2)
    assert best == pytest.approx((6 * combined + 10 * 0.8**2) / 16, rel=0.02)
    others = [error(case.found(answers, true * times), case.x) for times in (0.3, 3.0)]
    assert best < 0.99 * min(others)


def test_of_the_posterior_mean_nothing_pulls_away_but_overfitted_noise() -> None:
    case = Linear(std=1.0)
    mean = case.z @ case.weight / (1 + 1.0**2)
    errors = [error(case.found(mean, weight), case.x) for weight in (0.0, 1.0, 10.0, 1e6)]
    assert errors[0] == pytest.approx((6 * 1.0 + 10) / 16, rel=0.03)  # least squares
    assert errors[-1] == pytest.approx((6 * 0.5 + 10) / 16, rel=0.03)  # the posterior mean
    assert errors == sorted(errors, reverse=True)


def test_a_pull_of_one_hands_the_answer_back_even_where_it_is_out_of_range() -> None:
    x = digits(4)
    answers = 3 * torch.randn(4, 1, 8, 8, generator=seeded(6))
    view = whitebox_view(conv_client(), x)
    with answering(answers):
        outcome = replace(SHORT, pull=1.0).run(view, rng=Stream(1))
        started = images(replace(SHORT, lr=1e-60, steps=1), view)
    assert torch.equal(outcome.images, answers)
    assert outcome.diagnostics["steps"] == 0
    assert torch.equal(started, answers.clamp(0, 1))


@pytest.mark.parametrize("labels", [None, torch.arange(4)], ids=["no labels", "labels"])
def test_the_answer_is_the_decoder_attacks_bit_for_bit(labels: Tensor | None) -> None:
    view = replace(whitebox_view(conv_client(), digits(4), aux=OWN, repeats=2), labels=labels)
    assert view.aux is not None
    assert view.release is not None
    alone = Decoder(steps=8, budget=0).run(
        LabeledQueryView(
            smashed=view.smashed, release=view.release, aux=view.aux, task=view.task, labels=labels
        ),
        rng=Stream(1).child("decoder"),
    )  # fmt: skip
    assert torch.equal(images(replace(SHORT, pull=1.0), view), alone.images)


def test_where_the_loss_is_ssim_the_pull_is_too() -> None:
    def of(*shape: int) -> Any:
        return distance(Task(input_shape=shape, smashed_shape=(4,), classes=2))

    assert of(1, 11, 11) is LOSSES["both"]
    assert of(1, 8, 8) is of(1, 40) is of(12) is LOSSES["mse"]


def test_a_rehearsal_trains_one_decoder_for_all_and_finds_what_each_finds_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained = counted(monkeypatch)
    view = whitebox_view(conv_client(), digits(4), aux=OWN)
    settings = [replace(SHORT, pull=pull) for pull in (0.0, 0.1, 1.0)]
    run = SHORT.settings_on(view)
    together = [run(setting, Stream(3)).images for setting in settings]
    assert len(trained) == 1
    alone = [setting.run(view, rng=Stream(3)).images for setting in settings]
    assert all(map(torch.equal, together, alone))
    trained.clear()
    outcome = rehearsed(replace(SHORT, pull=None, lr=None), view, rng=Stream(0))
    assert set(outcome.tuned) == {"pull", "lr"}
    assert len(trained) == 2  # on own samples, and on the targets
    assert all(decoder.steps == 8 for decoder in trained)


def test_another_stream_trains_another_decoder() -> None:
    view = whitebox_view(conv_client(), digits(4), aux=OWN)
    run = SHORT.settings_on(view)
    settled = replace(SHORT, pull=1.0)
    one, other, again = (run(settled, Stream(seed)).images for seed in (0, 1, 0))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_without_a_pull_from_the_mean_no_decoder_is_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained = counted(monkeypatch)
    view = whitebox_view(conv_client(), digits(4), aux=OWN)
    rehearsed(replace(SHORT, start="mean", pull=0.0, lr=None), view, rng=Stream(0))
    assert WhiteBox(steps=2).candidates(view)[0].start == "mean"
    WhiteBox(steps=2).run(view, rng=Stream(0))
    assert trained == []


def test_who_has_no_queries_or_too_few_samples_does_without_a_decoder() -> None:
    def starts(view: WhiteBoxView) -> set[Any]:
        return {(c.start, c.pull == 0) for c in WhiteBox().candidates(view)}

    x, client = digits(2), conv_client()
    assert starts(whitebox_view(client, x)) == {("mean", True)}
    assert starts(whitebox_view(client, x, aux=OWN[:5])) == {("mean", True)}
    both = {("mean", True), ("decoder", True), ("decoder", False)}
    assert starts(whitebox_view(client, x, aux=OWN[:6])) == both
    rehearsed(WhiteBox.smoke(), whitebox_view(client, x, aux=OWN[:6]), rng=Stream(0))
    with pytest.raises(ThreatModelError, match="no samples: grant aux and release"):
        images(SHORT, whitebox_view(client, x))


def test_a_pull_needs_a_decoder_and_a_decoder_something_that_it_can_draw() -> None:
    with pytest.raises(SpecError, match="use start='decoder' or pull=0"):
        WhiteBox(start="gray", pull=0.5)
    assert WhiteBox(start="gray").pull == 0
    view = whitebox_view(conv_client(), digits(2))
    assert {c.start for c in WhiteBox(pull=0.5).candidates(view)} == {"decoder"}
    volumes = Task(input_shape=(1, 4, 4, 4), smashed_shape=(4,), classes=2)
    assert "volumes" in str(WhiteBox(start="decoder").refuses(volumes))
    assert WhiteBox().refuses(volumes) is None


def test_without_a_decoder_leaves_what_is_given() -> None:
    assert WhiteBox().without_decoder() == WhiteBox(start="mean")
    assert SHORT.without_decoder() == SHORT
    assert WhiteBox(pull=0.5).without_decoder() == WhiteBox(pull=0.5)


def test_the_rehearsal_trusts_the_better_of_the_two() -> None:
    """A bad decoder of a client that hides nothing, and a good one behind much noise."""
    own, targets = torch.randn(48, 12, generator=seeded(8)).split([40, 8])
    client = linear_client(orthogonal(12, 12, 7)).float()

    def chosen(std: float) -> float:
        noise = seeded(0)

        def release(x: Tensor) -> Tensor:
            z: Tensor = client(x)
            return z + std * torch.randn(z.shape, generator=noise)

        view = whitebox_view(client, targets, aux=own, release=release)
        attack = WhiteBox(start="decoder", steps=60, lr=0.1, decoder_steps=100)
        return float(rehearsed(attack, view, rng=Stream(0)).tuned["pull"])

    assert chosen(0.0) < 0.1
    assert chosen(3.0) >= 0.9


@pytest.mark.slow
def test_behind_a_dense_layer_it_beats_the_decoder(shared_data: Path) -> None:
    data = sl.data.load("mnist", train=2000, holdout=100, aux=400, root=shared_data)
    grants = {*sl.STANDARD_GRANTS, "client_weights"}
    attack, gains, ratios = WhiteBox(), [], []
    for seed in range(3):  # the first is the pilot
        victim = sl.train(
            "lenet", data, cut="relu3", seed=seed, training=sl.Training(epochs=3),
            targets=sl.Targets(count=32),
        )  # fmt: skip
        found = sl.attack(victim, attack, grants=grants)
        if seed == 0:
            attack = replace(attack, **dict[str, Any](found.outcome.tuned))
            assert attack.start == "decoder"
            continue
        rival = sl.attack(victim, Decoder(budget=0), grants=grants).verdict.scores
        scores = found.verdict.scores
        gains.append(float((scores["ssim"] - rival["ssim"]).mean()))
        ratios.append(float(scores["mse"].mean() / rival["mse"].mean()))
    assert min(gains) > 0
    assert max(ratios) < 0.85
