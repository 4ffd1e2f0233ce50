"""Reconstruction attacks against cases whose answers are known in closed form."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from sltoolkit.attacks.reconstruction.decoder import Decoder, DecoderView
from sltoolkit.attacks.reconstruction.whitebox import WhiteBox, WhiteBoxView, observe
from sltoolkit.contracts import Defense, Task
from sltoolkit.errors import SpecError, ThreatModelError
from sltoolkit.models.inverse import decode, fit_inverse, inverse_error, inverse_network
from sltoolkit.outcomes import Reconstruction
from sltoolkit.rehearsal import rehearse, staged
from sltoolkit.streams import Stream
from sltoolkit.threat import Aux, Release
from sltoolkit.turns import Turn


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def digits(n: int) -> Tensor:
    """Real 8x8 digits, (n, 1, 8, 8) in [0, 1]."""
    return torch.tensor(load_digits().images[:n], dtype=torch.float32)[:, None] / 16


def orthogonal(rows: int, columns: int, seed: int) -> Tensor:
    q: Tensor = torch.linalg.qr(torch.randn(columns, columns, generator=seeded(seed)).double())[0]
    return q[:rows]


def linear_client(weight: Tensor) -> nn.Module:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False).double()
    layer.weight.data.copy_(weight)
    return nn.Sequential(nn.Flatten(), layer)


def conv_client(seed: int = 0) -> nn.Sequential:
    with Stream(seed).scope():
        return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU()).eval()


def task_of(x: Tensor, smashed: Tensor) -> Task:
    return Task(input_shape=tuple(x.shape[1:]), smashed_shape=tuple(smashed.shape[2:]), classes=10)


def whitebox_view(
    client: nn.Module,
    x: Tensor,
    *,
    aux: Tensor | None = None,
    release: Callable[[Tensor], Tensor] | None = None,
    repeats: int = 1,
    mechanism: Callable[[Stream], Defense] | None = None,
) -> WhiteBoxView:
    oracle = Release(release or client)
    smashed = oracle(x, repeats=repeats)
    return WhiteBoxView(
        smashed=smashed,
        client_weights=client,
        task=task_of(x, smashed),
        aux=None if aux is None else Aux(x=aux, y=torch.zeros(len(aux), dtype=torch.int64)),
        release=None if aux is None else oracle,
        mechanism=mechanism,
    )  # fmt: skip


def images(attack: WhiteBox, view: WhiteBoxView) -> Tensor:
    return attack.run(view, rng=Stream(1)).images


def error(guess: Tensor, truth: Tensor) -> float:
    return float((guess - truth).square().mean())


# -- the white box ------------------------------------------------------------------------------


def test_an_orthogonal_client_hides_nothing() -> None:
    x = digits(8).double()
    view = whitebox_view(linear_client(orthogonal(64, 64, 0)), x)
    assert error(images(WhiteBox(tv_weight=0.0), view), x) < 1e-6


def test_gradient_descent_from_zero_finds_the_minimum_norm_solution() -> None:
    spectrum = torch.linspace(1, 2, 6).double()[:, None]
    weight = orthogonal(6, 6, 1) @ (spectrum * orthogonal(6, 16, 2))
    x = torch.randn(5, 1, 4, 4, generator=seeded(3)).double()
    view = whitebox_view(linear_client(weight), x)
    descent = WhiteBox(
        tv_weight=0.0, optimizer="sgd", start="zero", box=False, lr=1.2, steps=300
    )  # stable: the loss has curvature 2/6 * 4
    expected = (torch.linalg.pinv(weight) @ weight @ x.flatten(1).T).T
    assert torch.allclose(images(descent, view).flatten(1), expected, atol=1e-8)
    assert error(expected, x.flatten(1)) > 0.1  # ten of sixteen directions are lost


def test_the_final_objective_is_at_most_that_of_the_truth() -> None:
    x, client, weight = digits(8), conv_client(), 1e-3
    view = whitebox_view(client, x, aux=digits(100)[50:])
    outcome = WhiteBox(tv_weight=weight).run(view, rng=Stream(0))

    def objective(guess: Tensor) -> float:
        dy = guess[..., 1:, :-1] - guess[..., :-1, :-1]
        dx = guess[..., :-1, 1:] - guess[..., :-1, :-1]
        variation = (dx.square() + dy.square() + 1e-6).sqrt().mean()
        with torch.no_grad():
            feature = (client(guess) - client(x)).square().mean()
        return float(feature + weight * variation)

    assert objective(outcome.images) <= objective(x) + 1e-6
    with torch.no_grad():
        feature = (client(outcome.images) - client(x)).square().mean()
    assert outcome.diagnostics["feature_loss"] == pytest.approx(float(feature), rel=1e-3)


@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_targets_attacked_together_fare_as_they_do_alone(chunk: int) -> None:
    x, client = digits(4), nn.Sequential(conv_client(), nn.BatchNorm2d(8), nn.MaxPool2d(2))
    attack = WhiteBox(tv_weight=1e-3, steps=100)
    together = images(replace(attack, chunk=chunk), whitebox_view(client.eval(), x))
    alone = torch.cat([images(attack, whitebox_view(client, one[None])) for one in x])
    each, single = ((g - x).square().mean((1, 2, 3)) for g in (together, alone))
    assert torch.allclose(each, single, rtol=1e-2, atol=0)


def test_the_victims_network_is_left_as_it_was() -> None:
    client = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()
    before = {k: v.clone() for k, v in client.state_dict().items()}
    images(WhiteBox(steps=3, tv_weight=0.0), whitebox_view(client.eval(), digits(4)))
    client.train()
    after = client.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert all(p.grad is None and p.requires_grad for p in client.parameters())


def test_channels_that_were_withheld_are_left_out_of_the_loss() -> None:
    x, client = digits(8), conv_client()[0]
    generator = seeded(5)

    def pruned(inputs: Tensor) -> Tensor:
        kept = torch.rand(len(inputs), 8, 1, 1, generator=generator) < 0.6
        sent: Tensor = client(inputs) * kept
        return sent

    view = whitebox_view(client, x, aux=digits(200)[100:], release=pruned)
    attack = WhiteBox(tv_weight=0.0)
    deaf = replace(view, aux=None, release=None, smashed=view.smashed + 1e-9)  # no zero to see
    assert error(images(attack, deaf), x) > 0.01
    assert error(images(attack, view), x) < 1e-3


def test_releases_with_different_masks_are_merged_channel_by_channel() -> None:
    z = torch.arange(1.0, 7).reshape(1, 1, 3, 2, 1)
    mask = torch.tensor([[1.0, 0, 0], [1, 1, 0]]).reshape(2, 1, 3, 1, 1)
    merged, sent = observe(z * mask, masked=True)
    assert sent.flatten().tolist() == [1, 1, 0]
    assert merged.flatten().tolist() == [1, 2, 3, 4, 0, 0]
    merged, sent = observe(z * mask, masked=False)
    assert sent.flatten().tolist() == [1, 1, 1]
    assert merged.flatten().tolist() == [1, 2, 1.5, 2, 0, 0]


def clip(z: Tensor) -> Tensor:
    """Every target's smashed data shortened to a length of 2, which they all exceed."""
    length: Tensor = z.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
    return z * (2 / length)


