"""Cutting a user's own modules: nested containers, arbitrary code."""

import copy
from collections.abc import Callable

import pytest
import torch
from support.cuttable import Block, X, make, nested
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.errors import SpecError
from sltoolkit.models import cut, cut_points
from sltoolkit.streams import Stream


class Net(nn.Module):
    """A typical user's module: containers, functional operations, parameters and constants."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3)
        self.blocks = nn.Sequential(Block(), Block())
        self.scale = nn.Parameter(torch.full((4, 1, 1), 0.5))
        self.drop = nn.Dropout(0.3)
        self.fc1 = nn.Linear(16, 8)
        self.fc2 = nn.Linear(8, 3)

    def forward(self, x: Tensor, mask: Tensor | None = None, power: int = 1) -> Tensor:
        x = functional.max_pool2d(self.blocks(functional.relu(self.stem(x))), 3)
        if mask is not None:
            x = x * mask
        x = torch.flatten(x * self.scale + torch.tensor(0.25), 1)
        out: Tensor = self.fc2(functional.relu(self.fc1(self.drop(x)))) ** power
        return functional.log_softmax(out, dim=1)


NET_POINTS = ["stem", "blocks.0", "blocks", "drop", "fc1", "fc2"]
NESTED_POINTS = [
    *("features.0", "features.1", "features.2", "features"),
    *("classifier.0", "classifier.1"),
]


def test_the_legal_cuts_are_where_one_value_crosses() -> None:
    assert cut_points(make(Net)) == NET_POINTS
    assert cut_points(make(nested)) == NESTED_POINTS


@pytest.mark.parametrize(
    ("factory", "points"), [(Net, NET_POINTS), (nested, NESTED_POINTS)], ids=["net", "nested"]
)
@pytest.mark.parametrize("training", [True, False])
def test_every_part_list_equals_the_module_in_values_gradients_and_buffers(
    factory: Callable[[], nn.Module], points: list[str], training: bool
) -> None:
    choices = [[at] for at in points] + [[a, b] for a in points for b in points if a < b]
    for at in choices:
        whole, other = make(factory).train(training), make(factory).train(training)
        parts = cut(other, at)
        assert len(parts) == len(at) + 1
        with Stream(2).scope():
            expected = whole(X)
        with Stream(2).scope():
            value = X
            for part in parts:
                value = part(value)
        assert torch.equal(value, expected)
        expected.square().sum().backward()
        value.square().sum().backward()
        for mine, theirs in zip(whole.parameters(), other.parameters(), strict=True):
            assert mine.grad is not None
            assert theirs.grad is not None
            assert torch.equal(mine.grad, theirs.grad)
        for name, tensor in other.state_dict().items():
            assert torch.equal(whole.state_dict()[name], tensor)


@pytest.mark.parametrize("factory", [Net, nested])
def test_parameters_are_shared_and_partitioned(factory: Callable[[], nn.Module]) -> None:
    model = make(factory)
    for at in cut_points(model):
        held = [id(p) for part in cut(model, at) for p in part.parameters()]
        assert len(held) == len(set(held))
        assert set(held) == {id(p) for p in model.parameters()}


def test_switching_a_part_to_evaluation_reaches_the_modules_it_shares() -> None:
    model = make(Net).train()
    client, server = cut(model, "blocks")
    assert all(m.training for part in (client, server) for m in part.modules())
    server.eval()
    assert not model.get_submodule("drop").training
    assert model.get_submodule("blocks.0.norm").training


def test_cutting_leaves_the_module_as_it_was() -> None:
    model = make(Net)
    model.get_submodule("blocks").eval()
    flags = [m.training for m in model.modules()]
    attributes = set(vars(model))
    state = copy.deepcopy(model.state_dict())
    generator = torch.get_rng_state()
    cut(model, "blocks")
    assert [m.training for m in model.modules()] == flags
    assert set(vars(model)) == attributes
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())


def test_parts_can_be_copied_and_keep_the_names_of_the_state() -> None:
    model = make(Net)
    client, server = copy.deepcopy(cut(model, "blocks.0"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert all(p.count_nonzero() > 0 for p in client.parameters() if p.ndim > 1)
    names = [name for part in (client, server) for name in part.state_dict()]
    assert set(model.state_dict()) <= set(names)


@pytest.mark.parametrize(
    ("factory", "inner", "outer"),
    [(nested, "features.3", "features"), (Net, "blocks.1", "blocks")],
)
def test_all_names_of_one_place_mean_the_same_cut(
    factory: Callable[[], nn.Module], inner: str, outer: str
) -> None:
    model = make(factory)
    for one, other in zip(cut(model, inner), cut(model, outer), strict=True):
        assert list(one.state_dict()) == list(other.state_dict())
        assert list(map(id, one.parameters())) == list(map(id, other.parameters()))


def test_a_module_called_twice_is_no_place() -> None:
    with pytest.raises(SpecError, match="calls 'relu' 2 times, not once"):
        cut(make(nested), "features.2.relu")


def test_children_are_also_named_by_index() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.ReLU())
    assert [len(list(part.children())) for part in cut(model, 1)] == [2, 1]
    assert [len(list(part.children())) for part in cut(model, (0, 1))] == [1, 1, 1]
    with pytest.raises(SpecError, match=r"no block 3 in 0\.\.2"):
        cut(model, 3)
    with pytest.raises(SpecError, match="Net is cut by name"):
        cut(make(Net), 1)


def test_a_module_without_parameters_may_be_used_on_both_sides() -> None:
    relu = nn.ReLU()
    model = nn.Sequential(nn.Linear(64, 8), relu, nn.Linear(8, 3), relu)
    flat = X.flatten(1)
    client, server = cut(model, 1)
    assert torch.equal(server(client(flat)), model(flat))
    assert (server(client(flat)) >= 0).all()
