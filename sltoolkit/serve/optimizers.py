"""Placeholders of optimizers: they hand over what the real ones do, without numbers."""

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from sltoolkit.errors import SpecError
from sltoolkit.parties.honest import HonestClient, HonestMiddle, HonestServer, Optimizer

Layout = Mapping[int, Mapping[str, Tensor | None]]
"""An optimizer's state by weight and name; its tensors are on the `meta` device."""


@final
class History:
    """What all optimizers of a member have in common: they step in the same batches.

    Attributes:
        begun: whether they have a state; torch's optimizers have none before their first step.
    """

    def __init__(self) -> None:
        self.begun = False


@final
class PlaceholderOptimizer(Optimizer):
    """Changes no weights, and has the state of the real optimizer, without numbers.

    Args:
        layout: the real optimizer's state after a step.
        history: shared by all optimizers of the member.
    """

    def __init__(self, layout: Layout, history: History) -> None:
        super().__init__([torch.empty(0, device="meta")], {})
        self._layout, self.history = layout, history

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Note that the real optimizer steps."""
        self.history.begun = True

    def state_dict(self) -> dict[str, Any]:
        """The state without numbers; empty before the first step."""
        state = {i: dict(slots) for i, slots in self._layout.items()}
        return {"state": state if self.history.begun else {}, "param_groups": []}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Note whether the real optimizer takes over a state or an empty one."""
        if self._layout:
            self.history.begun = bool(state_dict["state"])


def layout_of(party: HonestClient | HonestServer | HonestMiddle) -> Layout:
    """The state of a party's optimizer after a step.

    The step is really made, so the party can't be used afterwards.

    Raises:
        SpecError: if the state holds anything but tensors.
    """
    optimizer = party.optimizer
    if optimizer is None:
        return {}
    if party.wrapped:
        raise _unknown(optimizer, "wraps another one")
    for weight in party.weights:
        weight.grad = torch.zeros_like(weight) if weight.requires_grad else None
    optimizer.step()
    state = optimizer.state_dict()["state"]
    for name, value in ((n, v) for slots in state.values() for n, v in slots.items()):
        if value is not None and not isinstance(value, Tensor):
            raise _unknown(optimizer, f"keeps {name} as {type(value).__name__}")
    return {
        i: {name: None if t is None else t.to("meta") for name, t in slots.items()}
        for i, slots in state.items()
    }


def _unknown(optimizer: Optimizer, why: str) -> SpecError:
    return SpecError(
        f"protocol.optimizer_state: the state of {type(optimizer).__name__}, which {why}, can't be "
        "handed over between processes; leave it out"
    )
