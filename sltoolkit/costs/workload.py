"""The arguments and the results of cost formulas."""

from dataclasses import dataclass
from typing import final

from sltoolkit.errors import SpecError

SCALAR_BYTES = 4
"""Bytes of a float32, the usual type of weights, smashed data and gradients that are sent."""


@final
@dataclass(frozen=True, kw_only=True)
class Workload:
    """One epoch of training, in the symbols of Singh et al. 2019 and Thapa et al. 2022.

    Attributes:
        clients: the number of clients, K.
        params: parameters of the whole model, N or |W|.
        samples: p, training samples of all clients together, dealt out equally.
        cut_width: q, numbers that cross the cut per sample and direction; the sum q1 + q2 of both
            cuts of a U-shaped network.
        client_params: parameters that a client holds, eta N or beta |W|, including those of the
            tail of a U-shaped network.

    Raises:
        SpecError: if a count is below 1, a client holds more parameters than the model has, or
            there are more clients than samples.
    """

    clients: int
    params: int
    samples: int
    cut_width: int
    client_params: int

    def __post_init__(self) -> None:
        for name in ("clients", "params", "samples", "cut_width"):
            if getattr(self, name) < 1:
                raise SpecError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.client_params <= self.params:
            raise SpecError(
                f"a client holds between none and all of the {self.params} parameters, "
                f"got client_params={self.client_params}"
            )
        if self.clients > self.samples:
            raise SpecError(
                f"{self.clients} clients can't share {self.samples} samples: "
                "give fewer clients or more samples"
            )

    @property
    def client_share(self) -> float:
        """The client's share of the parameters, eta or beta, in [0, 1]."""
        return self.client_params / self.params

    @property
    def samples_per_client(self) -> float:
        """Samples per client, p / K, on average where K does not divide p."""
        return self.samples / self.clients


@final
@dataclass(frozen=True, kw_only=True)
class Volume:
    """The amount sent in one epoch, both directions together.

    Attributes:
        per_client: the amount sent by one client and to it.
        total: the amount sent by all clients and to them.
    """

    per_client: float
    total: float

    def __add__(self, other: "Volume") -> "Volume":
        """The sum of two volumes in the same unit."""
        return Volume(per_client=self.per_client + other.per_client, total=self.total + other.total)

    def in_bytes(self, scalar_bytes: int = SCALAR_BYTES) -> "Volume":
        """A volume of scalars, in bytes."""
        return Volume(per_client=self.per_client * scalar_bytes, total=self.total * scalar_bytes)


def labels_extra(work: Workload, *, numbers: int = 1) -> Volume:
    """The labels, which no published formula counts, in scalars of the label's own type.

    Labels don't travel in U-shaped and federated learning.

    Args:
        work: the training.
        numbers: numbers per label: 1 for a class index, C for a weight per class.
    """
    return Volume(per_client=work.samples_per_client * numbers, total=float(work.samples * numbers))


def buffers_extra(work: Workload, *, numbers: int, transfers: int) -> Volume:
    """Buffers that travel with the weights (BatchNorm's statistics), which no formula counts.

    Args:
        work: the training.
        numbers: how many numbers the buffers hold, the client's or the whole model's.
        transfers: transfers per client and epoch: 1 where a formula counts weights once (Singh et
            al., split learning), 2 where it counts them down and up.
    """
    per_client = float(transfers * numbers)
    return Volume(per_client=per_client, total=per_client * work.clients)
