"""Many networks of one architecture as one: sample i of a batch goes through network i.

Attacks that fit one network per target use it. Each layer with weights or buffers is replaced by a
layer that holds those of all N networks; everything else works as on any batch. So one pass of N
samples does what N passes of one sample would do in evaluation mode, without their overhead.

(`torch.func.vmap` over whole networks does the same. On one CPU core it took 1.1 to 1.2 times as
long for LeNet's first layers, where a step with a gradient of 64 networks took 4 to 10 ms.)
"""

import copy
from collections.abc import Callable, Sequence
from itertools import chain, product
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional

FEW_CHANNELS = 3
"""The most channels for which a product with patches is faster than a grouped convolution."""


def stack(networks: Sequence[nn.Module]) -> nn.Module:
    """One network that sends sample i of N through `networks[i]`, in evaluation mode.

    Args:
        networks: N networks of one architecture; they are copied.

    Returns:
        A network (N, ...) -> (N, ...). Its parameters and buffers are (N, ...), and row i is that
        of network i. `torch.func.functional_call` can run it on any selection of rows.
    """
    return _stacked([copy.deepcopy(network).eval() for network in networks], {})


def _stacked(networks: Sequence[nn.Module], done: dict[int, nn.Module]) -> nn.Module:
    first = networks[0]
    if id(first) not in done:  # a layer that is used twice stays one layer
        done[id(first)] = _replaced(networks, done)
    return done[id(first)]


def _replaced(networks: Sequence[nn.Module], done: dict[int, nn.Module]) -> nn.Module:
    first = networks[0]
    if (known := _LAYERS.get(type(first))) is not None and _usual(first):
        return known(networks)
    if any(True for _ in chain(first.parameters(recurse=False), first.buffers(recurse=False))):
        return _Mapped(networks)
    for name, child in first._modules.items():
        if child is not None:
            first._modules[name] = _stacked([n.get_submodule(name) for n in networks], done)
    return first


def _usual(layer: nn.Module) -> bool:
    """Whether a layer has none of the rarer settings that the classes here don't support."""
    zeros = getattr(layer, "padding_mode", "zeros") == "zeros"
    tracked = getattr(layer, "track_running_stats", True)
    return zeros and tracked and not isinstance(getattr(layer, "padding", 0), str)