class Clipped(Defense):
    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        return clip(z)


def test_rehearsal_finds_that_a_clipped_release_needs_the_clipped_model() -> None:
    x, client = digits(8), conv_client()

    view = whitebox_view(
        client,
        x,
        aux=digits(200)[100:],
        release=lambda v: clip(client(v)),
        mechanism=lambda _: Clipped(),
    )
    attack = WhiteBox(steps=100, tv_weight=0.0)
    outcome = attack.run(view, rng=Stream(0))
    assert outcome.tuned == {"forward": "mechanism"}
    naive = images(replace(attack, forward="client"), view)
    assert error(outcome.images, x) < 0.5 * error(naive, x)


def test_what_was_tuned_reproduces_the_attack_and_owes_nothing_to_the_targets() -> None:
    client, aux = conv_client(), digits(120)[40:]
    attack = WhiteBox(steps=20)
    first = attack.run(whitebox_view(client, digits(8), aux=aux), rng=Stream(0))
    other = attack.run(whitebox_view(client, 1 - digits(8), aux=aux), rng=Stream(0))
    assert set(first.tuned) == {"tv_weight", "forward"}
    assert first.tuned == other.tuned
    chosen: dict[str, Any] = dict(first.tuned)
    fixed = replace(attack, **chosen)
    again = fixed.run(whitebox_view(client, digits(8), aux=aux), rng=Stream(0))
    assert again.tuned == {}
    assert torch.equal(again.images, first.images)


