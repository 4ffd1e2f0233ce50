"""Rehearsals: what an attacker chooses on its own samples, without a look at the targets."""

import json
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, final

import pytest
import torch
from support.white_box_views import conv_client, digits, error, seeded, whitebox_view
from torch import Tensor, nn
from tuned import PUBLISHED, SLACK, at_cuts, pairs, summary

from sltoolkit import api
from sltoolkit.adversary.rehearsal import rehearse, rehearsed, staged, tuned
from sltoolkit.attacks.inversion._observation import WhiteBoxView
from sltoolkit.attacks.inversion.whitebox import SCHEDULES, WhiteBox
from sltoolkit.contracts.attack import Attack, Family, Role
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.data import load
from sltoolkit.data.targets import Targets
from sltoolkit.errors import SpecError
from sltoolkit.parties.settings import Training
from sltoolkit.progress import watch
from sltoolkit.streams import Stream

pytestmark = pytest.mark.golden

OPEN = {"steps", "lr", "tv_weight", "tv_beta", "forward", "start", "pull"}
"""The open parameters of the white box."""

FIXED = WhiteBox().candidates(whitebox_view(conv_client(), digits(1)))[0]


@final
@dataclass(frozen=True, kw_only=True)
class Guesser(Attack[WhiteBoxView]):
    """Finds the truth up to a known error, so that what a rehearsal must choose is known."""

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = WhiteBoxView
    citation: ClassVar[str] = "none 2000"
    log: ClassVar[list[tuple[str, float]]] = []
    luck: ClassVar[set[float]] = set()

    coarse: str | None = None
    fine: float | None = None

    def candidates(self, view: WhiteBoxView) -> list[Self]:
        return [replace(self, coarse=c, fine=self.fine or 3.0) for c in ("bad", "good", "lost")]

    def refinements(self, best: Self, view: WhiteBoxView) -> list[Self]:
        return [replace(best, fine=f) for f in (3.0, 2.0, 4.0, 1.0)]

    def run(self, view: WhiteBoxView, *, rng: Stream) -> Reconstruction:
        assert self.coarse is not None
        assert self.fine is not None
        self.log.append((self.coarse, self.fine))
        self.luck.add(float(torch.rand(())))
        off = {"bad": 2.0, "good": 1.0, "lost": torch.nan}[self.coarse] * self.fine
        x = view.smashed[0]  # its client is the identity
        return Reconstruction(images=x + off)


def test_candidates_are_tried_first_and_the_best_refined_while_that_helps() -> None:
    view = whitebox_view(torch.nn.Identity(), digits(4), aux=digits(60)[20:])
    Guesser.log.clear()
    best = tuned(Guesser(), view, rng=Stream(0))
    assert best == Guesser(coarse="good", fine=2.0)
    assert Guesser.log == [
        ("bad", 3.0), ("good", 3.0), ("lost", 3.0),
        ("good", 2.0), ("good", 4.0),  # worse: 1.0 is not tried any more
    ]  # fmt: skip


def test_all_that_are_tried_draw_the_same_numbers() -> None:
    view = whitebox_view(torch.nn.Identity(), digits(4), aux=digits(60)[20:])
    Guesser.luck.clear()
    tuned(Guesser(), view, rng=Stream(0))
    assert len(Guesser.luck) == 1


def test_of_candidates_that_differ_within_noise_the_first_is_taken() -> None:
    view = whitebox_view(torch.nn.Identity(), digits(4), aux=digits(60)[20:])
    stage = staged(view, Stream(0))
    assert stage is not None

    def choice(shift: float) -> int:
        """The choice between two whose squared errors differ by `shift` plus noise of std 1/4."""
        noise = torch.randn(16, generator=seeded(3))
        noise = (noise - noise.mean()) / noise.std() / 4
        errors = (3 + noise + shift, torch.full((16,), 3.0))
        tried = [_Off(error=tuple(e.tolist())) for e in errors]
        return tried.index(rehearse(tried, *stage, rng=Stream(1)))

    assert choice(0.0) == choice(0.05) == 0  # a standard error is 1/16
    assert choice(0.08) == 1


