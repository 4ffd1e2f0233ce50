"""The decoder against cases whose answers are known in closed form."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from support.query_views import gaussian_channel, gaussian_minimum, noisy, view_of
from support.white_box_views import conv_client, digits, error, seeded
from torch import Tensor, nn

from sltoolkit.adversary.inverse_training import steps_for
from sltoolkit.adversary.rehearsal import rehearsed
from sltoolkit.attacks.inversion._query import LabeledQueryView
from sltoolkit.attacks.inversion.decoder import SETTINGS, Decoder
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.errors import SpecError
from sltoolkit.metrics.image import ssim
from sltoolkit.metrics.losses import LOSSES
from sltoolkit.networks.decoders import FAMILIES
from sltoolkit.networks.fitting import (
    Fit,
    HeldOut,
    cross_validated,
    decode,
    fit_inverse,
    inverse_error,
)
from sltoolkit.networks.inverse import inverse_network
from sltoolkit.networks.layers import centered
from sltoolkit.streams import Stream

pytestmark = pytest.mark.golden

MSE = LOSSES["mse"]

ReLU1 = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2))
"""A client for images of 12 pixels."""

EACH = pytest.mark.parametrize("family", FAMILIES)


def decoder_view(release: Any, x: Tensor, aux: Tensor, **more: Any) -> LabeledQueryView:
    return view_of(LabeledQueryView, release, x, aux, **{"labels": None, **more})


# -- closed forms -------------------------------------------------------------------------------


def test_the_scalar_gaussian_decoder_is_one_half() -> None:
    with Stream(0).scope():
        x = torch.randn(4000, 1)
        line = nn.Linear(1, 1)  # Sigma = A = sigma = 1: the optimum is W = 1/2 with error 1/2
        fit_inverse(line, lambda _: x + torch.randn_like(x), x, how=Fit(steps=20 * 63, loss=MSE))
        fresh = torch.randn(100_000, 1)
        reached = inverse_error(line, fresh + torch.randn_like(fresh), fresh, loss=MSE)
    assert abs(line.weight.item() - 0.5) < 0.03
    assert abs(reached - 0.5) < 0.02 * 0.5 + 0.005


def test_the_attack_finds_the_posterior_mean_of_the_scalar_gaussian() -> None:
    aux = torch.randn(3000, 1, generator=seeded(0))
    x = torch.linspace(-1, 1, 21)[:, None]
    view = decoder_view(noisy(nn.Identity(), 1.0), x, aux)
    guess = Decoder(steps=500, lr=3e-3, width=2).run(view, rng=Stream(0)).images
    within = view.smashed[0].abs() < 1.5  # farther out, the network has seen few samples
    assert (guess - view.smashed[0] / 2)[within].square().mean() < 0.1**2


def test_decoders_reach_the_linear_gaussian_optimum_and_do_not_beat_it() -> None:
    root, a, sigma, optimal = gaussian_channel()
    minimum = gaussian_minimum()
    with Stream(0).scope():
        x, fresh = torch.randn(8000, 6) @ root.T, torch.randn(50_000, 6) @ root.T

        def heard(inputs: Tensor) -> Tensor:
            return inputs @ a.T + sigma * torch.randn(len(inputs), 4)

        line = fit_inverse(
            nn.Linear(4, 6), lambda _: heard(x), x, how=Fit(steps=15 * 125, loss=MSE)
        )
        blank = inverse_network((4,), (6,), mean=x.mean(0))
        curve = fit_inverse(blank, lambda _: heard(x), x, how=Fit(steps=5 * 125, loss=MSE))
        z = heard(fresh)
    assert inverse_error(line, z, fresh, loss=MSE) < 1.02 * minimum
    best = (z @ optimal.T - fresh).square().mean(1)
    assert abs(float(best.mean()) - minimum) < 0.02 * minimum  # the closed form itself
    excess = (decode(curve, z) - fresh).square().mean(1) - best
    assert float(excess.mean()) > -3 * float(excess.std()) / len(excess) ** 0.5
    assert float(excess.mean()) < 0.1 * minimum


# -- the prior ----------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("labeled", [False, True], ids=["plain", "labeled"])
def test_every_family_beats_the_mean_image_and_on_shuffled_pairs_does_not(
    family: Any, labeled: bool
) -> None:
    x, aux, client = digits(100), digits(900)[100:], conv_client()
    mean = aux.mean(0, keepdim=True).expand_as(x)
    attack = Decoder(design=family, blocks=1, width=8, lr=1e-2, steps=72)
    g = seeded(6)
    y, labels = torch.randint(10, (800,), generator=g), torch.randint(10, (100,), generator=g)

    def mixed(v: Tensor) -> Tensor:
        """Answers queries of more than a hundred samples (aux) in another order."""
        sent: Tensor = client(v if len(v) <= 100 else v[torch.randperm(len(v), generator=g)])
        return sent

    def reached(release: Any) -> Tensor:
        view = decoder_view(release, x, aux, y=y, labels=labels if labeled else None)
        return attack.run(view, rng=Stream(0)).images

    assert error(reached(client), x) < 0.2 * error(mean, x)
    prior = reached(mixed)
    assert error(prior, mean) < 0.04 * error(mean, x)
    assert error(prior, x) > 0.9 * error(mean, x)


def test_labels_are_used_where_they_are_seen() -> None:
    g = seeded(1)
    y, labels = torch.randint(10, (300,), generator=g), torch.randint(10, (60,), generator=g)
    aux, x = ((v[:, None, None, None] / 10).expand(-1, 1, 8, 8) for v in (y, labels))

    def deaf(v: Tensor) -> Tensor:
        """A release that is the same for every input."""
        return torch.ones(len(v), 4)

    attack = Decoder(width=8)
    seen = decoder_view(deaf, x, aux, y=y, labels=labels)
    unseen = decoder_view(deaf, x, aux, y=y)
    assert error(attack.run(seen, rng=Stream(0)).images, x) < 1e-3
    assert error(attack.run(unseen, rng=Stream(0)).images, x) > 0.05


# -- shapes -------------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize(
    ("smashed", "image"),
    [
        ((8, 24, 24), (1, 28, 28)),
        ((16, 8, 8), (1, 28, 28)),
        ((64, 8, 8), (3, 32, 32)),
        ((8, 27, 25), (3, 25, 23)),
        ((5, 1, 1), (1, 8, 8)),
        ((4, 3, 5), (3, 9, 17)),
        ((120,), (3, 25, 25)),
        ((9, 4), (1, 8, 8)),
        ((8, 47), (1, 187)),
        ((8, 187), (2, 180)),
        ((32, 1), (1, 187)),
        ((12,), (1, 187)),
        ((4, 3, 3), (7,)),
        ((4, 11), (7,)),
        ((4,), (6,)),
    ],
)
def test_inverse_networks_fit_any_shapes(
    smashed: tuple[int, ...], image: tuple[int, ...], family: str
) -> None:
    with Stream(0).scope():
        network = inverse_network(smashed, image, family=family, blocks=2, width=4)
        out = network(torch.randn(3, *smashed))
    assert tuple(out.shape) == (3, *image)
    assert len(image) == 1 or (out.min() >= 0 and out.max() <= 1)


@EACH
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 13), (2, 21), (5,)])
def test_inverse_networks_start_from_a_mean(shape: tuple[int, ...], family: str) -> None:
    mean = torch.rand(shape, generator=seeded(0)) * 0.8 + 0.1
    with Stream(0).scope():
        network = inverse_network((6,), shape, family=family, width=4, mean=mean).eval()
        silent = network(torch.zeros(2, 6)).detach()[0]
    # the first weights change little beside the mean
    assert float(torch.corrcoef(torch.stack([silent.flatten(), mean.flatten()]))[0, 1]) > 0.8


@pytest.mark.parametrize("sides", [(8, 9), (11, 16), (12,)])
def test_cropping_takes_off_what_padding_put_on(sides: tuple[int, ...]) -> None:
    x = torch.rand(2, 3, *sides, generator=seeded(0))
    wide = centered(x, [side + 3 for side in sides])
    assert tuple(wide.shape[2:]) == tuple(side + 3 for side in sides)
    assert torch.equal(centered(wide, sides), x)
    assert float(wide.sum()) == pytest.approx(float(x.sum()))


def test_an_inverse_network_refuses_volumes_and_unknown_families() -> None:
    with pytest.raises(SpecError, match="inverse network"):
        inverse_network((4, 4), (1, 8, 8, 8))
    with pytest.raises(SpecError, match="res_norm"):
        inverse_network((4,), (1, 8, 8), family="resnorm")
    task = Task(input_shape=(1, 8, 8, 8), smashed_shape=(4,), classes=2)
    assert "volumes" in str(Decoder().refuses(task))


def test_n_and_c_are_the_papers() -> None:
    def convolutions(family: str, blocks: int) -> list[tuple[int, int]]:
        network = inverse_network((128, 8, 8), (3, 32, 32), family=family, blocks=blocks, width=64)
        kinds = (nn.Conv2d, nn.ConvTranspose2d)
        return [(m.in_channels, m.out_channels) for m in network.modules() if isinstance(m, kinds)]

    doublings, last = [(64, 64), (64, 64)], [(64, 3)]
    assert convolutions("conv_norm", 8) == [(128, 64), *[(64, 64)] * 8, *doublings, *last]
    first = [(128, 64), (64, 64), (128, 64)]  # two convolutions, and a projecting shortcut
    assert convolutions("res_norm", 8) == [*first, *[(64, 64)] * 16, *doublings, *last]


def beats(n: int, seed: int) -> Tensor:
    """Periodic signals in [0, 1] with 2 channels, (n, 2, 30), of many phases and heights."""
    g = seeded(seed)
    phase, height = torch.rand(2, n, 1, 1, generator=g).unbind()
    time = torch.arange(30) / 10
    both = torch.sin(6.28 * (time + phase + torch.tensor([[0.0], [0.3]])))
    return both * height / 2 + 0.5


def test_signals_are_decoded() -> None:
    with Stream(0).scope():
        client = nn.Sequential(nn.Conv1d(2, 8, 5), nn.ReLU(), nn.MaxPool1d(2)).eval()
    x, aux = beats(50, 0), beats(400, 1)
    mean = aux.mean(0).expand_as(x)
    for design in FAMILIES:
        attack = Decoder(design=design, width=8)  # type: ignore[arg-type]
        guess = attack.run(decoder_view(client, x, aux), rng=Stream(0)).images
        assert error(guess, x) < 0.1 * error(mean, x)


# -- training and rehearsal ---------------------------------------------------------------------


def test_every_epoch_is_trained_on_a_fresh_release() -> None:
    view = decoder_view(conv_client(), digits(4), digits(100), repeats=3)
    Decoder(steps=4, width=4).run(view, rng=Stream(0))
    assert view.release.queries == 3 * (10 + 2 * 90)


def test_the_decoder_needs_something_to_learn_from() -> None:
    with pytest.raises(SpecError, match="at least 3 aux samples"):
        Decoder().run(decoder_view(conv_client(), digits(4), digits(2)), rng=Stream(0))


@pytest.mark.parametrize("n", [3, 4, 5])
def test_too_few_samples_for_a_rehearsal_are_enough_for_the_attack(n: int) -> None:
    view = decoder_view(ReLU1, torch.rand(2, 1, 12, 12), torch.rand(n, 1, 12, 12))
    outcome = rehearsed(Decoder(steps=3, width=2), view, rng=Stream(0))
    assert isinstance(outcome, Reconstruction)
    assert outcome.images.shape == (2, 1, 12, 12)


def test_the_step_that_does_best_on_held_out_pairs_is_kept() -> None:
    x = torch.randn(200, 2, generator=seeded(0))
    network, passes = nn.Linear(2, 2), 0

    def pairs(rows: Tensor) -> Tensor:
        nonlocal passes
        passes += 1
        return x[rows] if passes <= 6 else -x[rows]  # from the seventh pass on they are wrong

    held = HeldOut(x, x, None, MSE)
    with Stream(0).scope():
        network.reset_parameters()
        fit_inverse(network, pairs, x, how=Fit(steps=80, loss=MSE, lr=0.1), held_out=held)
    assert (
        inverse_error(network, x, x, loss=MSE)
        == min(held.errors.values())
        == held.errors[held.best]
    )
    assert list(held.errors.values())[-1] > min(held.errors.values())
    assert max(held.errors) < 80  # it stopped early


def test_a_few_samples_get_as_many_steps_as_many_and_are_all_learned_from() -> None:
    few = decoder_view(conv_client(), digits(4), digits(30))
    Decoder(width=2, budget=0, held_out=0).run(few, rng=Stream(0))
    assert few.release.queries == 1500 * 30
    assert steps_for(30, 64) == steps_for(1000, 64) == 1500
    assert steps_for(10_000, 64) == 30 * 157  # no fewer passes than before over many samples


def test_cross_validation_finds_when_a_few_noisy_samples_begin_to_mislead() -> None:
    x = torch.randn(24, 1, generator=seeded(0))
    z = x + 2 * torch.randn(24, 30, generator=seeded(1))  # 30 units can learn 24 samples by heart

    def build() -> nn.Module:
        return nn.Linear(30, 1)

    with Stream(0).scope():
        how = Fit(steps=2000, loss=MSE, lr=1e-2)
        errors = cross_validated(build, lambda rows: z[rows], x, how=how)
        best = min(errors, key=errors.__getitem__)
        fresh = torch.randn(5000, 1)
        heard = fresh + 2 * torch.randn(5000, 30)
        stopped = fit_inverse(build(), lambda rows: z[rows], x, how=how, until=best)
        full = fit_inverse(build(), lambda rows: z[rows], x, how=how)
    assert best < max(errors)
    assert inverse_error(stopped, heard, fresh, loss=MSE) < inverse_error(
        full, heard, fresh, loss=MSE
    )


def test_reconstructions_are_deterministic_per_stream() -> None:
    view = decoder_view(conv_client(), digits(4), digits(60))
    attack = Decoder(steps=4, width=4)
    first, second, other = (attack.run(view, rng=Stream(s)) for s in (0, 0, 1))
    assert isinstance(first, Reconstruction)
    assert torch.equal(first.images, second.images)
    assert not torch.equal(first.images, other.images)


def test_the_budget_says_how_many_settings_are_rehearsed() -> None:
    view = decoder_view(conv_client(), digits(4), digits(60))
    alone = Decoder(budget=0).candidates(view)
    assert [(c.design, c.blocks, c.width, c.lr, c.loss) for c in alone] == [
        ("mirror", 1, 16, 3e-3, "mse")  # SSIM needs larger images
    ]
    counts = [len(Decoder(budget=b).candidates(view)) for b in (0, 1.5, 8, 1e4)]
    assert counts[0] == counts[1] == 1
    assert counts == sorted(counts)
    assert 2 <= counts[2] < counts[3] == len({replace(s, loss="mse") for s in SETTINGS})
    largest = Decoder(budget=1e4).candidates(view)[-1]
    assert (largest.design, largest.blocks, largest.width) == ("res_norm", 8, 64)


def test_the_losses_are_rehearsed_by_default_and_lengths_with_more_budget() -> None:
    view = decoder_view(ReLU1, torch.rand(4, 1, 12, 12), torch.rand(60, 1, 12, 12))
    options = Decoder().candidates(view)
    assert [c.loss for c in options] == ["both", "mse", "ssim"]
    assert {(c.design, c.width, c.lr) for c in options} == {("mirror", 16, 3e-3)}
    assert list(Decoder().refinements(options[0], view)) == [options[0]]
    longer = Decoder(budget=100, design="mirror", blocks=1, width=16, lr=3e-3)
    best = longer.candidates(view)[0]
    assert [c.steps for c in longer.refinements(best, view)] == [None, 4500, 13500]
    given = replace(longer, steps=50)
    assert list(given.refinements(best, view)) == [best]


def test_images_are_decoded_by_the_loss_that_they_are_judged_by() -> None:
    x = torch.rand(80, 1, 12, 12, generator=seeded(0))
    view = decoder_view(ReLU1, x[:20], x[20:])
    guesses = {
        loss: Decoder(loss=loss, steps=60, width=4, budget=0).run(view, rng=Stream(0)).images
        for loss in ("mse", "ssim", "both")
    }
    likeness = {loss: float(ssim(guess, x[:20]).mean()) for loss, guess in guesses.items()}
    assert likeness["ssim"] > likeness["mse"] < likeness["both"]
    features = Task(input_shape=(6,), smashed_shape=(4,), classes=2)
    assert "11 pixels" in str(Decoder(loss="both").refuses(features))
    assert Decoder(loss="mse").refuses(features) is None


def test_what_is_given_is_not_rehearsed() -> None:
    view = decoder_view(conv_client(), digits(4), digits(60))
    mine = Decoder(budget=1e4, design="res_norm", width=8).candidates(view)
    assert {(c.design, c.width) for c in mine} == {("res_norm", 8)}
    assert {c.blocks for c in mine} == {0, 4, 8}
    features = decoder_view(nn.Identity(), digits(4).flatten(1), digits(60).flatten(1))
    assert {c.design for c in Decoder(budget=1e4).candidates(features)} == {"mirror"}
    fixed = Decoder(design="mirror", blocks=1, width=8, lr=1e-2, loss="mse", steps=9, budget=9)
    assert not fixed.rehearses
    with pytest.raises(SpecError, match="conv_norm"):
        Decoder(design="convnorm")  # type: ignore[arg-type]


def test_what_was_tuned_reproduces_the_attack() -> None:
    view = decoder_view(conv_client(), digits(4), digits(100))
    attack = Decoder(steps=6, budget=3.0, width=4)
    first = rehearsed(attack, view, rng=Stream(0))
    assert isinstance(first, Reconstruction)
    assert set(first.tuned) == {"design", "blocks", "lr", "loss"}
    chosen: dict[str, Any] = dict(first.tuned)
    again = rehearsed(replace(attack, **chosen), view, rng=Stream(0))
    assert isinstance(again, Reconstruction)
    assert again.tuned == {}
    # without a budget there is no rehearsal, and nothing that one chose
    assert rehearsed(replace(attack, budget=0.0), view, rng=Stream(0)).tuned == {}
    assert torch.equal(first.images, again.images)
