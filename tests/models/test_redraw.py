"""Fresh networks of the same architecture hold no number of the old one, or are refused."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from sltoolkit.errors import SpecError
from sltoolkit.models.redraw import redraw
from sltoolkit.streams import Stream


class _Registered(nn.Module):
    """A layer with a buffer and a parameter, neither of which it resets."""

    def __init__(self, buffer: Tensor) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((3,), 2.0))
        self.register_buffer("table", buffer)


class _Table(_Registered):
    def reset_parameters(self) -> None:
        self.table = torch.linspace(0, 1, 3)  # the constant that it always has


class _Demanding(nn.Linear):
    def reset_parameters(self, std: float | None = None) -> None:
        if hasattr(self, "made") and std is None:
            raise TypeError("give std")
        super().reset_parameters()
        self.made = True


def _weight_normed() -> nn.Module:
    with torch.no_grad(), pytest.warns(FutureWarning, match="deprecated"):
        return nn.utils.weight_norm(nn.Conv2d(2, 4, 3))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "spectral_norm": lambda: nn.utils.spectral_norm(nn.Conv2d(2, 4, 3)),
    "spectral_norm of columns": lambda: nn.utils.spectral_norm(nn.ConvTranspose2d(2, 4, 3)),
    "spectral_norm of a linear layer": lambda: nn.utils.spectral_norm(nn.Linear(5, 3)),
    "weight_norm": _weight_normed,
    "parametrized spectral_norm": lambda: parametrizations.spectral_norm(nn.Conv2d(2, 4, 3)),
    "parametrized columns": lambda: parametrizations.spectral_norm(nn.Linear(5, 3), dim=1),
    "parametrized weight_norm": lambda: parametrizations.weight_norm(nn.Linear(5, 3)),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(5, 5)),
    "two parametrizations": lambda: parametrizations.spectral_norm(
        parametrizations.weight_norm(nn.Linear(5, 3), name="weight")
    ),
    "batch norm": lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)),
    "no affine weights": lambda: nn.BatchNorm2d(4, affine=False),
    "recurrent": lambda: nn.LSTM(4, 3, num_layers=2),
    "attention": lambda: nn.TransformerEncoderLayer(8, 2, 16),
    "embedding": lambda: nn.Embedding(6, 4, padding_idx=0),
    "double": lambda: nn.utils.spectral_norm(nn.Linear(5, 3).double()),
    "own parameter": lambda: _Table(torch.zeros(3)),
}


def _learned(network: nn.Module) -> nn.Module:
    """The network with other numbers everywhere, as if it had learned."""
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.add_(torch.rand_like(value) + 0.25)
    return network


def _fresh(network: nn.Module, seed: int) -> dict[str, Tensor]:
    made = copy.deepcopy(network).requires_grad_(True).train()
    with Stream(seed).scope():
        redraw(made)
    return dict(made.state_dict())


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_fresh_network_says_nothing_of_the_old_one(kind: str) -> None:
    torch.manual_seed(3)
    first, second = (_learned(NETWORKS[kind]()) for _ in range(2))

    one, other = _fresh(first, 0), _fresh(second, 0)

    assert one.keys() == other.keys() == first.state_dict().keys()
    for name, value in one.items():  # one stream draws the same, whatever was learned
        assert bool(value.isfinite().all()), name
        torch.testing.assert_close(value, other[name], rtol=1e-4, atol=1e-5, msg=name)
        if value.is_floating_point():
            assert not torch.equal(value, first.state_dict()[name]), name


def test_other_streams_draw_other_numbers() -> None:
    layer = nn.utils.spectral_norm(nn.Linear(5, 3))
    one, other = _fresh(layer, 0), _fresh(layer, 1)
    assert not [name for name in one if torch.equal(one[name], other[name])]


@pytest.mark.parametrize("constant", [torch.zeros(3), torch.ones(3)], ids=["zeros", "ones"])
def test_a_constant_of_every_fresh_network_stays(constant: Tensor) -> None:
    assert torch.equal(_fresh(_Registered(constant), 0)["table"], constant)


def test_a_buffer_that_nothing_draws_anew_is_refused_by_name() -> None:
    network = nn.Sequential(nn.Linear(3, 3), _Registered(torch.rand(3)))
    with pytest.raises(SpecError, match=r"1\.table of _Registered is a buffer.*reset_parameters"):
        _fresh(network, 0)


def test_a_constant_that_the_layer_sets_is_kept() -> None:
    assert torch.equal(_fresh(_Table(torch.rand(3)), 0)["table"], torch.linspace(0, 1, 3))


def test_a_parameter_of_integers_is_refused_by_name() -> None:
    network = nn.Sequential(nn.Linear(3, 3))
    network[0].codes = nn.Parameter(torch.arange(3), requires_grad=False)
    with pytest.raises(SpecError, match=r"0\.codes of Linear is a parameter of integers"):
        redraw(network)


def test_a_layer_whose_reset_fails_is_refused_by_name() -> None:
    with pytest.raises(SpecError, match=r"1 \(_Demanding\) can't be drawn anew.*give std"):
        _fresh(nn.Sequential(nn.ReLU(), _Demanding(3, 3)), 0)
