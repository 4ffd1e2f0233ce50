"""The views of attacks that learn from answers of the deployed client."""

from abc import ABC
from dataclasses import dataclass
from typing import final

from torch import Tensor

from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.knowledge import Aux, Release


@dataclass(frozen=True, kw_only=True, eq=False)
class _Queries(ABC):
    smashed: Tensor
    release: Release
    aux: Aux
    task: Task


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class QueryView(_Queries):
    """What was heard, queries, and the attacker's own samples."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class LabeledQueryView(_Queries):
    """What was heard, queries, aux samples, and the targets' labels if the seat sees them."""

    labels: Tensor | None