def test_a_noisy_release_is_met_with_more_smoothing() -> None:
    client, aux = conv_client(), digits(120)[40:]

    def chosen(std: float) -> float:
        noise = seeded(0)

        def noisy(inputs: Tensor) -> Tensor:
            z: Tensor = client(inputs)
            return z + std * torch.randn(z.shape, generator=noise)

        view = whitebox_view(client, digits(8), aux=aux, release=noisy)
        return float(WhiteBox(steps=50).run(view, rng=Stream(0)).tuned["tv_weight"])

    assert chosen(0.0) < chosen(0.5)


def test_a_mechanism_that_is_not_granted_cannot_be_descended_through() -> None:
    with pytest.raises(ThreatModelError, match="grant mechanism"):
        images(WhiteBox(forward="mechanism"), whitebox_view(conv_client(), digits(2)))


# -- rehearsal ----------------------------------------------------------------------------------


def best_of(candidates: list[WhiteBox], view: WhiteBoxView) -> WhiteBox:
    """What a rehearsal of these candidates chooses."""
    stage = staged(view, Stream(0))
    assert stage is not None
    return rehearse(candidates, *stage, rng=Stream(1))


def test_tune_takes_the_candidate_with_the_least_error_on_own_samples() -> None:
    view = whitebox_view(conv_client(), digits(4), aux=digits(60)[20:])
    steps = [WhiteBox(steps=s, tv_weight=0.0) for s in (1, 80, 5)]
    assert best_of(steps, view) is steps[1]


def test_tune_never_prefers_a_diverged_candidate() -> None:
    view = whitebox_view(conv_client(), digits(4), aux=digits(60)[20:])
    wild = WhiteBox(steps=60, tv_weight=0.0, optimizer="sgd", lr=1e6, box=False)
    assert not torch.isfinite(images(wild, view)).all()
    calm = WhiteBox(steps=1, tv_weight=0.0)
    assert best_of([wild, calm], view) is calm


def test_who_has_nothing_to_rehearse_on_takes_the_first_candidate() -> None:
    view = whitebox_view(conv_client(), digits(4))
    assert WhiteBox().tune(view, rng=Stream(0)) == WhiteBox().candidates(view)[0]
    assert WhiteBox(steps=2).run(view, rng=Stream(0)).tuned == {}


def test_a_rehearsal_needs_two_samples() -> None:
    view = whitebox_view(conv_client(), digits(4), aux=digits(1))
    with pytest.raises(SpecError, match="at least 2 aux samples"):
        WhiteBox().tune(view, rng=Stream(0))


# -- the decoder --------------------------------------------------------------------------------


def test_the_scalar_gaussian_decoder_is_one_half() -> None:
    with Stream(0).scope():
        x = torch.randn(4000, 1)
        line = nn.Linear(1, 1)  # Sigma = A = sigma = 1: the optimum is W = 1/2 with error 1/2
        fit_inverse(lambda _: x + torch.randn_like(x), x, network=line, epochs=20)
        fresh = torch.randn(100_000, 1)
        reached = inverse_error(line, fresh + torch.randn_like(fresh), fresh)
    assert abs(line.weight.item() - 0.5) < 0.03
    assert abs(reached - 0.5) < 0.02 * 0.5 + 0.005


def gaussian_channel() -> tuple[Tensor, Tensor, float, Tensor]:
    """Sigma (6, 6), A (4, 6), sigma, and the optimal decoder (6, 4)."""
    root = torch.randn(6, 6, generator=seeded(0)) / 6**0.5
    covariance, a, sigma = root @ root.T, torch.randn(4, 6, generator=seeded(1)), 0.5
    gain = a @ covariance @ a.T + sigma**2 * torch.eye(4)
    return root, a, sigma, covariance @ a.T @ torch.linalg.inv(gain)


def test_decoders_reach_the_linear_gaussian_optimum_and_do_not_beat_it() -> None:
    root, a, sigma, optimal = gaussian_channel()
    covariance = root @ root.T
    minimum = float(torch.trace(covariance - optimal @ a @ covariance)) / 6
    with Stream(0).scope():
        x, fresh = torch.randn(8000, 6) @ root.T, torch.randn(50_000, 6) @ root.T

        def heard(inputs: Tensor) -> Tensor:
            return inputs @ a.T + sigma * torch.randn(len(inputs), 4)

        line = fit_inverse(lambda _: heard(x), x, network=nn.Linear(4, 6), epochs=15)
        curve = fit_inverse(lambda _: heard(x), x, epochs=5)
        z = heard(fresh)
    assert inverse_error(line, z, fresh) < 1.02 * minimum
    best = (z @ optimal.T - fresh).square().mean(1)
    assert abs(float(best.mean()) - minimum) < 0.02 * minimum  # the closed form itself
    excess = (decode(curve, z) - fresh).square().mean(1) - best
    assert float(excess.mean()) > -3 * float(excess.std()) / len(excess) ** 0.5
    assert float(excess.mean()) < 0.1 * minimum


