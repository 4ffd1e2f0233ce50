"""Ridge regression against scikit-learn, refits, and the linear Gaussian channel."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge as Oracle
from sklearn.preprocessing import StandardScaler
from support.query_views import gaussian_channel, gaussian_minimum, noisy, view_of
from support.white_box_views import conv_client, digits, error, seeded
from torch import Tensor, nn

from sltoolkit.adversary.local_ridge import LocalRidge
from sltoolkit.adversary.ridge import Ridge
from sltoolkit.attacks.inversion import regression
from sltoolkit.attacks.inversion._query import QueryView
from sltoolkit.attacks.inversion.regression import REACHES, Regression
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.errors import SpecError
from sltoolkit.streams import Stream

pytestmark = pytest.mark.golden

PRIMAL, DUAL = (40, 7), (12, 50)
"""Sizes with more rows than features, and with fewer."""


def problem(n: int, d: int, *, draws: int = 1, outputs: int = 5) -> tuple[Tensor, Tensor]:
    """Features (n, K, d), K noisy draws of each sample, one feature constant; outputs (n, p)."""
    g = seeded(n + d)
    own = torch.randn(n, 1, d, generator=g, dtype=torch.float64)
    features = own + 0.5 * torch.randn(n, draws, d, generator=g, dtype=torch.float64)
    features[..., 0] = 3
    weights = torch.randn(d, outputs, generator=g, dtype=torch.float64)
    return features * torch.arange(1, d + 1), own[:, 0] @ weights + 2


def oracle(features: Tensor, outputs: Tensor, alpha: float, new: Tensor) -> Tensor:
    """scikit-learn's predictions for new rows (N, d), standardized as features (n, K, d) are."""
    rows = features.flatten(0, 1).numpy()
    scaler = StandardScaler().fit(rows)
    model = Oracle(alpha=alpha).fit(
        scaler.transform(rows), outputs.repeat_interleave(features.shape[1], 0).numpy()
    )
    return torch.from_numpy(model.predict(scaler.transform(new.numpy())))


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize(("n", "d"), [PRIMAL, DUAL])
@pytest.mark.parametrize("weight", [1e-3, 1.0, 100.0])
def test_it_equals_scikit_learns_ridge(n: int, d: int, weight: float, draws: int) -> None:
    features, outputs = problem(n, d, draws=draws)
    new = features[:4, 0] + 1
    ridge = Ridge(features.clone(), outputs)
    expected = oracle(features, outputs, weight * ridge.scale, new)
    assert torch.allclose(ridge.predict(new, weight), expected, atol=1e-8)


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize(("n", "d"), [PRIMAL, DUAL])
def test_the_left_out_error_is_that_of_refits_without_each_sample(
    n: int, d: int, draws: int
) -> None:
    features, outputs = problem(n, d, draws=draws)
    ridge = Ridge(features.clone(), outputs)
    rows = features.flatten(0, 1)
    scaled = ((features - rows.mean(0)) / rows.std(0, correction=0)).nan_to_num()
    errors = []
    for i in range(n):
        rest = np.arange(n) != i
        model = Oracle(alpha=0.5 * ridge.scale).fit(
            scaled[rest].flatten(0, 1).numpy(), outputs[rest].repeat_interleave(draws, 0).numpy()
        )
        guess = torch.from_numpy(model.predict(scaled[i].numpy()))
        errors.append((guess - outputs[i]).square().mean())
    expected = float(torch.stack(errors).mean())
    assert ridge.left_out_error(0.5) == pytest.approx(expected, rel=1e-9)


def windows(features: Tensor, mean: Tensor, deviation: Tensor, reach: int) -> np.ndarray:
    """The standardized cells around each cell of (N, C, H, W), by loops; zeros beyond the edge."""
    standard = ((features - mean) / deviation[:, None, None]).numpy()
    side = reach // 2
    wide = np.pad(standard, ((0, 0), (0, 0), (side, side), (side, side)))
    n, _, height, width = features.shape
    return np.stack([
        wide[i, :, r : r + reach, c : c + reach].ravel()
        for i in range(n) for r in range(height) for c in range(width)
    ])  # fmt: skip


