"""Placeholders of optimizers: the state of an absent party's optimizer, without numbers."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sltoolkit.errors import SpecError
from sltoolkit.parties.honest import HonestClient
from sltoolkit.parties.settings import Training
from sltoolkit.serve.optimizers import History, PlaceholderOptimizer, layout_of
from sltoolkit.streams import Stream


def party(**training: Any) -> HonestClient:
    network = nn.Linear(3, 2)
    return HonestClient(network, Training(**training).optimizer_for(network), Stream(0))


def shapes(state: Any) -> dict[int, dict[str, tuple[int, ...]]]:
    return {
        i: {name: tuple(t.shape) for name, t in slots.items() if t is not None}
        for i, slots in state.items()
    }


@pytest.mark.parametrize(
    "training",
    [{}, {"optimizer": "sgd", "momentum": 0.9}, {"optimizer": "sgd"}],
    ids=["adam", "momentum", "sgd"],
)
def test_the_layout_is_that_of_the_real_state_after_a_step(training: dict[str, Any]) -> None:
    real = party(**training)
    assert real.optimizer is not None
    for weight in real.weights:
        weight.grad = torch.ones_like(weight)
    real.optimizer.step()

    layout = layout_of(party(**training))

    assert shapes(layout) == shapes(real.optimizer.state_dict()["state"])
    tensors = [t for slots in layout.values() for t in slots.values() if isinstance(t, Tensor)]
    assert all(t.is_meta for t in tensors)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_frozen_weights_have_no_state_and_are_not_decayed(optimizer: str) -> None:
    training = {"optimizer": optimizer, "momentum": 0.9, "weight_decay": 0.1}
    absent = party(**training)
    frozen, _ = absent.weights
    frozen.requires_grad_(False)
    before = frozen.clone()

    assert set(layout_of(absent)) == {1}
    assert torch.equal(frozen, before)


def test_a_party_that_never_learns_has_no_layout() -> None:
    assert layout_of(HonestClient(nn.Linear(3, 2), None, Stream(0))) == {}


class Foreign(torch.optim.SGD):
    """An optimizer that is not one of torch's own."""


def test_an_optimizer_that_a_defense_wrapped_is_refused() -> None:
    network = nn.Linear(3, 2)
    client = HonestClient(network, Foreign(network.parameters(), lr=0.1), Stream(0))

    with pytest.raises(SpecError, match="Foreign, which wraps another one"):
        layout_of(client)


def test_a_state_that_is_not_made_of_tensors_is_refused() -> None:
    client = party()
    first, optimizer = client.weights[0], client.optimizer
    assert optimizer is not None
    optimizer.register_step_post_hook(lambda o, *_: o.state[first].update(phase="late"))

    with pytest.raises(SpecError, match="Adam, which keeps phase as str"):
        layout_of(client)


def test_before_the_first_step_there_is_no_state_and_afterwards_its_shape() -> None:
    layout, history = layout_of(party()), History()
    first, second = PlaceholderOptimizer(layout, history), PlaceholderOptimizer(layout, history)
    assert first.state_dict()["state"] == {}

    first.step()

    assert shapes(first.state_dict()["state"]) == shapes(layout)
    assert second.state_dict()["state"].keys() == layout.keys()  # both step together


@pytest.mark.parametrize("begun", [True, False])
def test_taking_over_a_state_tells_whether_there_is_one(*, begun: bool) -> None:
    history = History()
    placeholder = PlaceholderOptimizer(layout_of(party()), history)
    placeholder.step()

    placeholder.load_state_dict({"state": {0: {}} if begun else {}, "param_groups": []})

    assert history.begun is begun


def test_without_a_layout_nothing_is_taken_over() -> None:
    history = History()

    PlaceholderOptimizer({}, history).load_state_dict({"state": {0: {}}, "param_groups": []})

    assert not history.begun
