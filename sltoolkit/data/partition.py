"""Dealing private training samples out to clients, and measuring how the clients then differ."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, final

import numpy as np
import torch
from torch import Tensor

from sltoolkit.data.samples import Samples
from sltoolkit.errors import DataError, ProtocolError
from sltoolkit.parameters.checking import check_parameters
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.streams import Stream

Counts = np.ndarray[Any, np.dtype[np.int64]]

REDRAWS = 1000
"""The most draws of `DirichletLabels`; at small alpha, all may leave some client too little."""


class Partition(ABC):
    """Says which client holds which samples; its dataclass fields are its parameters."""

    def __post_init__(self) -> None:
        """Refuse senseless parameters; a subclass that adds its own check calls this one, too.

        Raises:
            SpecError: saying what was expected and what was found.
        """
        check_parameters(self)

    @abstractmethod
    def indices(self, labels: Tensor, clients: int, rng: Stream) -> list[Tensor]:
        """The samples of every client.

        Args:
            labels: class indices, (N,) int64.
            clients: the number of clients K, between 1 and N.
            rng: the stream to draw from; its state advances.

        Returns:
            K index tensors into the samples, (n_k,) int64 on the CPU.

        Raises:
            ProtocolError: if the samples can't be dealt out in this way.
        """


@final
@dataclass(frozen=True, kw_only=True)
class Dealt(Partition):
    """Samples in turn, as cards are dealt: client k gets samples k, k + K, k + 2K, ...

    Source: no paper; for samples in random order it is McMahan et al. 2017's IID partition
    without a draw. Disjoint and exhaustive; sizes differ by one at most.
    """

    def indices(self, labels: Tensor, clients: int, rng: Stream) -> list[Tensor]:
        """Every K-th sample; draws nothing from `rng`."""
        return [torch.arange(k, len(labels), clients) for k in range(clients)]


@final
@dataclass(frozen=True, kw_only=True)
class ShuffleSplit(Partition):
    """A random order of the samples, cut into K parts.

    Source: the IID partition of McMahan et al. 2017, Communication-efficient learning of deep
    networks from decentralized data (AISTATS), section 3. Disjoint and exhaustive.

    Departures: (1) where K does not divide N, the first clients hold one sample more; the paper's
    numbers divide.
    """

    def indices(self, labels: Tensor, clients: int, rng: Stream) -> list[Tensor]:
        """The parts of one permutation."""
        return list(torch.randperm(len(labels), generator=rng.torch()).tensor_split(clients))


@final
@dataclass(frozen=True, kw_only=True)
class WithReplacement(Partition):
    """Every client draws its samples independently, each with the same chance.

    Source: the bootstrap samples of bagging, Breiman 1996, Bagging predictors (Machine Learning
    24), one per client. A client may hold a sample twice and share it with others; m draws in all
    reach a share 1 - (1 - 1/N)^m of the samples, in expectation.

    Departures: (1) a client draws N/K samples rather than N, so that the clients together draw as
    many as a disjoint partition would.
    """

    size: Annotated[int | None, Parameter("samples per client; None means N // K", least=1)] = None

    def indices(self, labels: Tensor, clients: int, rng: Stream) -> list[Tensor]:
        """Independent uniform draws."""
        n = len(labels)
        size = n // clients if self.size is None else self.size
        return list(torch.randint(n, (clients, size), generator=rng.torch()))


@final
@dataclass(frozen=True, kw_only=True)
class DirichletLabels(Partition):
    """Every class is shared out among the clients in proportions drawn from Dir(alpha, ..., alpha).

    Source: the per-class partition of Yurochkin et al. 2019, Bayesian nonparametric federated
    learning of neural networks (ICML), section 4, and of Li et al. 2022, Federated learning on
    non-IID data silos (ICDE), "distribution-based label imbalance". Large alpha is IID; as alpha
    goes to 0 each class has one owner. Disjoint and exhaustive; sizes differ, too. (Hsu et al.
    2019 draw the mixture of classes per *client*, of equal size: another partition.)

    Departures: (1) a class is cut at the nearest whole sample rather than at the one below, so
    that rounding favors no client; (2) the least size is a parameter, where Li et al.'s code always
    redraws until every client has 10 samples; (3) redraws are capped at `REDRAWS`; (4) no class
    share is withheld from clients that already hold N/K samples, a step of Li et al.'s code that
    the papers don't have.
    """

    alpha: Annotated[  # above about 1e307 numpy's draws underflow to nothing
        float, Parameter("concentration; 0.5 in both papers", above=0, most=1e12)
    ] = 0.5
    least: Annotated[
        int,
        Parameter(
            "samples that every client must hold; the proportions are redrawn until all do", least=0
        ),
    ] = 1

    def indices(self, labels: Tensor, clients: int, rng: Stream) -> list[Tensor]:
        """Each class cut at the cumulated proportions; a client's samples in random order."""
        _, sizes = np.unique(labels.cpu().numpy(), return_counts=True)
        counts = self._counts(sizes, clients, rng.numpy())
        pieces = _by_class(labels, rng).split(counts.flatten().tolist())
        return [_shuffled(torch.cat(pieces[k::clients]), rng) for k in range(clients)]

    def _counts(self, sizes: Counts, clients: int, rng: np.random.Generator) -> Counts:
        """Samples per class and client, (C, K), from the samples per class, (C,)."""
        whole = sizes[:, None]
        # numpy's Generator, since at small alpha its legacy sampler returns NaN, torch dense draws
        for _ in range(REDRAWS):
            shares = rng.dirichlet(np.full(clients, self.alpha), size=len(sizes))
            cuts = np.rint(shares.cumsum(axis=1)[:, :-1] * whole).astype(np.int64)
            counts = np.diff(cuts, axis=1, prepend=0, append=whole)
            if counts.sum(axis=0).min() >= self.least:
                return counts
        raise ProtocolError(
            f"a Dirichlet partition with alpha={self.alpha:g} of {sizes.sum()} samples in "
            f"{len(sizes)} classes should leave each of {clients} clients at least {self.least}, "
            f"but none of {REDRAWS} draws did: raise alpha, lower least, or give fewer clients"
        )


