"""Random pruning: which channels are zero, and that all channels are pruned equally often."""

import math

import pytest
import torch
from support.defense_checks import check_nothing_changes, check_pruned_channels, check_refused
from support.defense_inputs import PHASES, SHAPES, randn, turn_for

from sltoolkit.defenses import RandomPruning
from sltoolkit.wire.turn import PhaseName

pytestmark = pytest.mark.golden


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


@pytest.mark.parametrize("bad", [{"ratio": 1.0}, {"ratio": -0.1}])
def test_impossible_hyper_parameters_are_refused(bad: dict[str, float]) -> None:
    check_refused(RandomPruning, bad)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("shape", SHAPES)
def test_pruned_channels_are_exactly_positive_zero_and_the_others_untouched(
    shape: tuple[int, ...], phase: PhaseName
) -> None:
    check_pruned_channels(RandomPruning(ratio=0.5), shape, phase)


def test_at_strength_zero_nothing_changes() -> None:
    check_nothing_changes(RandomPruning(ratio=0.0))
