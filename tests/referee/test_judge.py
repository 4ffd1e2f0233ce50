"""The referee: what it accepts, what it compares with, and that only it uses the truth."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from support.scripted_attacks import Says, SaysLabels, ToyView, mean_of_aux
from support.toys import TARGETS, victim
from torch import Tensor, nn

from sltoolkit.api import attack
from sltoolkit.attacks import Decoder, Direction
from sltoolkit.contracts.attack import Role
from sltoolkit.contracts.outcomes import LabelGuess, MembershipScores, Outcome, Reconstruction
from sltoolkit.data.targets import Targets, image_targets, label_targets
from sltoolkit.defenses import DPActivations, GaussianNoise
from sltoolkit.errors import ProtocolError, SpecError, ThreatModelError
from sltoolkit.protocols import UShaped, Vanilla
from sltoolkit.referee.judge import Verdict, judge
from sltoolkit.referee.mount import mount_attack
from sltoolkit.streams import Stream
from sltoolkit.training.victim import Victim

NAN = float("nan")


@pytest.fixture(scope="module")
def undefended() -> Victim:
    """One victim for tests that only look."""
    return victim()


@pytest.fixture(scope="module")
def private_labels() -> Victim:
    """A victim whose client does not hold the labels."""
    return victim(protocol=Vanilla(labels_at="server"))


def images(*shape: int, fill: float = 0.5) -> Callable[[Any], Outcome]:
    """A constant reconstruction."""
    return lambda _: Reconstruction(images=torch.full(shape, fill))


def truth_of(whom: Victim) -> Tensor:
    """The truth, as only the referee has it."""
    return image_targets(whom.data, whom.client.samples, TARGETS).x


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
    known, _ = label_targets(private_labels.client.samples, TARGETS)
    scores = nn.functional.one_hot(known.y, 3).double()
    rows = attack(private_labels, SaysLabels(answer=lambda _: LabelGuess(scores=scores))).rows()
    assert rows.set_index("metric").loc["leak_auc", "gain"] == 0.5
    assert set(rows["target_set"]) == {"private_train"}


def test_targets_are_the_same_for_all_victims_and_seeds() -> None:
    whom = [victim(), victim(seed=4), victim(GaussianNoise(), protocol=Vanilla(clients=2))]
    verdicts = [judge(v, Says(answer=mean_of_aux), seed=s) for s, v in enumerate(whom)]
    for verdict in verdicts[1:]:
        assert torch.equal(verdict.truth.ids, verdicts[0].truth.ids)
    assert (verdicts[0].truth.ids >= 1000).all()  # held out


def test_targets_can_be_training_records() -> None:
    part = replace(TARGETS, part="private_train")
    verdict = judge(victim(targets=part), Says(answer=mean_of_aux), seed=0)
    assert (verdict.truth.ids < 48).all()


def test_epsilon_composes_over_the_releases_that_the_attack_received() -> None:
    defense = DPActivations(epsilon=1.0)
    private = victim(defense)
    rows = [
        attack(private, Says(answer=mean_of_aux), targets=replace(TARGETS, releases=n)).rows()
        for n in (1, 4)
    ]
    for n, found in zip((1, 4), rows, strict=True):
        expected = defense.guarantee(releases=n, delta=1e-5)
        assert expected is not None
        assert set(found["epsilon"]) == {expected.epsilon}
        assert set(found["releases"]) == {n}
    assert rows[0]["epsilon"][0] == pytest.approx(1.0)
    assert rows[1]["epsilon"][0] > 1.5
    assert attack(victim(), Says(answer=mean_of_aux)).rows()["epsilon"].isna().all()


def test_repeated_releases_reach_the_attack_with_fresh_noise() -> None:
    heard: list[Tensor] = []

    def listen(view: ToyView) -> Outcome:
        heard.append(view.smashed)
        return mean_of_aux(view)

    noisy = victim(GaussianNoise(std=1.0))
    judge(noisy, Says(answer=listen), seed=0, targets=replace(TARGETS, releases=3))
    judge(noisy, Says(answer=listen), seed=1, targets=replace(TARGETS, releases=3))
    assert heard[0].shape == (3, 6, 4, 8, 8)
    assert not torch.equal(heard[0][0], heard[0][1])
    assert torch.equal(heard[0], heard[1])  # the same draw for every attack and attacker seed


def test_one_attacker_seed_one_outcome() -> None:
    noisy = victim(GaussianNoise())
    outcomes = [judge(noisy, Decoder.smoke(), seed=s).outcome for s in (0, 0, 1)]
    first, again, other = (o.images for o in outcomes if isinstance(o, Reconstruction))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_seat_is_the_first_that_holds_what_the_attack_needs() -> None:
    vanilla = Vanilla(labels_at="server")
    assert mount_attack(Direction(), vanilla, ()).role == "client"
    assert mount_attack(Direction(), UShaped(), ()).role == "server"
    assert mount_attack(Direction(), vanilla, ("hints",)).filled == {"smashed_grad", "hints"}


def test_a_mount_says_what_is_known_in_a_seat() -> None:
    attack = Says(answer=mean_of_aux)
    labeled = Vanilla(labels_at="server")
    hears, holds, told = (
        mount_attack(attack, p, ("aux",)) for p in (UShaped(), labeled, Vanilla())
    )
    granted = mount_attack(attack, UShaped(), ("aux", "labels"))
    assert (hears.sees_labels, hears.hears_labels) == (False, False)
    assert (holds.sees_labels, holds.hears_labels) == (True, False)
    assert (told.sees_labels, told.hears_labels) == (True, True)
    assert (granted.sees_labels, granted.hears_labels) == (True, False)
    assert granted.available - hears.available == {"labels"}
    assert granted.filled == {"smashed", "aux"}  # its view has no room for labels
    assert hears.hops == 0


def test_a_seat_can_be_chosen_and_must_exist() -> None:
    def verdict(role: Role) -> Verdict:
        return judge(victim(), Says(answer=mean_of_aux), seed=0, role=role)

    assert verdict("eavesdropper").role == "eavesdropper"
    with pytest.raises(ThreatModelError, match=r"Says needs smashed.*as client it holds"):
        judge(victim(), Says(answer=mean_of_aux), seed=0, role="client")
    strange: Any = "postman"
    with pytest.raises(ThreatModelError, match="no postman; it seats server, client"):
        verdict(strange)


def test_gradients_that_were_not_recorded_are_refused_in_a_sentence() -> None:
    with pytest.raises(ProtocolError, match="were not recorded"):
        judge(
            victim(protocol=Vanilla(labels_at="server")),
            Direction(),
            seed=0,
            grants=("hints",),
            targets=Targets(labels=30, hints=3, count=6),
        )


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
