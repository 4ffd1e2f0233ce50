"""What an attacker on a training holds when the training begins."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from sltoolkit.adversary.learner import Architecture
from sltoolkit.contracts.defense import Defense, Task
from sltoolkit.contracts.knowledge import Aux
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingSetup:
    """Aux samples and shapes and, if granted, the client's architecture and its defense."""

    aux: Aux
    task: Task
    client_arch: Architecture | None
    mechanism: Callable[[Stream], Defense] | None
