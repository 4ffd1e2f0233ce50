"""How a server merges the smashed data of several parties, and fills in for absent ones."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Literal, final

import torch
from torch import Tensor, nn

from sltoolkit.errors import ProtocolError

MergeName = Literal["concat", "sum", "mean", "max", "mul"]

MERGES: Mapping[MergeName, Callable[[Sequence[Tensor]], Tensor]] = {
    "concat": lambda zs: torch.cat(list(zs), dim=-1),
    "sum": lambda zs: torch.stack(list(zs)).sum(0),
    "mean": lambda zs: torch.stack(list(zs)).mean(0),
    "max": lambda zs: (
        torch.stack(list(zs)).max(0).values
    ),  # where two are equal, one party gets the gradient
    "mul": lambda zs: reduce(torch.mul, zs),
}
"""Merges of Ceballos et al. 2020; all but `concat` need equal shapes."""

ImputeName = Literal["zeros", "mean"]


@final
class Merge(nn.Module):
    """The first layer of a server that receives smashed data from several parties.

    Args:
        merge: a key of `MERGES`.
        widths: the width of each party's smashed data along the last axis.

    Raises:
        ProtocolError: if the merge needs equal widths and they differ.
    """

    def __init__(self, merge: MergeName, widths: Sequence[int]) -> None:
        super().__init__()
        if merge != "concat" and len(set(widths)) > 1:
            raise ProtocolError(
                f"merge={merge!r} needs smashed data of one shape, but the parties' blocks of "
                f"features make them {', '.join(map(str, widths))} wide: choose a number of "
                "clients that divides the features, or merge='concat'"
            )
        self._merge = MERGES[merge]
        self._widths = list(widths)

    def forward(self, z: Tensor) -> Tensor:
        """Merge the smashed data of all parties, joined as (B, ..., q_0 + ... + q_K-1)."""
        return self._merge(z.split(self._widths, dim=-1))


@final
class Imputer:
    """Joins all parties' smashed data along the last axis, and fills in for absent parties.

    Args:
        widths: the width of each party's smashed data along the last axis.
        impute: `zeros`, or the `mean` over all samples that the party sent before, which is zeros
            until it has sent any.
    """

    def __init__(self, widths: Sequence[int], impute: ImputeName) -> None:
        self.widths = list(widths)
        self._averages = impute == "mean"
        self._means: dict[int, Tensor] = {}
        self._counts = [0] * len(self.widths)

    def join(self, received: Mapping[int, Tensor]) -> Tensor:
        """Join what each party sent, and fill in for the others: (B, ..., q_0 + ... + q_K-1)."""
        if self._averages:
            for k, z in received.items():
                self._remember(k, z)
        like = next(iter(received.values()))
        parts = (
            received[k] if k in received else self._imputed(k, like)
            for k in range(len(self.widths))
        )
        return torch.cat(list(parts), dim=-1)

    def _imputed(self, k: int, like: Tensor) -> Tensor:
        zeros = like.new_zeros(*like.shape[:-1], self.widths[k])
        return zeros + self._means[k] if k in self._means else zeros

    def _remember(self, k: int, z: Tensor) -> None:
        if len(z) == 0:
            return
        self._counts[k] += len(z)
        mean = self._means.get(k, torch.zeros_like(z[0]))
        self._means[k] = mean + (z - mean).sum(0) / self._counts[k]