def test_images_are_compared_by_ssim_which_they_are_judged_by() -> None:
    x = digits(40).repeat_interleave(2, 2).repeat_interleave(2, 3)
    stage = staged(whitebox_view(nn.Identity(), x[:4], aux=x[4:]), Stream(0))
    assert stage is not None
    noise = 0.2 * torch.randn(1, *x.shape[1:], generator=seeded(3))
    grainy, pale = _Added(pattern=noise, contrast=1.0), _Added(pattern=0 * noise, contrast=0.6)
    seen, truth = stage
    errors = [error(a.run(seen, rng=Stream(1)).images, truth) for a in (grainy, pale)]
    assert errors[1] < errors[0]
    assert rehearse([pale, grainy], *stage, rng=Stream(1)) is grainy


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Added(Attack[WhiteBoxView]):
    """Adds a pattern to the truth, at less contrast."""

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = WhiteBoxView
    citation: ClassVar[str] = "none 2000"

    pattern: Tensor
    contrast: float

    def run(self, view: WhiteBoxView, *, rng: Stream) -> Reconstruction:
        return Reconstruction(images=self.contrast * view.smashed[0] + self.pattern)


@final
@dataclass(frozen=True, kw_only=True)
class _Off(Attack[WhiteBoxView]):
    """Misses each sample's truth by a given squared error."""

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    view: ClassVar[type] = WhiteBoxView
    citation: ClassVar[str] = "none 2000"

    error: tuple[float, ...]

    def run(self, view: WhiteBoxView, *, rng: Stream) -> Reconstruction:
        off = torch.tensor(self.error).sqrt()
        return Reconstruction(images=view.smashed[0] + off.reshape(-1, 1, 1, 1))


def test_the_published_schedule_and_weights_are_among_what_is_tried() -> None:
    view = whitebox_view(conv_client(), digits(1))
    candidates = WhiteBox().candidates(view)
    terms = {(c.tv_beta, c.tv_weight) for c in candidates}
    assert {(1, 0.0), (2, 4.0), (2, 200.0)} <= terms
    assert (0.01, 5000) in SCHEDULES
    finer = WhiteBox().refinements(candidates[3], view)
    assert [(f.lr, f.steps) for f in finer] == list(SCHEDULES)
    assert {(f.tv_beta, f.tv_weight) for f in finer} == {
        (candidates[3].tv_beta, candidates[3].tv_weight)
    }


def test_what_is_given_is_not_chosen() -> None:
    view = whitebox_view(conv_client(), digits(1))
    assert not FIXED.rehearses
    assert FIXED.candidates(view) == [FIXED] == FIXED.refinements(FIXED, view)
    for name in OPEN - {"pull"}:  # from the mean there is none
        none: dict[str, Any] = {name: None}
        left = replace(FIXED, **none)
        assert left.rehearses
        tried = [*left.candidates(view), *left.refinements(FIXED, view)]
        assert all(replace(c, **none) == left for c in tried)


def test_a_watcher_sees_the_rehearsal_and_the_attack_go_by() -> None:
    heard: list[int] = []
    view = whitebox_view(conv_client(), digits(4), aux=digits(60)[20:])
    with watch(lambda done, total: heard.append(done)):
        rehearsed(replace(FIXED, steps=20, tv_weight=None), view, rng=Stream(0))
    assert heard == sorted(set(heard))
    assert heard[-1] == 100
    assert len([h for h in heard if h < 50]) > 10


def best_of(candidates: list[WhiteBox], view: WhiteBoxView) -> WhiteBox:
    """The candidate that a rehearsal chooses."""
    stage = staged(view, Stream(0))
    assert stage is not None
    return rehearse(candidates, *stage, rng=Stream(1))


def test_tune_takes_the_candidate_with_the_least_error_on_own_samples() -> None:
    view = whitebox_view(conv_client(), digits(4), aux=digits(60)[20:])
    steps = [replace(FIXED, steps=s, tv_weight=0.0) for s in (1, 80, 5)]
    assert best_of(steps, view) is steps[1]


def test_tune_never_prefers_a_diverged_candidate() -> None:
    view = whitebox_view(conv_client(), digits(4), aux=digits(60)[20:])
    wild = replace(FIXED, steps=60, tv_weight=0.0, optimizer="sgd", lr=1e6, box=False)
    assert not torch.isfinite(wild.run(view, rng=Stream(1)).images).all()
    calm = replace(FIXED, steps=1, tv_weight=0.0)
    assert best_of([wild, calm], view) is calm


