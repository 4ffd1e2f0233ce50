"""Each defense is seen to act: on the shapes, sizes and phases in which it is used."""

import math
from typing import Any

import pytest
import torch
from support.defense_inputs import PHASES, SHAPES, begun, images, randn, turn_for
from torch import Tensor

from sltoolkit.contracts.chain import Chain
from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.defenses import (
    DEFENSES,
    DISCO,
    DPActivations,
    GaussianNoise,
    LaplaceNoise,
    NoPeek,
    RandomPruning,
)
from sltoolkit.defenses.smashed._channels import pruned_count
from sltoolkit.errors import SpecError
from sltoolkit.wire.turn import PhaseName, Turn

pytestmark = pytest.mark.golden


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("batch", [0, 1, 5])
@pytest.mark.parametrize("name", sorted(DEFENSES))
def test_what_is_sent_keeps_shape_precision_and_the_given_tensor(
    name: str, batch: int, shape: tuple[int, ...], phase: PhaseName
) -> None:
    defense = begun(DEFENSES[name].smoke(), shape)
    z, x = randn(batch, *shape), images(batch)
    before = z.clone()
    turn = turn_for(x, phase)
    sent = defense.smash(z, turn)
    defense.client_loss(sent, turn)
    defense.step(turn)
    assert sent.shape == z.shape
    assert sent.dtype == z.dtype
    assert torch.equal(z, before)


@pytest.mark.parametrize("name", sorted(DEFENSES))
def test_class_facts_are_declared(name: str) -> None:
    kind = DEFENSES[name]
    assert kind.citation
    assert kind.strength in vars(kind()) or kind is NoDefense


@pytest.mark.parametrize("name", sorted(set(DEFENSES) - {"none", "nopeek"}))
def test_evidence_shows_that_the_release_differs(name: str) -> None:
    defense = begun(DEFENSES[name].smoke(), (6, 4, 4))
    z = randn(5, 6, 4, 4)
    with torch.no_grad():
        sent = defense.smash(z, turn_for(images(5), "release"))
    assert defense.evidence(z[None], sent[None])["changed_rms"] > 0.01


BAD: list[tuple[type[Any], dict[str, float]]] = [
    (GaussianNoise, {"std": -0.1}),
    (GaussianNoise, {"std": math.nan}),
    (LaplaceNoise, {"scale": -1.0}),
    (LaplaceNoise, {"scale": math.inf}),
    (DPActivations, {"epsilon": 0.0}),
    (DPActivations, {"delta": 1.0}),
    (DPActivations, {"clip": 0.0}),
    (RandomPruning, {"ratio": 1.0}),
    (RandomPruning, {"ratio": -0.1}),
    (NoPeek, {"weight": -1.0}),
    (DISCO, {"ratio": 1.0}),
    (DISCO, {"alpha": 1.5}),
    (DISCO, {"lr": 0.0}),
    (DISCO, {"width": 0}),
]


@pytest.mark.parametrize(("kind", "bad"), BAD)
def test_impossible_hyper_parameters_are_refused(kind: type[Any], bad: dict[str, float]) -> None:
    (name,) = bad
    with pytest.raises(SpecError, match=rf"{kind.__name__}: {name} must be"):
        kind(**bad)


NOISY = [
    (GaussianNoise(std=0.3), 0.3, 3.0),
    (LaplaceNoise(scale=0.3), 0.3 * math.sqrt(2), 6.0),
]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(("defense", "std", "kurtosis"), NOISY)
def test_noise_has_the_stated_law(
    defense: Defense, std: float, kurtosis: float, phase: PhaseName
) -> None:
    z = randn(400, 500)
    noise = (defense.smash(z, turn_for(z, phase)) - z).double()
    n = noise.numel()
    assert abs(float(noise.mean())) < 5 * std / math.sqrt(n)
    # the variance of a sample variance is (kurtosis - 1) var^2 / n
    assert float(noise.var()) == pytest.approx(std**2, rel=5 * math.sqrt((kurtosis - 1) / n))
    assert float(((noise / std) ** 4).mean()) == pytest.approx(kurtosis, rel=0.05)


@pytest.mark.parametrize("defense", [GaussianNoise(), LaplaceNoise(), DPActivations()])
def test_noise_is_fresh_per_call_and_the_same_for_the_same_stream(defense: Defense) -> None:
    z = randn(4, 10)
    turn = turn_for(z)
    first, second = defense.smash(z, turn), defense.smash(z, turn)
    assert not torch.equal(first, second)
    assert torch.equal(first, defense.smash(z, turn_for(z)))
    assert not torch.equal(first, defense.smash(z, turn_for(z, seed=1)))


@pytest.mark.parametrize("defense", [GaussianNoise(std=0.2), LaplaceNoise(scale=0.2)])
def test_noise_evidence_measures_the_std_and_not_the_signal(defense: Defense) -> None:
    z = 100 * randn(300, 300)
    sent = defense.smash(z, turn_for(z, "release"))
    want = 0.2 * (math.sqrt(2) if isinstance(defense, LaplaceNoise) else 1)
    got = defense.evidence(z[None], sent[None])["noise_std"]
    assert got == pytest.approx(want, rel=0.02)