@pytest.mark.parametrize("draws", [1, 2])
@pytest.mark.parametrize("reach", [1, 3])
def test_the_local_fit_is_scikit_learns_ridge_on_windows(reach: int, draws: int) -> None:
    g = seeded(7)
    features = torch.randn(12, draws, 2, 3, 4, generator=g, dtype=torch.float64)
    outputs = torch.rand(12, 1, 6, 8, generator=g, dtype=torch.float64)  # 2 x 2 pixels per cell
    ridge = LocalRidge(features, outputs, reach)
    mean, center = features.mean((0, 1)), outputs.mean(0)
    deviation = (features - mean).square().mean((0, 1, 3, 4)).sqrt()
    blocks = (outputs - center).reshape(12, 3, 2, 4, 2).permute(0, 1, 3, 2, 4).reshape(-1, 4)

    def fitted(rows: np.ndarray, new: Tensor, weight: float) -> Tensor:
        z = np.concatenate([
            windows(features[rows, k], mean, deviation, reach) for k in range(draws)
        ])  # fmt: skip
        x = np.tile(blocks.reshape(12, 12, 4)[rows].reshape(-1, 4).numpy(), (draws, 1))
        scale = float(np.linalg.eigvalsh(z.T @ z).mean())
        oracle = Oracle(alpha=weight * scale, fit_intercept=False).fit(z, x)
        guess = torch.from_numpy(oracle.predict(windows(new, mean, deviation, reach)))
        return guess.reshape(-1, 3, 4, 2, 2).permute(0, 1, 3, 2, 4).reshape(-1, 1, 6, 8) + center

    new = torch.randn(3, 2, 3, 4, generator=g, dtype=torch.float64)
    everyone = np.arange(12)
    assert torch.allclose(ridge.predict(new, 0.1), fitted(everyone, new, 0.1), atol=1e-9)
    errors = [
        (fitted(everyone[everyone % 5 != fold], features[fold::5, k], 0.1) - outputs[fold::5])
        .square().mean((1, 2, 3))
        for fold in range(5) for k in range(draws)
    ]  # fmt: skip
    expected = float(torch.cat(errors).mean())
    assert ridge.left_out_error(0.1) == pytest.approx(expected, rel=1e-9)


def test_a_few_samples_determine_the_inverse_of_a_convolution() -> None:
    x, aux = digits(20), digits(40)[20:]
    with Stream(0).scope():
        client = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4, 8, 1)).eval()
    view = view_of(QueryView, client, x, aux)
    outcome = Regression().run(view, rng=Stream(0))
    assert outcome.tuned["reach"] in REACHES
    assert error(outcome.images, x) < 1e-6
    whole = Regression(reach=0).run(view, rng=Stream(0))
    assert error(whole.images, x) > 1e-3
    assert whole.diagnostics["left_out_mse"] > outcome.diagnostics["left_out_mse"]


@pytest.mark.parametrize(
    ("client", "shape"),
    [
        (nn.Conv2d(3, 6, 5), (3, 11, 15)),
        (nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.MaxPool2d(3)), (1, 17, 9)),
        (nn.Conv1d(2, 4, 5, stride=2), (2, 31)),
        (nn.Flatten(), (1, 13)),
        (nn.Identity(), (7,)),
    ],
)
def test_shapes_of_all_kinds_are_regressed(client: nn.Module, shape: tuple[int, ...]) -> None:
    g = seeded(8)
    x, aux = (torch.rand(n, *shape, generator=g) for n in (5, 30))
    guess = Regression().run(view_of(QueryView, client, x, aux), rng=Stream(0)).images
    assert guess.shape == x.shape
    assert error(guess, x) < 1.1 * error(aux.mean(0).expand_as(x), x)


def test_a_window_must_fit() -> None:
    flat = view_of(QueryView, nn.Flatten(), digits(3), digits(20))
    for reach, view in (
        (3, flat),
        (2, view_of(QueryView, conv_client(), digits(3), digits(9))),
    ):
        with pytest.raises(SpecError, match="must be odd"):
            Regression(reach=reach).run(view, rng=Stream(0))


def test_the_error_along_random_directions_is_about_that_of_all_outputs() -> None:
    features, outputs = problem(*PRIMAL, outputs=400)
    ridge = Ridge(features, outputs)
    some = torch.randn(400, 200, generator=seeded(5), dtype=torch.float64)
    some = some / some.norm(dim=0)
    assert ridge.left_out_error(1.0, some) == pytest.approx(ridge.left_out_error(1.0), rel=0.1)


@pytest.mark.parametrize("draws", [1, 4])
def test_it_reaches_the_linear_gaussian_optimum_and_does_not_beat_it(draws: int) -> None:
    root, a, sigma, optimal = gaussian_channel()
    g = seeded(2)
    aux, fresh = (torch.randn(n, 6, generator=g) @ root.T for n in (4000, 50_000))
    view = view_of(QueryView, noisy(lambda x: x @ a.T, sigma), fresh, aux)
    guess = Regression(draws=draws).run(view, rng=Stream(0)).images
    best = (view.smashed[0] @ optimal.T - fresh).square().mean(1)
    excess = (guess - fresh).square().mean(1) - best
    assert float(excess.mean()) < 0.02 * gaussian_minimum()
    assert float(excess.mean()) > -3 * float(excess.std()) / len(excess) ** 0.5


