"""Which client holds which samples: tests of every partition, and how much clients differ."""

import math
from collections import Counter
from typing import Any

import pytest
import torch
from support.toys import split
from torch import Tensor

from sltoolkit.data.partition import (
    PARTITIONS,
    Dealt,
    DirichletLabels,
    Partition,
    Shards,
    ShuffleSplit,
    WithReplacement,
    class_counts,
    deal,
    heterogeneity,
)
from sltoolkit.data.samples import Samples
from sltoolkit.errors import DataError, ProtocolError, SpecError
from sltoolkit.report.histograms import class_histograms
from sltoolkit.streams import Stream

N, CLASSES = 1000, 10
LABELS = torch.arange(N) % CLASSES
DISJOINT = [Dealt(), ShuffleSplit(), DirichletLabels(alpha=0.5), Shards()]
named = pytest.mark.parametrize("partition", DISJOINT, ids=lambda p: type(p).__name__)


def hands(partition: Partition, clients: int = 10, seed: int = 0) -> list[Tensor]:
    return partition.indices(LABELS, clients, Stream(seed))


def mixtures(partition: Partition, seed: int = 0) -> list[Tensor]:
    return [LABELS[hand] for hand in hands(partition, seed=seed)]


def samples(n: int = 12) -> Samples:
    ids = torch.arange(n)
    return Samples(x=torch.rand(n, 3), y=ids % 3, ids=ids, groups=ids)


@named
@pytest.mark.parametrize("clients", [1, 7, 10])
def test_every_sample_has_one_holder(partition: Partition, clients: int) -> None:
    held = torch.cat(hands(partition, clients))
    assert Counter(held.tolist()) == Counter(range(N))


@named
def test_a_partition_repeats_with_its_seed(partition: Partition) -> None:
    one, again, other = (torch.cat(hands(partition, seed=s)) for s in (0, 0, 1))
    assert torch.equal(one, again)
    assert torch.equal(one, other) == isinstance(partition, Dealt)  # dealing draws nothing


@pytest.mark.parametrize("partition", [Dealt(), ShuffleSplit()], ids=repr)
def test_equal_parts_differ_by_one_at_most(partition: Partition) -> None:
    sizes = [len(hand) for hand in hands(partition, 7)]
    assert max(sizes) - min(sizes) == 1


def test_dealing_is_what_it_always_was() -> None:
    for k, hand in enumerate(hands(Dealt(), 7)):
        assert hand.tolist() == list(range(k, N, 7))


def test_drawing_with_replacement_reaches_the_expected_share_of_the_samples() -> None:
    """1 - (1 - 1/n)^m, within four standard errors of twenty draws."""
    shares = [len(torch.cat(hands(WithReplacement(), seed=s)).unique()) / N for s in range(20)]
    expected = 1 - (1 - 1 / N) ** N
    spread = torch.tensor(shares).std().item()
    assert abs(sum(shares) / 20 - expected) < 4 * spread / math.sqrt(20)
    assert abs(expected - (1 - 1 / math.e)) < 1e-3


def test_only_with_replacement_do_clients_overlap() -> None:
    first, second, *_ = (set(hand.tolist()) for hand in hands(WithReplacement(size=400)))
    assert first & second


def test_a_large_alpha_is_iid_and_a_small_one_gives_classes_an_owner_each() -> None:
    assert heterogeneity(mixtures(DirichletLabels(alpha=1e6)), CLASSES) < 0.01
    counts = class_counts(mixtures(DirichletLabels(alpha=1e-6, least=0)), CLASSES)
    assert bool((counts.amax(0) >= 0.99 * counts.sum(0)).all())


def test_smaller_alphas_make_clients_less_alike() -> None:
    spread = [
        sum(heterogeneity(mixtures(DirichletLabels(alpha=a), s), CLASSES) for s in range(5))
        for a in (100.0, 1.0, 0.3)
    ]
    assert spread == sorted(spread)


