"""Facts per cut: against hand computation, and without touching the model."""

import copy

import pytest
import torch
from torch import Tensor, nn

from sltoolkit.errors import SpecError
from sltoolkit.models import build, cut, profile_cuts


def test_the_facts_of_lenet_are_those_computed_by_hand() -> None:
    facts = {
        p.at: p for p in profile_cuts(build("lenet", shape=(1, 28, 28), classes=10), (1, 28, 28))
    }
    conv1 = 2 * 8 * 24 * 24 * 25
    conv2 = 2 * 16 * 8 * 8 * 8 * 25
    fc1, fc2, fc3 = 2 * 256 * 120, 2 * 120 * 84, 2 * 84 * 10
    total = conv1 + conv2 + fc1 + fc2 + fc3
    parameters = 208 + 3216 + 30840 + 10164 + 850

    assert facts["conv1"].shape == (8, 24, 24)
    assert facts["conv1"].numbers == 8 * 24 * 24
    assert facts["conv1"].parameters == 208
    assert facts["conv1"].parameter_share == 208 / parameters
    assert facts["conv1"].flops == conv1
    assert facts["conv1"].flop_share == conv1 / total

    assert facts["relu2"].shape == (16, 8, 8)
    assert facts["relu2"].parameters == 208 + 3216
    assert facts["relu2"].flop_share == (conv1 + conv2) / total

    assert facts["relu4"].numbers == 84
    assert facts["relu4"].flops == total - fc3
    assert facts["relu4"].parameter_share == 1 - 850 / parameters


@pytest.mark.parametrize("name", ["cifar_cnn", "resnet20"])
def test_shapes_are_those_that_cross(name: str) -> None:
    model = build(name, shape=(3, 16, 16), classes=4).eval()
    for facts in profile_cuts(model, (3, 16, 16)):
        client, _ = cut(model, facts.at)
        assert client(torch.rand(3, 3, 16, 16)).shape == (3, *facts.shape)
        assert facts.parameters == sum(p.numel() for p in client.parameters())


class Restless(nn.Module):
    """Counts its calls in a buffer, also in evaluation mode, and draws random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.get_buffer("calls").add_(1)
        return x + torch.randn_like(x)


def test_the_model_and_the_generators_stay_as_they_were() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3),
        nn.BatchNorm2d(2),
        Restless(),
        nn.Dropout(),
        nn.Flatten(),
        nn.Linear(72, 2),
    )
    model[1].eval()
    flags = [m.training for m in model.modules()]
    state = copy.deepcopy(model.state_dict())
    generator = torch.get_rng_state()
    assert [p.at for p in profile_cuts(model, (1, 8, 8))] == ["0", "1", "2", "3", "4"]
    assert [m.training for m in model.modules()] == flags
    assert all(torch.equal(state[key], tensor) for key, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert not any(m._forward_hooks for m in model.modules())


def test_cuts_where_no_tensor_crosses_are_left_out() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(3, 4)
            self.lstm = nn.LSTM(4, 5, batch_first=True)
            self.fc = nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            states, _ = self.lstm(self.embed(x))
            return self.fc(states[:, -1]).softmax(1)  # type: ignore[no-any-return]

    facts = profile_cuts(Recurrent(), (7, 3))
    assert [(p.at, p.shape) for p in facts] == [("embed", (7, 4)), ("fc", (2,))]


def test_a_model_without_multiplications_has_no_flops() -> None:
    (facts,) = profile_cuts(nn.Sequential(nn.Flatten(), nn.ReLU()), (2, 2))
    assert (facts.flops, facts.flop_share, facts.parameter_share) == (0, 0.0, 0.0)


def test_mistakes_are_explained() -> None:
    with pytest.raises(SpecError, match=r"takes no input of shape \(3, 28, 28\)"):
        profile_cuts(build("lenet", shape=(1, 28, 28), classes=10), (3, 28, 28))
    with pytest.raises(SpecError, match="Sequential can't be cut anywhere"):
        profile_cuts(nn.Sequential(nn.Linear(2, 2)), (2,))
