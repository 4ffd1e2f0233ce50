"""A white box leaves withheld units out of its loss, but not units that are off."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.white_box_views import digits, error, whitebox_view
from torch import Tensor, nn

import sltoolkit as sl
from sltoolkit.attacks.inversion._observation import Observation, StandIn, WhiteBoxView, released
from sltoolkit.attacks.inversion.colluding import Colluding, ColludingView
from sltoolkit.attacks.inversion.shadow import Shadow, ShadowView
from sltoolkit.attacks.inversion.whitebox import WhiteBox
from sltoolkit.contracts.attack import Attack
from sltoolkit.contracts.defense import Defense
from sltoolkit.contracts.knowledge import Aux, Release
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.defenses import RandomPruning
from sltoolkit.streams import Stream
from sltoolkit.training.deployed import Deployed
from sltoolkit.wire.codec import Reducer

pytestmark = pytest.mark.golden

Answer = Callable[[Tensor], Tensor]
TARGETS = digits(8)
OWN = digits(100)[50:]
AUX = Aux(x=OWN, y=torch.arange(50) % 10)
FIXED = WhiteBox(steps=300, lr=0.2, tv_weight=0.0, tv_beta=1, forward="client")


def dense(seed: int) -> nn.Module:
    """A layer with ReLU in which about half of the units are off."""
    with Stream(seed).scope():
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU()).eval()


def deployed(defense: Defense | None = None, reducer: Reducer | None = None) -> Answer:
    """The view on the answers of the dense client."""
    data = sl.data.load("digits", train=60, holdout=20, aux=60)
    member = Deployed(
        client=dense(0), tail=None, defense=defense or Defense(), samples=data.aux[:0],
        reducer=reducer,
    )  # fmt: skip
    rng = Stream(5)
    return lambda x: member.smash(x, rng)[1]


def heard(release: Answer) -> Observation:
    """The observation of a white box that holds this client."""
    view = whitebox_view(dense(0), TARGETS, aux=OWN, release=release)
    return Observation.of(view, "client", rng=Stream(0))


def left_out(observation: Observation) -> Tensor:
    """Which units have weight zero, (N, d)."""
    return observation.weights.expand_as(observation.z) == 0


@pytest.mark.parametrize(
    "reducer",
    [None, sl.HalfPrecision(), sl.Quantized(bits=8), sl.Quantized(bits=3), sl.TopK(fraction=0.3)],
    ids=str,
)
def test_units_that_are_off_or_rounded_to_nothing_count(reducer: Reducer | None) -> None:
    observation = heard(deployed(reducer=reducer))
    assert bool((observation.z == 0).any())
    assert not left_out(observation).any()


@pytest.mark.parametrize("reducer", [None, sl.Quantized(bits=8)], ids=str)
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_pruned_units_do_not(ratio: float, reducer: Reducer | None) -> None:
    observation = heard(deployed(RandomPruning(ratio=ratio), reducer))
    assert torch.equal(left_out(observation), observation.z == 0)


@pytest.mark.parametrize("every", [2, 7])
def test_records_of_which_nothing_arrives_do_not(every: int) -> None:
    def release(x: Tensor) -> Tensor:
        sent: Tensor = dense(0)(x) * (torch.arange(len(x)) % every == 0).float()[:, None]
        return sent

    left = left_out(heard(release))
    assert left.all(1).tolist() == [bool(i % every) for i in range(len(TARGETS))]
    assert not left[::every].all(1).any()


def test_nothing_at_all_arrives() -> None:
    assert left_out(heard(lambda x: 0 * dense(0)(x))).all()


def test_a_quantized_release_is_inverted_as_well_as_its_zeros_allow() -> None:
    view = whitebox_view(dense(0), TARGETS, aux=OWN, release=deployed(reducer=sl.Quantized(bits=8)))
    assert error(FIXED.run(view, rng=Stream(0)).images, TARGETS) < 0.002  # 0.006 without the zeros


def views_of(
    monkeypatch: pytest.MonkeyPatch, run: Callable[[], Any]
) -> tuple[WhiteBoxView, Observation]:
    """The views that an attack which uses the white box hands to it."""
    seen: list[WhiteBoxView] = []

    def noting(self: WhiteBox, view: WhiteBoxView, *, rng: Stream) -> Reconstruction:
        seen.append(view)
        return Reconstruction(images=TARGETS[:1].expand(view.smashed.shape[1], 1, 8, 8))

    monkeypatch.setattr(WhiteBox, "run", noting)
    monkeypatch.setattr(WhiteBox, "settings_on", Attack.settings_on)  # by `run`
    run()
    last = seen[-1]  # after the views of the rehearsal
    return last, Observation.of(last, "client", rng=Stream(0))


def test_the_units_of_a_shadow_all_weigh_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.no_grad():
        smashed = dense(0)(TARGETS)[None]
    with Stream(9).scope():
        server = nn.Linear(96, 10)

    def fresh(stream: Stream) -> nn.Module:
        return dense(stream.seed % 1000).requires_grad_(True)

    view = ShadowView(
        smashed=smashed, server_weights=server, client_arch=fresh, aux=AUX,
        task=sl.contracts.defense.Task(input_shape=(1, 8, 8), smashed_shape=(96,), classes=10),
        mechanism=None,
    )  # fmt: skip
    shadow = Shadow(epochs=1, least_steps=2)
    _, observation = views_of(monkeypatch, lambda: shadow.run(view, rng=Stream(0)))
    assert bool((observation.z == 0).any())
    assert observation.weights.unique().numel() == 1


@pytest.mark.parametrize(
    ("private", "granted", "mechanism", "stands_in"),
    [
        (False, True, False, False),  # one network for all: the white box
        (True, True, False, True),  # the target answers, the peer's network is another
        (True, True, True, True),
        (True, False, True, False),  # the peer answers for itself, defended as the target is
        (True, False, False, True),  # ... but how the target is defended is unknown
    ],
)
def test_a_colluders_network_stands_in_where_releases_are_not_its_own(
    private: bool, granted: bool, mechanism: bool, stands_in: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    peer = dense(1) if private else dense(0)
    release = Release(deployed())
    view = ColludingView(
        smashed=release(TARGETS), peer_weights=peer,
        task=sl.contracts.defense.Task(input_shape=(1, 8, 8), smashed_shape=(96,), classes=10),
        peer_samples=AUX if private else None, aux=AUX,
        release=release if granted else None,
        mechanism=(lambda _: Defense()) if mechanism else None, labels=None,
    )  # fmt: skip
    given, observation = views_of(monkeypatch, lambda: Colluding().run(view, rng=Stream(0)))
    assert isinstance(given.client_weights, StandIn) == stands_in
    assert observation.weights.unique().numel() == 1


def test_what_an_own_copy_of_the_defense_answers_shares_its_masks_as_the_defense_does() -> None:
    release = released(dense(0), lambda _: RandomPruning(), Stream(0))
    silent = (release.mean(OWN, repeats=1) == 0).all(0)
    often_on = (dense(0)(OWN) > 0).sum(0) >= 20
    assert not (silent & often_on).any()