def test_the_scalar_gaussian_regression_is_one_half() -> None:
    g = seeded(3)
    aux, x = torch.randn(20_000, 1, generator=g), torch.tensor([[-1.0], [0.0], [2.0]])
    view = view_of(QueryView, noisy(nn.Identity(), 1.0), x, aux)
    guess = Regression().run(view, rng=Stream(0)).images
    assert torch.allclose(guess, view.smashed[0] / 2, atol=0.03)


def test_averaged_releases_are_met_with_averaged_releases() -> None:
    g = seeded(4)
    aux, x = torch.randn(20_000, 1, generator=g), torch.tensor([[-1.0], [0.0], [2.0]])
    view = view_of(QueryView, noisy(nn.Identity(), 1.0), x, aux, repeats=3)
    guess = Regression().run(view, rng=Stream(0)).images
    assert torch.allclose(guess, view.smashed.mean(0) * 3 / 4, atol=0.03)  # noise of variance 1/3


def test_a_linear_client_is_inverted_and_a_silent_one_gives_the_mean_image() -> None:
    x, aux = digits(20), digits(400)[20:]
    outcome = Regression().run(view_of(QueryView, nn.Flatten(), x, aux), rng=Stream(0))
    assert error(outcome.images, x) < 1e-6
    silent = view_of(QueryView, lambda v: torch.ones(len(v), 3), x, aux)
    guess = Regression().run(silent, rng=Stream(0)).images
    assert torch.allclose(guess, aux.mean(0).expand_as(x), atol=1e-6)


@pytest.mark.parametrize("reach", [0, 3])
def test_shuffled_pairs_give_no_more_than_the_mean_image(reach: int) -> None:
    x, aux, client = digits(100), digits(900)[100:], conv_client()
    shuffled = seeded(6)

    def mixed(v: Tensor) -> Tensor:
        """Answers queries of more than a hundred samples (aux) in another order."""
        sent: Tensor = client(v if len(v) <= 100 else v[torch.randperm(len(v), generator=shuffled)])
        return sent

    view = view_of(QueryView, mixed, x, aux)
    mean = aux.mean(0).expand_as(x)
    guess = Regression(reach=reach).run(view, rng=Stream(0)).images
    assert error(guess, mean) < 0.02 * error(mean, x)


def test_the_weight_follows_the_noise_and_is_told() -> None:
    x, aux = digits(20), digits(300)[20:]

    def outcome(std: float) -> Reconstruction:
        view = view_of(QueryView, noisy(conv_client(), std), x, aux)
        return Regression(reach=0).run(view, rng=Stream(0))

    found = [outcome(std) for std in (0.0, 0.3, 1000.0)]
    weights = [float(one.tuned["weight"]) for one in found]
    assert weights == sorted(set(weights))
    mean = aux.mean(0).expand_as(x)
    assert error(found[-1].images, mean) < 0.02 * error(mean, x)
    view = view_of(QueryView, conv_client(), x, aux)
    assert Regression(reach=0, weight=1.0).run(view, rng=Stream(0)).tuned == {}


def test_only_stochastic_releases_are_drawn_again() -> None:
    x, aux, client = digits(5), digits(105)[5:], conv_client()
    quiet = view_of(QueryView, client, x, aux, repeats=2)
    Regression(draws=3).run(quiet, rng=Stream(0))
    assert quiet.release.queries == 2 * 8 + 2 * 100
    loud = view_of(QueryView, noisy(client, 0.1), x, aux, repeats=2)
    Regression(draws=3).run(loud, rng=Stream(0))
    assert loud.release.queries == 2 * 8 + 3 * 2 * 100


def test_more_draws_help_against_noise() -> None:
    x, aux = digits(200), digits(400)[200:]

    def reached(draws: int) -> float:
        view = view_of(QueryView, noisy(conv_client(), 0.3), x, aux)
        return error(Regression(reach=0, draws=draws).run(view, rng=Stream(0)).images, x)

    assert reached(8) < 0.9 * reached(1)


def test_large_problems_use_a_part_of_aux(monkeypatch: pytest.MonkeyPatch) -> None:
    view = view_of(QueryView, conv_client(), digits(3), digits(200))
    everything = Regression(reach=0).run(view, rng=Stream(0)).images
    with monkeypatch.context() as patch:
        patch.setattr(regression, "RANK", 64)
        decomposed = Regression(reach=0).run(view, rng=Stream(0)).images
    view.release.queries = 0
    monkeypatch.setattr(regression, "ENTRIES", 64 * 512)
    held = Regression(reach=0).run(view, rng=Stream(0)).images
    assert view.release.queries == 2 * 8 + 64
    assert torch.allclose(decomposed, held, atol=1e-5)
    assert not torch.allclose(everything, held, atol=1e-2)


def test_it_needs_something_to_learn_from() -> None:
    view = view_of(QueryView, conv_client(), digits(3), digits(1))
    with pytest.raises(SpecError, match="at least 2 aux samples"):
        Regression().run(view, rng=Stream(0))
