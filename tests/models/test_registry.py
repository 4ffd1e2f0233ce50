"""Our models: architecture, parameters, determinism, and every one of their cuts."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sltoolkit.errors import SpecError
from sltoolkit.models import MODELS, build, cut, cut_points
from sltoolkit.streams import Stream

MNIST, CIFAR, DIGITS, FACES = (1, 28, 28), (3, 32, 32), (1, 8, 8), (1, 25, 25)
BEAT = (1, 128)


def make(name: str, shape: tuple[int, ...], classes: int = 10, **params: Any) -> nn.Sequential:
    with Stream(0).scope():
        return build(name, shape=shape, classes=classes, **params)


def batch(shape: tuple[int, ...], size: int = 2) -> Tensor:
    return torch.rand(size, *shape, generator=Stream(1).torch())


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


CASES: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("mlp", (7,), {}),
    ("mlp", DIGITS, {"hidden": [5, 4, 3]}),
    ("lenet", MNIST, {}),
    ("lenet", CIFAR, {}),
    ("lenet", FACES, {}),
    ("lenet", DIGITS, {"padding": 2}),
    ("cifar_cnn", (3, 16, 16), {}),
    ("cifar_cnn", MNIST, {}),
    ("ecg_cnn", BEAT, {}),
    ("ecg_cnn", (2, 33), {}),
    ("resnet20", CIFAR, {}),
    ("resnet20", FACES, {"norm": "group"}),
    ("resnet18", DIGITS, {}),
    ("resnet18", DIGITS, {"norm": "group"}),
]


@pytest.mark.parametrize(("name", "shape", "params"), CASES)
def test_every_cut_composes_to_the_model_and_partitions_its_parameters(
    name: str, shape: tuple[int, ...], params: dict[str, Any]
) -> None:
    model = make(name, shape, **params).eval()
    keys = list(model.state_dict())
    for size in (1, 2):
        x = batch(shape, size)
        whole = model(x)
        assert whole.shape == (size, 10)
        for at in cut_points(model):
            client, server = cut(model, at)
            assert torch.equal(server(client(x)), whole)
            assert [*client.state_dict(), *server.state_dict()] == keys
            assert not any(m.training for part in (client, server) for m in part.modules())


@pytest.mark.parametrize(("name", "shape", "params"), CASES)
def test_every_block_but_the_last_is_a_cut(
    name: str, shape: tuple[int, ...], params: dict[str, Any]
) -> None:
    model = make(name, shape, **params)
    blocks = [block for block, _ in model.named_children()]
    assert cut_points(model) == blocks[:-1]
    assert MODELS[name].cut in blocks[:-1]


@pytest.mark.parametrize("name", ["resnet20", "resnet18"])
def test_a_cut_trains_exactly_as_the_whole_with_batch_norm(name: str) -> None:
    model = make(name, DIGITS)
    other = copy.deepcopy(model)
    x = batch(DIGITS, 4)
    client, server = cut(other, MODELS[name].cut)
    model(x).square().sum().backward()
    server(client(x)).square().sum().backward()
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        assert torch.equal(mine.grad, theirs.grad)
    for kept, changed in zip(model.buffers(), other.buffers(), strict=True):
        assert torch.equal(kept, changed)


def test_parts_can_be_copied_and_their_state_loaded_into_a_new_model() -> None:
    client, server = cut(make("lenet", MNIST), "relu2")
    fresh = build("lenet", shape=MNIST, classes=10)
    fresh.load_state_dict({**client.state_dict(), **server.state_dict()})
    x = batch(MNIST)
    assert torch.equal(fresh(x), copy.deepcopy(server)(copy.deepcopy(client)(x)))


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        # conv 8*25+8, 16*8*25+16; fc 256*120+120, 120*84+84, 84*10+10
        ("lenet", MNIST, 208 + 3216 + 30840 + 10164 + 850),
        # published: 0.27 M in He et al. 2016 table 6, here without rounding
        ("resnet20", CIFAR, 269_722),
        # published for the CIFAR stem: 11.17 M
        ("resnet18", CIFAR, 11_173_962),
        # conv 16*7+16, 16*16*5+16; fc 512*128+128, 128*10+10
        ("ecg_cnn", BEAT, 128 + 1296 + 65664 + 1290),
        ("cifar_cnn", CIFAR, 1792 + 36928 + 73856 + 3 * 147584 + 2048 * 512 + 512 + 5130),
    ],
)
def test_parameter_counts(name: str, shape: tuple[int, ...], expected: int) -> None:
    assert parameters(make(name, shape)) == expected


def test_lenet_and_the_cifar_network_are_those_of_he_2019() -> None:
    x = batch(MNIST)
    lenet = make("lenet", MNIST)
    assert cut(lenet, "conv1")[0](x).shape == (2, 8, 24, 24)
    assert cut(lenet, "relu2")[0](x).shape == (2, 16, 8, 8)
    cifar = make("cifar_cnn", CIFAR)
    x = batch(CIFAR)
    assert cut(cifar, "conv11")[0](x).shape == (2, 64, 32, 32)
    assert cut(cifar, "relu22")[0](x).shape == (2, 128, 16, 16)
    assert cut(cifar, "relu32")[0](x).shape == (2, 128, 8, 8)
    hidden = cut(cifar, "sigmoid")[0](x)  # the only layer that is not rectified
    assert hidden.shape == (2, 512)
    assert torch.equal(hidden, torch.sigmoid(cut(cifar, "fc1")[0](x)))


@pytest.mark.parametrize("name", ["resnet18", "resnet20"])
def test_group_norm_leaves_no_batch_norm_and_makes_samples_independent(name: str) -> None:
    model = make(name, DIGITS, norm="group")
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert sum(isinstance(m, nn.GroupNorm) for m in model.modules()) > 0
    x = batch(DIGITS, 3).double()
    model.double()
    assert torch.allclose(model(x)[:1], model(x[:1]), rtol=0, atol=1e-12)
    batch_norm = make(name, DIGITS).double()
    assert not torch.allclose(batch_norm(x)[:1], batch_norm(x[:2])[:1], rtol=0, atol=1e-3)


def test_resnet_shortcut_halves_the_image_and_pads_channels_with_zeros() -> None:
    block = make("resnet20", CIFAR).get_submodule("layer2_0")
    x = batch((16, 4, 4))
    shortcut = block.get_submodule("shortcut")(x)
    assert shortcut.shape == (2, 32, 2, 2)
    assert torch.equal(shortcut[:, 8:24], x[:, :, ::2, ::2])
    assert shortcut[:, :8].count_nonzero() == shortcut[:, 24:].count_nonzero() == 0


@pytest.mark.parametrize("name", sorted(MODELS))
def test_initialization_is_a_function_of_the_stream(name: str) -> None:
    shape = BEAT if name == "ecg_cnn" else CIFAR
    with Stream(5).scope():
        one = build(name, shape=shape, classes=3)
    torch.rand(3)  # outside draws don't matter
    with Stream(5).scope():
        two = build(name, shape=shape, classes=3)
    with Stream(6).scope():
        three = build(name, shape=shape, classes=3)
    first, again, other = (list(model.parameters()) for model in (one, two, three))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("name", sorted(MODELS))
def test_entries_say_where_they_come_from(name: str) -> None:
    entry = MODELS[name]
    assert entry.description
    assert any(character.isdigit() for character in entry.citation)
    assert "shape" not in entry.params
    build(name, shape=BEAT if name == "ecg_cnn" else CIFAR, classes=2, **entry.params)


@pytest.mark.parametrize(
    ("name", "shape", "classes", "params", "message"),
    [
        ("lenett", MNIST, 10, {}, "no model is called 'lenett'; did you mean 'lenet'?"),
        ("resnet20", CIFAR, 10, {"nrom": "group"}, "parameter of resnet20.*did you mean 'norm'"),
        (
            "resnet20",
            CIFAR,
            10,
            {"norm": "grupo"},
            "norm must be one of 'batch', 'group', got 'grupo'",
        ),
        ("resnet20", CIFAR, 10, {"norm": 3}, "norm must be one of 'batch', 'group', got 3"),
        ("lenet", (7,), 10, {}, r"images of shape \(C, H, W\), got \(7,\)"),
        ("lenet", DIGITS, 10, {}, "larger images than 8x8.*padding=2"),
        (
            "lenet",
            MNIST,
            10,
            {"padding": -1},
            "lenet: padding must be a whole number of at least 0, got -1",
        ),
        ("cifar_cnn", (3, 7, 32), 10, {}, "7x32 is below 8x8"),
        ("ecg_cnn", (1, 28, 28), 10, {}, r"signals \(C, L\).*got \(1, 28, 28\)"),
        (
            "mlp",
            (7,),
            10,
            {"hidden": [3, 0]},
            r"mlp: hidden must be a list of whole numbers of at least 1, got \[3, 0\]",
        ),
        ("mlp", (7,), 0, {}, "at least one class, got 0"),
        ("mlp", (), 3, {}, r"positive integers, got \(\)"),
    ],
)
def test_mistakes_are_explained(
    name: str, shape: tuple[int, ...], classes: int, params: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        build(name, shape=shape, classes=classes, **params)


@pytest.mark.parametrize("size", [15, 16])
def test_lenet_refuses_exactly_what_does_not_fit(size: int) -> None:
    if size == 16:
        assert make("lenet", (1, size, size))(batch((1, size, size))).shape == (2, 10)
        return
    with pytest.raises(SpecError):
        make("lenet", (1, size, size))