class _Layer(nn.Module):
    """A layer with the parameters and buffers of N layers, each (N, ...)."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        # in a tuple it is no submodule: its own weights are the first network's alone
        self._like: tuple[Any] = (layers[0],)
        parameters, buffers = stack_module_state(list(layers))
        for name, value in parameters.items():
            self.register_parameter(_plain(name), nn.Parameter(value.detach()))
        for name, value in buffers.items():
            self.register_buffer(_plain(name), value)
        self._names = {_plain(name): name for name in (*parameters, *buffers)}
        self.eval()

    @property
    def like(self) -> Any:
        """One of the layers, for its settings."""
        return self._like[0]

    def held(self, name: str) -> Tensor | None:
        """A parameter or buffer (N, ...); None where the layers have none of this name."""
        return getattr(self, name) if name in self._names else None

    def scaled(self, x: Tensor) -> Tensor:
        """`x` (N, C, ...) times the weights plus the biases, each (N, C) or missing."""
        weight, bias = self.held("weight"), self.held("bias")
        x = x if weight is None else x * _per_channel(weight, x)
        return x if bias is None else x + _per_channel(bias, x)


def _plain(name: str) -> str:
    return name.replace(".", "/")


def _per_channel(value: Tensor, x: Tensor) -> Tensor:
    """(N, C) shaped to broadcast over x (N, C, ...)."""
    return value.reshape(*value.shape, *(1,) * (x.dim() - 2))


class _Linear(_Layer):
    weight: Tensor

    def forward(self, x: Tensor) -> Tensor:
        rows, weight, bias = x.reshape(len(x), -1, x.shape[-1]), self.weight.mT, self.held("bias")
        out = rows @ weight if bias is None else torch.baddbmm(bias[:, None], rows, weight)
        return out.reshape(*x.shape[:-1], -1)


class _Convolution(_Layer):
    """A grouped convolution, one group of channels per network; or a product with patches."""

    weight: Tensor

    def forward(self, x: Tensor) -> Tensor:
        like = self.like
        unit = set(like.dilation) == {1} and like.groups == 1
        return self._products(x) if unit and like.in_channels <= FEW_CHANNELS else self._groups(x)

    def _groups(self, x: Tensor) -> Tensor:
        like, bias = self.like, self.held("bias")
        convolve: Callable[..., Tensor] = functional.conv1d if x.dim() == 3 else functional.conv2d
        out = convolve(
            x.reshape(1, -1, *x.shape[2:]), self.weight.flatten(0, 1),
            None if bias is None else bias.flatten(), like.stride, like.padding, like.dilation,
            len(x) * like.groups,
        )  # fmt: skip
        return out.reshape(len(x), -1, *out.shape[2:])

    def _products(self, x: Tensor) -> Tensor:
        like, weight, bias = self.like, self.weight.flatten(2), self.held("bias")
        around = [side for padding in reversed(like.padding) for side in (padding, padding)]
        x = functional.pad(x, around) if any(around) else x
        size = [
            (side - kernel) // stride + 1
            for side, kernel, stride in zip(x.shape[2:], like.kernel_size, like.stride, strict=True)
        ]
        patches: Tensor = _Patches.apply(x, like.kernel_size, like.stride, size)  # type: ignore[no-untyped-call]
        out = weight @ patches if bias is None else torch.baddbmm(bias[..., None], weight, patches)
        return out.reshape(len(x), -1, *size)


class _Patches(torch.autograd.Function):
    """The patches under a kernel, (N, C * kernel, places); torch's unfold is ten times slower."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, kernel: Sequence[int], stride: Sequence[int], size: Sequence[int]
    ) -> Tensor:
        ctx.shape, ctx.kernel, ctx.stride, ctx.size = x.shape, kernel, stride, size
        view = x
        for dim, (width, step) in enumerate(zip(kernel, stride, strict=True), start=2):
            view = view.unfold(dim, width, step)
        places = len(kernel)  # (N, C, places..., kernel...)
        order = (0, 1, *range(2 + places, 2 + 2 * places), *range(2, 2 + places))
        return view.permute(order).reshape(len(x), -1, torch.Size(size).numel())

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, None, None]:
        n, channels = ctx.shape[:2]
        parts = slopes[0].reshape(n, channels, -1, *ctx.size).unbind(2)
        out = slopes[0].new_zeros(ctx.shape)
        corners = product(*map(range, ctx.kernel))
        for part, corner in zip(parts, corners, strict=True):
            covered = [
                slice(first, first + step * (count - 1) + 1, step)
                for first, step, count in zip(corner, ctx.stride, ctx.size, strict=True)
            ]
            out[(slice(None), slice(None), *covered)] += part
        return out, None, None, None


class _BatchNorm(_Layer):
    """BatchNorm in evaluation mode, whose running statistics are constants."""

    running_mean: Tensor
    running_var: Tensor

    def forward(self, x: Tensor) -> Tensor:
        root = torch.rsqrt(self.running_var + self.like.eps)
        return self.scaled((x - _per_channel(self.running_mean, x)) * _per_channel(root, x))


class _GroupNorm(_Layer):
    def forward(self, x: Tensor) -> Tensor:
        return self.scaled(functional.group_norm(x, self.like.num_groups, eps=self.like.eps))


class _MaxPool(nn.Module):
    """Max pooling in channels-last: it takes two thirds of the time, copies included."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.pool = layers[0]

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.pool(x.contiguous(memory_format=torch.channels_last))
        return pooled.contiguous()


class _Mapped(_Layer):
    """A layer of any other kind, mapped over networks by `vmap`."""

    def forward(self, x: Tensor) -> Tensor:
        weights: dict[str, Tensor] = {
            name: getattr(self, plain) for plain, name in self._names.items()
        }

        def one(own: dict[str, Tensor], sample: Tensor) -> Tensor:
            out: Tensor = functional_call(self.like, own, (sample[None],))
            return out[0]

        mapped: Tensor = vmap(one)(weights, x)
        return mapped


_LAYERS: dict[type, Callable[[Sequence[nn.Module]], nn.Module]] = {
    nn.Linear: _Linear,
    nn.Conv1d: _Convolution,
    nn.Conv2d: _Convolution,
    nn.BatchNorm1d: _BatchNorm,
    nn.BatchNorm2d: _BatchNorm,
    nn.GroupNorm: _GroupNorm,
    nn.MaxPool2d: _MaxPool,
}
"""Kind of layer -> its stacked version. A subclass may compute something else: it is mapped."""