@final
@dataclass(frozen=True, kw_only=True)
class Shards(Partition):
    """The samples sorted by label and cut into shards, of which every client gets a few at random.

    Source: the "pathological non-IID" partition of McMahan et al. 2017, Communication-efficient
    learning of deep networks from decentralized data (AISTATS), section 3. Disjoint and
    exhaustive. A shard that is no larger than the smallest class holds one class, or two where it
    lies across a boundary.

    Departures: (1) samples of a class are shuffled before the cut, where the paper does not say;
    (2) where the number of shards does not divide N, the first shards are one larger.
    """

    per_client: Annotated[int, Parameter("shards of each client", least=1)] = 2

    def indices(self, labels: Tensor, clients: int, rng: Stream) -> list[Tensor]:
        """`per_client` shards each; a client's samples in random order."""
        total = self.per_client * clients
        if total > len(labels):
            raise ProtocolError(
                f"{clients} clients with {self.per_client} shards each need at least {total} "
                f"training samples, got {len(labels)}: give fewer clients, or fewer shards each"
            )
        shards = _by_class(labels, rng).tensor_split(total)
        hands = torch.randperm(total, generator=rng.torch()).view(clients, self.per_client)
        return [_shuffled(torch.cat([shards[i] for i in hand]), rng) for hand in hands.tolist()]


PARTITIONS: dict[str, type[Partition]] = {
    "dealt": Dealt,
    "shuffle_split": ShuffleSplit,
    "with_replacement": WithReplacement,
    "dirichlet": DirichletLabels,
    "shards": Shards,
}


def deal(samples: Samples, clients: int, partition: Partition, rng: Stream) -> list[Samples]:
    """Deal samples out to clients.

    Args:
        samples: the private training samples.
        clients: the number of clients.
        partition: which client gets which samples.
        rng: the stream whose fresh child `partition` is drawn from; equal streams deal alike.

    Returns:
        The samples of each client.

    Raises:
        ProtocolError: if there are more clients than samples, or a client would get none.
    """
    if not 1 <= clients <= len(samples):
        raise ProtocolError(
            f"{clients} clients can't share {len(samples)} training samples: "
            "give between 1 and that many clients"
        )
    hands = partition.indices(samples.y, clients, rng.fresh("partition"))
    empty = [k for k, hand in enumerate(hands) if len(hand) == 0]
    if empty:
        raise ProtocolError(
            f"every client needs at least 1 training sample, but {partition} leaves "
            f"{len(empty)} of {clients} without any of the {len(samples)} (client {empty[0]} "
            "first): give fewer clients, or choose a partition that leaves none empty"
        )
    return [samples[hand] for hand in hands]


def class_counts(labels_per_client: Sequence[Tensor], classes: int) -> Tensor:
    """The number of samples of each class that every client holds: (K, C) int64.

    Args:
        labels_per_client: class indices of each client, (n_k,) int64.
        classes: the number of classes, C.

    Raises:
        DataError: if there are no clients, or a label lies outside 0 to C - 1.
    """
    if not labels_per_client:
        raise DataError("class counts need the labels of at least 1 client, got none")
    every = torch.cat([labels.cpu() for labels in labels_per_client])
    wrong = every[(every < 0) | (every >= classes)]
    if len(wrong):
        raise DataError(
            f"labels of {classes} classes are 0 to {classes - 1}, got {int(wrong[0])}: "
            "give the number of classes of the whole data set"
        )
    return torch.stack([torch.bincount(y.cpu(), minlength=classes) for y in labels_per_client])


def heterogeneity(labels_per_client: Sequence[Tensor], classes: int) -> float:
    """How much the clients differ: 0 if all have the same mixture of classes, and always below 1.

    It is the total-variation distance (half the sum of absolute differences) between a client's
    label histogram and that of all clients' samples together, averaged over the clients. The mean
    is unweighted, so a small client counts as much as a large one.

    Args:
        labels_per_client: class indices of each client, (n_k,) int64.
        classes: the number of classes, C.

    Raises:
        DataError: as for `class_counts`, or if a client has no labels.
    """
    return mean_distance(class_counts(labels_per_client, classes))


def mean_distance(counts: Tensor) -> float:
    """`heterogeneity` from class counts, (K, C).

    Raises:
        DataError: if a client has no samples, and hence no histogram.
    """
    sizes = counts.sum(1, keepdim=True)
    empty = (sizes[:, 0] == 0).nonzero().flatten().tolist()
    if empty:
        raise DataError(
            f"client {empty[0]} has no samples, hence no label histogram: leave empty clients out"
        )
    shares = counts.double() / sizes
    overall = counts.sum(0).double() / counts.sum()
    return float((shares - overall).abs().sum(1).mean() / 2)


def _by_class(labels: Tensor, rng: Stream) -> Tensor:
    """All indices, sorted by label, in random order within a class: (N,) int64."""
    order = torch.randperm(len(labels), generator=rng.torch())
    return order[torch.argsort(labels.cpu()[order], stable=True)]


def _shuffled(index: Tensor, rng: Stream) -> Tensor:
    """The indices in random order, so that a client's first samples are not all of one class."""
    return index[torch.randperm(len(index), generator=rng.torch())]