def test_who_has_nothing_to_rehearse_on_takes_the_first_candidate() -> None:
    view = whitebox_view(conv_client(), digits(4))
    assert tuned(WhiteBox(), view, rng=Stream(0)) == WhiteBox()  # left open
    attack = WhiteBox(steps=2)
    outcome = rehearsed(attack, view, rng=Stream(0))
    assert outcome.tuned == {}
    assert isinstance(outcome, Reconstruction)
    default = replace(FIXED, steps=2).run(view, rng=Stream(0))
    assert torch.equal(outcome.images, default.images)


def test_a_choice_of_one_is_no_rehearsal() -> None:
    view = whitebox_view(conv_client(), digits(4), aux=digits(60)[20:])
    assert view.release is not None
    asked, attack = view.release.queries, replace(FIXED, steps=2, forward=None)
    # the mechanism is not known, so the client as it is remains the only choice
    assert tuned(attack, view, rng=Stream(0)) == replace(attack, forward="client")
    assert view.release.queries == asked
    assert rehearsed(attack, view, rng=Stream(0)).tuned == {"forward": "client"}


def test_a_rehearsal_needs_two_samples() -> None:
    view = whitebox_view(conv_client(), digits(4), aux=digits(1))
    with pytest.raises(SpecError, match="at least 2 aux samples"):
        tuned(WhiteBox(), view, rng=Stream(0))


def test_what_was_tuned_reproduces_the_attack_and_owes_nothing_to_the_targets() -> None:
    client, aux = conv_client(), digits(120)[40:]
    attack = WhiteBox(steps=20, decoder_steps=8)
    first = rehearsed(attack, whitebox_view(client, digits(8), aux=aux), rng=Stream(0))
    other = rehearsed(attack, whitebox_view(client, 1 - digits(8), aux=aux), rng=Stream(0))
    assert set(first.tuned) == OPEN - {"steps"}
    assert first.tuned == other.tuned
    chosen: dict[str, Any] = json.loads(json.dumps(dict(first.tuned)))  # as a store keeps it
    fixed = replace(attack, **chosen)
    again = rehearsed(fixed, whitebox_view(client, digits(8), aux=aux), rng=Stream(0))
    assert again.tuned == {}
    assert isinstance(again, Reconstruction)
    assert isinstance(first, Reconstruction)
    assert torch.equal(again.images, first.images)


def test_a_noisy_release_is_met_with_more_smoothing() -> None:
    client, aux = conv_client(), digits(120)[40:]

    def chosen(std: float) -> float:
        noise = seeded(0)

        def noisy(inputs: Tensor) -> Tensor:
            z: Tensor = client(inputs)
            return z + std * torch.randn(z.shape, generator=noise)

        view = whitebox_view(client, digits(8), aux=aux, release=noisy)
        attack = replace(FIXED, steps=50, tv_weight=None)
        return float(rehearsed(attack, view, rng=Stream(0)).tuned["tv_weight"])

    assert chosen(0.0) < chosen(0.5)


def small() -> nn.Module:
    """Two convolutions and a classifier, for digits."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 8, 3, padding=1), relu1=nn.ReLU(), pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(8, 16, 3, padding=1), relu2=nn.ReLU(), flatten=nn.Flatten(),
            head=nn.Linear(256, 10),
        )
    )  # fmt: skip


def test_the_api_tells_how_far_an_attack_is() -> None:
    heard: list[tuple[int, int]] = []
    victim = api.train(
        small, load("digits", train=100, holdout=20, aux=20), cut="relu1",
        training=Training(epochs=1), targets=Targets(count=4, labels=4),
    )  # fmt: skip
    attack = replace(FIXED, steps=30)
    api.attack(victim, attack, grants={"client_weights"}, progress=lambda *done: heard.append(done))
    assert heard[-1] == (100, 100)
    assert len(heard) > 10


@pytest.mark.slow
def test_tuned_is_at_least_as_good_as_published_for_five_victims_at_two_cuts() -> None:
    train = at_cuts(load("digits"), small, targets=16)
    found = list(pairs(train, PUBLISHED["whitebox"], WhiteBox()))
    assert len(found) == 10
    for cut in ("conv1", "relu2"):
        errors = summary(found, cut)
        assert errors["tuned"] <= SLACK * errors["published"]
        assert all(p.tuned <= 1.1 * p.published for p in found if p.place == cut)
