"""Graphs of modules: where cuts fall, why not, and that the module stays as it was."""

import pytest
import torch
from torch import Tensor, nn

from sltoolkit.errors import SpecError
from sltoolkit.models.trace import is_leaf, trace


class Net(nn.Module):
    """Calls a, then b twice, then c, with a constant in between."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor, scale: float = 2.0, mask: Tensor | None = None) -> Tensor:
        z = self.a(x) * torch.tensor([1.0, 2.0, 3.0, 4.0])
        out: Tensor = self.c(self.b(self.b(z)) * scale)
        return out


def test_cuts_fall_where_one_value_crosses_and_the_last_is_none() -> None:
    traced = trace(Net())

    assert traced.cut_points() == ["a"]
    assert traced.obstacle("a") is None
    assert traced.obstacle("b") == "the forward pass calls 'b' 2 times, not once"


@pytest.mark.parametrize("batch", [1, 5])
def test_the_parts_compute_what_the_module_computes(batch: int) -> None:
    net = Net()

    client, server = trace(net).split(["a"])

    x = torch.rand(batch, 4)
    assert torch.equal(client(x), net.a(x))
    assert torch.equal(server(client(x)), net(x))


def test_no_cut_gives_the_module_as_one_part_and_a_cut_at_the_end_an_empty_one() -> None:
    net, x = Net(), torch.rand(3, 4)

    (whole,) = trace(net).split([])
    _, rest = trace(net).split(["c"])

    assert torch.equal(whole(x), net(x))
    assert isinstance(rest, nn.Sequential)
    assert len(rest) == 0


def test_the_module_keeps_its_attributes_its_mode_and_the_generators() -> None:
    net, before = Net().train(), torch.get_rng_state()
    net.b.eval()
    attributes, modes = set(vars(net)), [m.training for m in net.modules()]

    trace(net)

    assert set(vars(net)) == attributes
    assert [m.training for m in net.modules()] == modes
    assert torch.equal(torch.get_rng_state(), before)


class MovesItsConstant(Net):
    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.tensor([1.0, 2.0, 3.0, 4.0])

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        self.scale = self.scale.to(x.device)
        return self.c(self.a(x) * self.scale)  # type: ignore[no-any-return]


def test_a_constant_that_moves_to_the_device_of_the_inputs_is_no_change() -> None:
    net = MovesItsConstant()

    (whole,) = trace(net).split([])

    x = torch.rand(3, 4)
    assert torch.equal(whole(x), net(x))


class TwoInputs(Net):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
        return x + y


class Branches(Net):
    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return x if bool(x.sum() > 0) else -x


class Draws(Net):
    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return x + torch.rand(4)


class TwoOutputs(Net):
    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return x, x  # type: ignore[return-value]


class OwnDropout(Net):
    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return nn.functional.dropout(self.a(x), training=self.training)


class AnyInputs(Net):
    def forward(self, *x: Tensor) -> Tensor:  # type: ignore[override]
        return self.a(x[0])  # type: ignore[no-any-return]


class AnyFurtherInputs(Net):
    def forward(self, x: Tensor, *_: Tensor) -> Tensor:  # type: ignore[override]
        return self.a(x)  # type: ignore[no-any-return]


class AnyNames(Net):
    def forward(self, **x: Tensor) -> Tensor:  # type: ignore[override]
        return self.a(x["x"])  # type: ignore[no-any-return]


class CountsInABuffer(Net):
    n: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("n", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        self.n += 1
        return self.a(x) * self.n  # type: ignore[no-any-return]


class ReplacesABuffer(CountsInABuffer):
    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        self.n = self.n + 1
        return self.a(x) * self.n  # type: ignore[no-any-return]


class CountsInTraining(CountsInABuffer):
    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        if self.training:
            self.n.add_(1)
        return self.a(x)  # type: ignore[no-any-return]


class CountsInside(Net):
    def __init__(self) -> None:
        super().__init__()
        self.inside = CountsInABuffer()

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return self.c(self.inside(x))  # type: ignore[no-any-return]


class CountsInANumber(Net):
    calls = 0

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        self.calls += 1
        return self.a(x) * self.calls  # type: ignore[no-any-return]


class RemembersAState(Net):
    def __init__(self) -> None:
        super().__init__()
        self.h = torch.zeros(4)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        self.h = self.h + self.a(x).mean(0)
        return self.h


class MovesABufferByItsInputs(CountsInABuffer):
    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        self.n.mul_(0.5).add_(self.a(x).detach().mean())
        return self.a(x) * self.n  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (AnyInputs, r"forward\(\*x.*takes any number of inputs"),
        (AnyFurtherInputs, r"forward\(x.*\*_.*takes any number of inputs"),
        (AnyNames, r"forward\(\*\*x.*takes any number of inputs"),
        (CountsInABuffer, "its forward changes n of the module itself"),
        (ReplacesABuffer, "its forward changes n of the module itself"),
        (CountsInTraining, "its forward changes n of the module itself"),
        (CountsInside, r"its forward changes inside\.n of the module itself"),
        (CountsInANumber, "its forward changes calls of the module itself"),
        (RemembersAState, "its forward changes h of the module itself"),
        (MovesABufferByItsInputs, "its forward changes n of the module itself"),
        (TwoInputs, "takes 2 inputs, not one"),
        (Branches, "can't trace Branches"),
        (Draws, "draws random numbers that tracing would freeze"),
        (TwoOutputs, "does not return one tensor"),
        (OwnDropout, "computes something else in training mode"),
    ],
)
def test_what_a_graph_cannot_say_is_refused_with_the_way_out(
    kind: type[nn.Module], reason: str
) -> None:
    module = kind()
    before = {name: t.clone() for name, t in module.state_dict().items()}

    with pytest.raises(SpecError, match=reason) as raised:
        trace(module)

    assert all(torch.equal(before[name], t) for name, t in module.state_dict().items())
    assert "pass the two halves as two nn.Modules" in str(raised.value)


def test_torchs_own_layers_are_one_operation() -> None:
    assert is_leaf(nn.Linear(1, 1))
    assert not is_leaf(nn.Sequential())
    assert not is_leaf(Net())