def decoder_view(client: nn.Module, x: Tensor, aux: Tensor, *, repeats: int = 1) -> DecoderView:
    release = Release(client)
    smashed = release(x, repeats=repeats)
    release.queries = 0
    return DecoderView(
        smashed=smashed,
        release=release,
        aux=Aux(x=aux, y=torch.zeros(len(aux), dtype=torch.int64)),
        task=task_of(x, smashed),
    )  # fmt: skip


def test_the_decoder_beats_the_mean_image_and_shuffled_pairs_do_not() -> None:
    x, aux, client = digits(100), digits(900)[100:], conv_client()
    mean = aux.mean(0, keepdim=True).expand_as(x)
    view = decoder_view(client, x, aux)
    assert error(Decoder(epochs=5).run(view, rng=Stream(0)).images, x) < 0.1 * error(mean, x)
    with torch.no_grad(), Stream(0).scope():
        z, sent = client(aux), client(x)
        mixed = aux[torch.randperm(len(aux))]
    with Stream(1).scope():
        prior = decode(fit_inverse(z, mixed, epochs=5), sent)
    assert error(prior, mean) < 0.02 * error(mean, x)
    assert error(prior, x) > 0.9 * error(mean, x)


def test_every_epoch_is_trained_on_a_fresh_release() -> None:
    view = decoder_view(conv_client(), digits(4), digits(100), repeats=3)
    Decoder(epochs=2, width=4).run(view, rng=Stream(0))
    assert view.release.queries == 3 * (10 + 2 * 90)


def test_the_decoder_needs_something_to_learn_from() -> None:
    with pytest.raises(SpecError, match="at least 3 aux samples"):
        Decoder().run(decoder_view(conv_client(), digits(4), digits(2)), rng=Stream(0))


@pytest.mark.parametrize(
    ("smashed", "image"),
    [
        ((8, 24, 24), (1, 28, 28)),
        ((16, 8, 8), (1, 28, 28)),
        ((64, 8, 8), (3, 32, 32)),
        ((8, 27, 25), (3, 25, 23)),
        ((5, 1, 1), (1, 8, 8)),
        ((120,), (3, 25, 25)),
        ((4, 3, 3), (7,)),
        ((4,), (6,)),
    ],
)
def test_inverse_networks_fit_any_shapes(smashed: tuple[int, ...], image: tuple[int, ...]) -> None:
    with Stream(0).scope():
        network = inverse_network(smashed, image, width=4)
        out = network(torch.randn(3, *smashed))
    assert tuple(out.shape) == (3, *image)
    assert len(image) == 1 or (out.min() >= 0 and out.max() <= 1)


def test_an_inverse_network_refuses_other_shapes() -> None:
    with pytest.raises(SpecError, match="inverse network"):
        inverse_network((4, 4), (1, 8, 8))


def test_the_epoch_that_does_best_on_held_out_pairs_is_kept() -> None:
    x = torch.randn(200, 2, generator=seeded(0))
    network = nn.Linear(2, 2)
    seen: list[float] = []

    def pairs(epoch: int) -> Tensor:
        if epoch:
            seen.append(inverse_error(network, x, x))
        return x if epoch < 3 else -x  # from the fourth epoch on the pairs are wrong

    with Stream(0).scope():
        network.reset_parameters()
        fit_inverse(pairs, x, network=network, epochs=6, lr=0.1, held_out=(x, x))
    assert inverse_error(network, x, x) == min(seen)
    assert seen[-1] > min(seen)


def test_reconstructions_are_deterministic_per_stream() -> None:
    view = decoder_view(conv_client(), digits(4), digits(60))
    attack = Decoder(epochs=2, width=4)
    first, second, other = (attack.run(view, rng=Stream(s)) for s in (0, 0, 1))
    assert isinstance(first, Reconstruction)
    assert torch.equal(first.images, second.images)
    assert not torch.equal(first.images, other.images)
