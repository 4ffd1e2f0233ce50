"""Stacked networks compute what their networks compute one by one."""

import copy
from collections.abc import Callable

import pytest
import torch
from support.white_box_views import Normalize
from torch import Tensor, nn
from torch.func import functional_call

from sltoolkit.models import build, cut
from sltoolkit.networks.stacked import stack
from sltoolkit.streams import Stream

pytestmark = pytest.mark.golden

N = 3


class Own(nn.Module):
    """A layer of an unknown kind around one of a known kind."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(4, 1, 1))
        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.conv(x)) * self.scale
        return out


class Twice(nn.Module):
    """The same layer at two places."""

    def __init__(self) -> None:
        super().__init__()
        self.once = nn.Linear(5, 5)
        self.again = self.once

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.again(self.once(x).relu())
        return out


def chain(*layers: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(*(copy.deepcopy(layer) for layer in layers))


def resnet() -> nn.Module:
    return cut(build("resnet20", shape=(3, 8, 8), classes=4), "layer2_1")[0]


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "patches": (chain(nn.Conv2d(3, 5, (3, 2), stride=(2, 1), padding=(1, 0))), (3, 9, 8)),
    "patches of a signal": (chain(nn.Conv1d(2, 4, 5, stride=2, padding=2, bias=False)), (2, 20)),
    "grouped": (chain(nn.Conv2d(6, 4, 3, dilation=2, groups=2, padding=1)), (6, 9, 9)),
    "grouped signal": (chain(nn.Conv1d(5, 4, 3), nn.Tanh()), (5, 12)),
    "same padding": (chain(nn.Conv2d(3, 5, 3, padding="same")), (3, 6, 6)),
    "reflected": (chain(nn.Conv2d(1, 5, 3, padding=1, padding_mode="reflect")), (1, 6, 6)),
    "normalized": (chain(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.GroupNorm(2, 4)), (2, 7, 7)),
    "layer norm": (chain(nn.Conv2d(2, 4, 3), nn.LayerNorm([4, 5, 5])), (2, 7, 7)),
    "no statistics": (chain(nn.BatchNorm2d(2, track_running_stats=False)), (2, 7, 7)),
    "features": (chain(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.5)), (6,)),
    "rows": (chain(nn.Linear(6, 5, bias=False)), (4, 6)),
    "pooled": (chain(nn.Conv2d(1, 4, 3), nn.MaxPool2d(3, 2, 1), nn.ReLU(inplace=True)), (1, 9, 9)),
    "unknown": (chain(Own(), nn.PReLU(4)), (4, 6, 6)),
    "constants": (chain(Normalize(2), nn.Conv2d(2, 4, 3)), (2, 6, 6)),
    "shared": (Twice, (5,)),
    "residual": (resnet, (3, 8, 8)),
}


def networks(make: Callable[[], nn.Module]) -> list[nn.Module]:
    """Networks with weights and statistics of their own."""
    made = []
    for i in range(N):
        with Stream(i).scope():
            network = make().double()
            for tensor in network.state_dict().values():
                if tensor.is_floating_point():
                    tensor.uniform_(0.2, 1.0).mul_(torch.randint(0, 2, tensor.shape) * 2 - 1)
            for name, buffer in network.named_buffers():
                if name.endswith("running_var"):
                    buffer.abs_()
        made.append(network.eval())
    return made


@pytest.mark.parametrize("case", CASES)
def test_sample_i_goes_through_network_i_and_so_do_gradients(case: str) -> None:
    make, shape = CASES[case]
    singles = networks(make)
    whole = stack(singles)
    g = torch.Generator().manual_seed(0)
    x = torch.randn(N, *shape, generator=g, dtype=torch.float64).requires_grad_(True)
    out = whole(x)
    alone = torch.cat([single(one[None]) for single, one in zip(singles, x, strict=True)])
    torch.testing.assert_close(out, alone)
    slopes = torch.randn(out.shape, generator=g, dtype=torch.float64)
    own = list(whole.parameters())
    got = torch.autograd.grad(out, [x, *own], slopes)
    wanted = torch.autograd.grad(alone, [x, *(p for s in singles for p in s.parameters())], slopes)
    torch.testing.assert_close(got[0], wanted[0])
    per_network = zip(*[iter(wanted[1:])] * len(own), strict=True)
    sizes = [sorted(t.square().sum().item() for t in tensors) for tensors in per_network]
    stacked_sizes = [sorted(t[i].square().sum().item() for t in got[1:]) for i in range(N)]
    assert stacked_sizes == [pytest.approx(s) for s in sizes]


def test_rows_can_be_put_in_the_places_of_all() -> None:
    singles = networks(CASES["residual"][0])
    whole = stack(singles)
    rows = torch.tensor([2, 0])
    tensors = {name: t[rows] for name, t in whole.state_dict().items()}
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    wanted = torch.cat([singles[int(r)](one[None]) for r, one in zip(rows, x, strict=True)])
    torch.testing.assert_close(functional_call(whole, tensors, (x,)), wanted)


def test_the_networks_are_copied() -> None:
    singles = networks(CASES["features"][0])
    singles[0].train()
    before = [p.clone() for p in singles[0].parameters()]
    whole = stack(singles)
    for p in whole.parameters():
        p.data.zero_()
    assert all(torch.equal(a, b) for a, b in zip(before, singles[0].parameters(), strict=True))
    assert singles[0].training
    assert not any(layer.training for layer in whole.modules())