def test_redraws_end_with_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ProtocolError, match=r"at least 5.*none of 1000 draws did: raise alpha"):
        DirichletLabels(alpha=1e-6, least=5).indices(LABELS, 20, Stream(0))


@pytest.mark.parametrize("per_client", [1, 2, 3])
def test_shards_hold_few_classes(per_client: int) -> None:
    for labels in mixtures(Shards(per_client=per_client)):
        assert len(labels.unique()) <= 2 * per_client  # a shard may lie across a boundary
    exact = [LABELS[hand] for hand in hands(Shards(per_client=2), 5)]  # ten shards, ten classes
    assert all(len(labels.unique()) == 2 for labels in exact)


def test_heterogeneity_by_hand() -> None:
    """All clients together are (1/2, 1/2), and (1, 0) and (1/4, 3/4) differ by 1/2 and 1/4."""
    clients = [torch.tensor([0, 0]), torch.tensor([0, 1, 1, 1])]
    assert heterogeneity(clients, 2) == pytest.approx((0.5 + 0.25) / 2)
    assert heterogeneity([torch.tensor([0, 1])] * 3, 2) == 0


def test_samples_stay_together_when_they_are_dealt() -> None:
    whole = samples()
    for shard in deal(whole, 3, ShuffleSplit(), Stream(1)):
        assert torch.equal(shard.x, whole.x[shard.ids])
        assert torch.equal(shard.y, whole.y[shard.ids])


def test_a_client_without_samples_is_refused() -> None:
    with pytest.raises(ProtocolError, match=r"needs at least 1 training sample.*fewer clients"):
        deal(samples(), 6, DirichletLabels(alpha=1e-6, least=0), Stream(0))
    for clients in (0, 13):
        with pytest.raises(ProtocolError, match=f"{clients} clients can't share 12"):
            deal(samples(), clients, Dealt(), Stream(0))
    with pytest.raises(ProtocolError, match="need at least 14 training samples"):
        deal(samples(), 7, Shards(), Stream(0))


def test_impossible_parameters_are_refused() -> None:
    for make in (
        lambda: DirichletLabels(alpha=0.0), lambda: Shards(per_client=0),
        lambda: WithReplacement(size=0),
    ):  # fmt: skip
        with pytest.raises(SpecError):
            make()
    with pytest.raises(DataError, match="labels of 2 classes are 0 to 1, got 2"):
        class_counts([torch.tensor([0, 2])], 2)


def test_every_partition_is_registered() -> None:
    kinds = {Dealt, ShuffleSplit, WithReplacement, DirichletLabels, Shards}
    assert set(PARTITIONS.values()) == kinds


@pytest.mark.parametrize("clients", [5, 100])
def test_the_histograms_show_every_client(clients: int) -> None:
    labels = [LABELS[hand] for hand in hands(ShuffleSplit(), clients)]
    figure = class_histograms(class_counts(labels, CLASSES), [str(c) for c in range(CLASSES)])
    bars: Any = figure.axes[0].patches  # matplotlib types them as patches without a height
    assert [bar.get_height() for bar in bars] == [len(y) for y in labels]


@pytest.mark.parametrize("clients", [1, 5, 48])
def test_samples_are_dealt_out_completely_and_evenly(clients: int) -> None:
    whole = split().private_train
    shards = deal(whole, clients, Dealt(), Stream(0))
    assert Counter(torch.cat([s.ids for s in shards]).tolist()) == Counter(whole.ids.tolist())
    sizes = [len(s) for s in shards]
    assert max(sizes) - min(sizes) <= 1
    for shard in shards:  # rows stay together
        assert torch.equal(shard.x, whole.x[shard.ids])
        assert torch.equal(shard.y, whole.y[shard.ids])


@pytest.mark.parametrize("clients", [0, -1, 49])
def test_an_impossible_number_of_clients_is_refused(clients: int) -> None:
    with pytest.raises(ProtocolError, match=f"{clients} clients can't share 48"):
        deal(split().private_train, clients, Dealt(), Stream(0))