def test_heuristic_defenses_claim_no_guarantee() -> None:
    for name in sorted(set(DEFENSES) - {"dp_activations"}):
        assert DEFENSES[name].smoke().guarantee(releases=1, delta=1e-5) is None


def test_pruned_count_rounds_down_but_not_the_error_of_the_product() -> None:
    assert [pruned_count(r, c) for r, c in [(0.29, 100), (0.65, 8), (0.99, 8), (0.0, 5)]] == [
        29, 5, 7, 0,
    ]  # fmt: skip


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [RandomPruning, DISCO])
def test_pruned_channels_are_exactly_positive_zero_and_the_others_untouched(
    kind: type[Any], shape: tuple[int, ...], phase: PhaseName
) -> None:
    defense = begun(kind(ratio=0.5), shape)
    z = randn(7, *shape)
    with torch.no_grad():
        sent = defense.smash(z, turn_for(images(7), phase))
    zero = sent == 0
    per_channel = zero.unsqueeze(-1).flatten(2)
    pruned = per_channel.all(2)
    assert torch.equal(pruned, per_channel.any(2))
    assert (pruned.sum(1) == shape[0] // 2).all()
    assert not torch.signbit(sent[zero]).any()  # a -0.0 would give away the sign of z
    assert torch.equal(sent[~zero], z[~zero])


def test_random_masks_are_shared_by_a_batch_fresh_per_batch_and_fair() -> None:
    defense, z = RandomPruning(ratio=0.25), torch.ones(3, 8)
    turn = turn_for(z)
    masks = torch.stack([defense.smash(z, turn) for _ in range(2000)])
    assert torch.equal(masks, masks[:, :1].expand_as(masks))
    kept = masks[:, 0].mean(0)
    assert (kept - 0.75).abs().max() < 5 * math.sqrt(0.75 * 0.25 / 2000)


def test_pruning_evidence_counts_zero_channels_as_sent_and_before() -> None:
    z = randn(5, 8, 3, 3)
    z[:, 0] = 0
    z[:, 1, 0] = 0  # a part of a channel doesn't count
    defense = RandomPruning(ratio=0.5)
    sent = z.clone()
    sent[:, :4] = 0
    evidence = defense.evidence(z[None], sent[None])
    assert (evidence["zero_channels"], evidence["zero_channels_clean"]) == (0.5, 0.125)


class Recorder(Defense):
    """Appends a digit at every seam."""

    def __init__(self, digit: int, refuses: bool = False) -> None:
        self.digit, self.refuses = digit, refuses

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        return 10 * z + self.digit

    def receive(self, g: Tensor, turn: Turn) -> Tensor | None:
        return None if self.refuses else 10 * g + self.digit

    def client_loss(self, z: Tensor, turn: Turn) -> Tensor | None:
        return self.digit * z.sum()


def test_a_chain_sends_in_order_receives_in_reverse_and_adds_losses() -> None:
    chain, z = Chain(Recorder(1), Recorder(2)), torch.zeros(1, 1)
    turn = turn_for(z)
    assert chain.smash(z, turn).item() == 12
    got = chain.receive(z, turn)
    assert got is not None
    assert got.item() == 21
    loss = chain.client_loss(torch.ones(1, 5), turn)
    assert loss is not None
    assert loss.item() == 15
    assert Chain(NoDefense(), GaussianNoise()).client_loss(z, turn) is None


@pytest.mark.parametrize("refusing", [0, 1])
def test_a_refusal_of_one_link_is_the_refusal_of_the_chain(refusing: int) -> None:
    chain = Chain(*(Recorder(i, refuses=i == refusing) for i in range(2)))
    assert chain.receive(torch.zeros(1, 1), turn_for(torch.zeros(1))) is None


def test_links_of_a_chain_draw_different_noise() -> None:
    z = torch.zeros(200, 200)
    sent = Chain(GaussianNoise(std=1.0), GaussianNoise(std=1.0)).smash(z, turn_for(z))
    assert float(sent.std()) == pytest.approx(math.sqrt(2), rel=0.02)  # 2 with equal noise


def test_what_one_link_draws_never_shifts_anothers_noise() -> None:
    z = torch.zeros(4, 10)
    quiet, drawing = (
        Chain(first, GaussianNoise()).smash(z, turn_for(z))
        for first in (NoDefense(), GaussianNoise(std=0.0))
    )
    assert torch.equal(quiet, drawing)


def test_a_chain_keeps_the_guarantee_of_its_private_link() -> None:
    chain = Chain(NoPeek(), DPActivations(epsilon=2.0), RandomPruning())
    guarantee = chain.guarantee(releases=1, delta=1e-5)
    assert guarantee is not None
    assert guarantee.epsilon == pytest.approx(2.0, rel=1e-6)


@pytest.mark.parametrize(
    "nothing", [GaussianNoise(std=0.0), LaplaceNoise(scale=0.0), RandomPruning(ratio=0.0), Chain()]
)
def test_at_strength_zero_nothing_changes(nothing: Defense) -> None:
    z = randn(3, 6, 4, 4)
    assert torch.equal(nothing.smash(z, turn_for(z)), z)
    assert nothing.client_loss(z, turn_for(z)) is None
