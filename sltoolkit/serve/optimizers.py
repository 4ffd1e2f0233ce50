"""The optimizer of an absent party: what it would hand over, without numbers."""

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from sltoolkit.errors import SpecError
from sltoolkit.parties.honest import HonestClient, HonestMiddle, HonestServer, Optimizer

Layout = Mapping[int, Mapping[str, Tensor | None]]
"""An optimizer's state by weight and name; of tensors only the shape, on the `meta` device."""


@final
class History:
    """What a member's optimizers have been through, together: they step in the same batches.

    Attributes:
        begun: whether they have a state; torch's optimizers have none before their first step.
    """

    def __init__(self) -> None:
        self.begun = False


@final
class GhostOptimizer(Optimizer):
    """Moves nothing, and always has the state, without numbers, that the real one has elsewhere.

    Args:
        layout: the state that the real one has after a step.
        history: its member's.
    """

    def __init__(self, layout: Layout, history: History) -> None:
        super().__init__([torch.empty(0, device="meta")], {})
        self._layout, self.history = layout, history

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """The real one steps."""
        self.history.begun = True

    def state_dict(self) -> dict[str, Any]:
        """Shapes, or nothing before the first step."""
        state = {i: dict(slots) for i, slots in self._layout.items()}
        return {"state": state if self.history.begun else {}, "param_groups": []}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """The real one takes over a state, perhaps an empty one."""
        if self._layout:
            self.history.begun = bool(state_dict["state"])


def layout_of(party: HonestClient | HonestServer | HonestMiddle) -> Layout:
    """The state that a party's optimizer has after a step; it makes one, and spoils the party.

    Raises:
        SpecError: if there is more in it than tensors.
    """
    optimizer = party.optimizer
    if optimizer is None:
        return {}
    if party.wrapped:
        raise _unknown(optimizer, "wraps another one")
    for weight in party.weights:
        weight.grad = torch.zeros_like(weight)
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
