"""Small clients and the views that white boxes get of them."""

from collections.abc import Callable

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from sltoolkit.attacks.inversion._observation import WhiteBoxView
from sltoolkit.contracts.defense import Defense, Task
from sltoolkit.contracts.knowledge import Aux, Release
from sltoolkit.streams import Stream


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def digits(n: int) -> Tensor:
    """Real 8x8 digits, (n, 1, 8, 8) in [0, 1]."""
    return torch.tensor(load_digits().images[:n], dtype=torch.float32)[:, None] / 16


def orthogonal(rows: int, columns: int, seed: int) -> Tensor:
    q: Tensor = torch.linalg.qr(torch.randn(columns, columns, generator=seeded(seed)).double())[0]
    return q[:rows]


def linear_client(weight: Tensor) -> nn.Module:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False).double()
    layer.weight.data.copy_(weight)
    return nn.Sequential(nn.Flatten(), layer)


def conv_client(seed: int = 0) -> nn.Sequential:
    with Stream(seed).scope():
        return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU()).eval()


class Normalize(nn.Module):
    """A fixed shift and scale, with buffers but without parameters."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((channels, 1, 1), 0.4))
        self.register_buffer("std", torch.full((channels, 1, 1), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize images (B, channels, H, W)."""
        return (x - self.mean) / self.std


def task_of(x: Tensor, smashed: Tensor) -> Task:
    return Task(input_shape=tuple(x.shape[1:]), smashed_shape=tuple(smashed.shape[2:]), classes=10)


def whitebox_view(
    client: nn.Module,
    x: Tensor,
    *,
    aux: Tensor | None = None,
    release: Callable[[Tensor], Tensor] | None = None,
    repeats: int = 1,
    mechanism: Callable[[Stream], Defense] | None = None,
) -> WhiteBoxView:
    oracle = Release(release or client)
    smashed = oracle(x, repeats=repeats)
    return WhiteBoxView(
        smashed=smashed,
        client_weights=client,
        task=task_of(x, smashed),
        aux=None if aux is None else Aux(x=aux, y=torch.zeros(len(aux), dtype=torch.int64)),
        release=None if aux is None else oracle,
        mechanism=mechanism,
    )  # fmt: skip


def error(guess: Tensor, truth: Tensor) -> float:
    return float((guess - truth).square().mean())
