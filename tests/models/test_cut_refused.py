"""Cutting a user's own modules: what is refused, and with which advice."""

import random
from collections.abc import Callable

import pytest
import torch
from support.cuttable import X, make, nested
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.errors import SpecError
from sltoolkit.models import cut, cut_points


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Linear(4, 4)
        self.middle = nn.Linear(4, 4)
        self.up = nn.Linear(4, 4)
        self.out = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        down = self.down(x)
        return self.out(self.up(self.middle(down)) + down)  # type: ignore[no-any-return]


def test_a_skip_connection_across_the_cut_is_refused_by_name() -> None:
    with pytest.raises(SpecError) as refusal:
        cut(make(UNet), "middle")
    message = str(refusal.value)
    assert "can't cut at 'middle'" in message
    assert "down (the output of 'down')" in message
    assert message.endswith("(legal cuts: down)")


class SizeUsedLate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.fc = nn.Linear(72, 2)

    def forward(self, x: Tensor) -> Tensor:
        n = x.size(0)
        return self.fc(self.conv(x).view(n, -1))  # type: ignore[no-any-return]


class InputUsedLate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.b = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x)) + x  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("factory", "at", "crossing"),
    [(SizeUsedLate, "conv", "size .*computed by size"), (InputUsedLate, "a", "x .the input")],
)
def test_any_second_value_across_the_cut_is_named(
    factory: Callable[[], nn.Module], at: str, crossing: str
) -> None:
    with pytest.raises(SpecError, match=rf"would cross the cut: {crossing}.*legal cuts: none"):
        cut(make(factory), at)


def test_inside_a_residual_block_of_a_sequential_there_is_no_cut() -> None:
    with pytest.raises(SpecError, match=r"can't cut at 'features\.2\.conv'.*x .the input.*legal"):
        cut(make(nested), "features.2.conv")


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.b = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        z = self.a(x)
        if z.sum() > 0:
            z = -z
        return self.b(z)  # type: ignore[no-any-return]


class FunctionalDropout(Branches):
    def forward(self, x: Tensor) -> Tensor:
        z = functional.dropout(self.a(x), 0.5, training=self.training)
        return self.b(z)  # type: ignore[no-any-return]


class FrozenNoise(Branches):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x) + torch.randn(4))  # type: ignore[no-any-return]


class StochasticDepth(Branches):
    def forward(self, x: Tensor) -> Tensor:
        z = self.a(x)
        return self.b(z) if random.random() < 0.5 else z  # type: ignore[no-any-return]


class TwoInputs(Branches):
    def forward(self, x: Tensor, other: Tensor) -> Tensor:  # type: ignore[override]
        return self.b(self.a(x) + other)  # type: ignore[no-any-return]


class TwoOutputs(Branches):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        z = self.a(x)
        return z, self.b(z)


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        (Branches, "control flow"),
        (FunctionalDropout, "F.dropout"),
        (FrozenNoise, "random numbers that tracing would freeze"),
        (StochasticDepth, "random numbers that tracing would freeze"),
        (TwoInputs, "takes 2 inputs"),
        (TwoOutputs, "does not return one tensor"),
    ],
)
def test_what_cannot_be_traced_is_refused_with_advice(
    factory: Callable[[], nn.Module], reason: str
) -> None:
    model = make(factory)
    with pytest.raises(SpecError, match=rf"(?s){reason}.*two nn\.Modules \(client, server\)"):
        cut(model, "a")
    assert all(m.training for m in model.modules())
    inside = nn.Sequential(nn.Linear(4, 4), model, nn.Linear(4, 2))
    assert cut_points(inside) == ["0", "1"]  # as one block it is fine


def tied() -> nn.Sequential:
    first, last = nn.Linear(4, 4), nn.Linear(4, 4)
    last.weight = first.weight
    return nn.Sequential(nn.ReLU(), first, nn.ReLU(), last, nn.ReLU())


def test_tied_parameters_may_not_be_cut_apart() -> None:
    model = tied()
    assert cut_points(model) == ["0", "3"]
    cut(model, "3")
    with pytest.raises(SpecError, match=r"1\.weight would be in two parts.*legal cuts: 0, 3"):
        cut(model, "1")


def test_parameters_the_forward_pass_ignores_are_not_lost_silently() -> None:
    model = make(UNet)
    model.add_module("forgotten", nn.Linear(2, 2))
    with pytest.raises(SpecError, match=r"doesn't use forgotten\.weight, forgotten\.bias"):
        cut(model, "down")


@pytest.mark.parametrize("at", ["classifier", "classifier.2", 1, ("features", "features.3")])
def test_no_part_may_be_empty(at: str | int | tuple[str, ...]) -> None:
    with pytest.raises(SpecError, match="leaves nothing for one of the parts"):
        cut(make(nested), at)


@pytest.mark.parametrize("at", ["out", ("down", "down")])
def test_no_traced_part_may_be_empty(at: str | tuple[str, ...]) -> None:
    with pytest.raises(SpecError, match="leaves nothing for one of the parts"):
        cut(make(UNet), at)


def test_mistyped_names_get_the_nearest_one() -> None:
    with pytest.raises(SpecError, match=r"no block called 'midle'; did you mean 'middle'\?"):
        cut(make(UNet), "midle")
    with pytest.raises(SpecError, match=r"'feature\.1'; did you mean 'features\.1'.*features\.0"):
        cut(make(nested), "feature.1")
    with pytest.raises(SpecError, match="at least one place"):
        cut(make(nested), ())


def test_a_sequential_with_its_own_forward_is_not_sliced() -> None:
    class Doubled(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)  # type: ignore[no-any-return, no-untyped-call]

    model = Doubled(nn.Flatten(), nn.Linear(64, 3))
    client, server = cut(model, "0")
    assert torch.equal(server(client(X)), model(X))
