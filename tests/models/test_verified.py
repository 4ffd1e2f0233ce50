"""Parts are compared with the model on real inputs, twice, in both modes."""

import copy
from collections.abc import Callable

import pytest
import torch
from support import toys
from torch import Tensor, nn

import sltoolkit as sl
from sltoolkit.errors import SpecError
from sltoolkit.models import cut, verified_cut

X = torch.rand(7, 4)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.drop, self.b = nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.b(self.norm(self.drop(self.a(x))))
        return out


class ByCounter(Net):
    """Counts its calls where no tracer looks."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = [0]

    def forward(self, x: Tensor) -> Tensor:
        self.seen[0] += 1
        out: Tensor = self.b(self.norm(self.a(x)) * self.seen[0])
        return out


class ByMemo(Net):
    """Adds what it computed before, of any earlier call."""

    def __init__(self) -> None:
        super().__init__()
        self.memo: list[float] = []

    def forward(self, x: Tensor) -> Tensor:
        z = self.norm(self.a(x)) + sum(self.memo)
        self.memo.append(1.0)
        out: Tensor = self.b(z)
        return out


class DropsAlways(Net):
    """Its dropout is on when it is deployed, too."""

    def train(self, mode: bool = True) -> "DropsAlways":
        super().train(mode)
        self.drop.train()
        return self


class KeepsNorm(Net):
    """Its normalization never trains."""

    def train(self, mode: bool = True) -> "KeepsNorm":
        super().train(mode)
        self.norm.eval()
        return self


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    model.register_forward_hook(lambda _module, _inputs, out: out * 2)
    return model


@pytest.mark.parametrize("rows", [7, 5, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_parts_that_compute_what_the_model_computes_are_those_of_cut(
    rows: int, dtype: torch.dtype
) -> None:
    model = Net().to(dtype)
    state, drawn = copy.deepcopy(model.state_dict()), torch.get_rng_state()

    parts = verified_cut(model, "a", X[:rows].to(dtype))

    expected = [list(part.state_dict()) for part in cut(model, "a")]
    assert [list(part.state_dict()) for part in parts] == expected
    assert parts[0].get_submodule("a") is model.a
    assert all(torch.equal(state[name], t) for name, t in model.state_dict().items())
    assert model.training
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.parametrize(
    ("factory", "at", "mode"),
    [
        (ByCounter, "a", "training"),
        (ByMemo, "a", "training"),
        (KeepsNorm, "a", "training"),
        (DropsAlways, "a", "evaluation"),
        (hooked, 1, "training"),
    ],
)
def test_parts_that_compute_something_else_are_refused(
    factory: Callable[[], nn.Module], at: str | int, mode: str
) -> None:
    model = factory()

    with pytest.raises(SpecError, match=f"on real inputs in {mode} mode they don't.*two nn.Modul"):
        verified_cut(model, at, X)


class MovingAverage(Net):
    """Updates a buffer by its inputs alone, which a graph can follow."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        z = self.norm(self.a(x))
        self.mean.add_(z.detach().square().mean())
        out: Tensor = self.b(z * self.mean)
        return out


def test_a_buffer_that_follows_the_inputs_follows_them_in_the_parts_too() -> None:
    model = MovingAverage()
    twin = copy.deepcopy(model)

    client, server = verified_cut(model, "norm", X)

    for rows in (X, X[:3]):
        assert torch.equal(server(client(rows)), twin(rows))
    assert torch.equal(model.mean, twin.mean)
    assert not torch.equal(model.mean, torch.zeros(1))


def test_a_single_row_and_inputs_that_do_not_fit_are_left_to_those_who_seat_the_parts() -> None:
    assert len(verified_cut(Net(), "a", X[:1])) == 2
    assert len(verified_cut(Net(), "a", torch.rand(5, 9))) == 2


class CountsImages(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
        self.head, self.seen = nn.Linear(4, 3), [0]

    def forward(self, x: Tensor) -> Tensor:
        self.seen[0] += 1
        out: Tensor = self.head(self.features(x) / self.seen[0])
        return out


@pytest.mark.parametrize("given", ["network", "function"])
def test_train_refuses_such_a_model_before_any_training(given: str) -> None:
    model = CountsImages() if given == "network" else CountsImages

    with pytest.raises(SpecError, match="CountsImages should compute what the model computes"):
        sl.train(model, toys.split(), cut="features", training=toys.QUICK)
