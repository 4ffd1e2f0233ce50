"""Networks whose parts don't fit the task, each other or the toolkit: one sentence says so."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from support.situations import fault, made_up, parted, perceptron, refusal_of
from torch import Tensor, nn

import sltoolkit as sl

ONE = sl.Training(epochs=1)
NONE = sl.Training(epochs=0)


@pytest.mark.parametrize(
    ("classes", "head"),
    [
        fault("torch's error from inside", 2, [nn.Linear(8, 1)], id="one logit"),
        fault("torch's error from inside", 3, [nn.Linear(8, 2)], id="too few logits"),
        fault(
            "torch's error from inside",
            2, [nn.Linear(8, 2), nn.Unflatten(1, (2, 1))],
            id="logits (B, 2, 1)",
        ),
        fault(
            "torch's error from inside",
            2, [nn.Linear(8, 32), nn.Unflatten(1, (2, 4, 4))],
            id="spatial logits",
        ),
    ],
)  # fmt: skip
def test_logits_that_do_not_fit_the_classes_are_refused(
    classes: int, head: list[nn.Module]
) -> None:
    def network() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), *head)

    data = parted(made_up(classes=classes))

    said = refusal_of(lambda: sl.train(network, data, cut=1, training=ONE))

    assert "class" in said
    assert "logit" in said


class _Recurrent(nn.Module):
    def __init__(self, kind: type[nn.LSTM | nn.GRU]) -> None:
        super().__init__()
        self.rnn, self.fc = kind(8, 6, batch_first=True), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(self.rnn(x.squeeze(1))[0][:, -1])
        return out


class _Wrapped(nn.Module):
    def __init__(self, wrap: Callable[[Tensor], Any], inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear, self.wrap = nn.Linear(inputs, outputs), wrap

    def forward(self, x: Tensor) -> Any:
        return self.wrap(self.linear(x.flatten(1)))


def _same(z: Tensor) -> Tensor:
    return z


@pytest.mark.parametrize(
    "make",
    [
        fault(
            "a traceback",
            lambda: sl.train(lambda: _Recurrent(nn.LSTM), parted(), cut="rnn", training=ONE),
            id="cut after LSTM",
        ),
        fault(
            "a traceback",
            lambda: sl.train(lambda: _Recurrent(nn.GRU), parted(), cut="rnn", training=ONE),
            id="cut after GRU",
        ),
        fault(
            "a traceback",
            lambda: sl.frozen(_Wrapped(lambda z: (z, z), 64, 8), nn.Linear(8, 2), parted()),
            id="client returns a tuple",
        ),
        fault(
            "a traceback",
            lambda: sl.frozen(
                _Wrapped(_same, 64, 8), _Wrapped(lambda z: {"logits": z}, 8, 2), parted()
            ),
            id="server returns a dict",
        ),
    ],
)
def test_parts_that_return_no_tensor_are_refused(make: Callable[[], object]) -> None:
    assert "tensor" in refusal_of(make)


_SERVERS: dict[str, Callable[[], nn.Sequential]] = {
    "pooling meant for large images": lambda: nn.Sequential(
        nn.AvgPool2d(7), nn.Flatten(), nn.Linear(4, 2)
    ),
    "linear of another size": lambda: nn.Sequential(nn.Flatten(), nn.Linear(99, 2)),
    "half precision": lambda: nn.Sequential(nn.Flatten(), nn.Linear(144, 2)).half(),
}


@pytest.mark.parametrize("trained", [True, False], ids=["train", "frozen"])
@pytest.mark.parametrize(
    "server", [fault("a traceback of torch", make, id=name) for name, make in _SERVERS.items()]
)
def test_a_server_that_does_not_fit_the_client_is_refused(
    server: Callable[[], nn.Sequential], *, trained: bool
) -> None:
    client = nn.Conv2d(1, 4, 3)

    def make() -> None:
        if trained:
            sl.train(nn.Sequential(client, *server()), parted(), cut=0, training=ONE)
        else:
            sl.frozen(client, server(), parted())

    assert refusal_of(make)


def _weight_norm() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch has a newer one
        hidden = nn.utils.weight_norm(nn.Linear(64, 8))
    return nn.Sequential(nn.Flatten(), hidden, nn.Linear(8, 2))


def _lazy() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.LazyLinear(2))


def _batch_statistics() -> nn.Module:
    norm = nn.BatchNorm1d(8, track_running_stats=False)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), norm, nn.Linear(8, 2))


def _scripted() -> object:
    client = torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(64, 8)))
    return sl.frozen(client, torch.jit.script(nn.Linear(8, 2)), parted())


def _trained(model: Any, cut: Any, **options: Any) -> Callable[[], object]:
    return lambda: sl.train(model, parted(), cut=cut, **{"training": ONE, **options})


@pytest.mark.parametrize(
    "make",
    [
        fault("RuntimeError of deepcopy", _trained(_weight_norm, 1), id="weight_norm"),
        fault("an error of lazy parameters", _trained(_lazy, 1), id="LazyLinear"),
        fault("an error of copying a script", _scripted, id="TorchScript"),
        fault(
            "ValueError from inside BatchNorm",
            _trained(_batch_statistics, 2),
            id="BatchNorm without running statistics",
        ),
        pytest.param(
            _trained("mlp", "relu1", device="cuda"),
            id="no such device",
            marks=[
                pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU"),
                pytest.mark.xfail(strict=True, raises=AssertionError, reason="torch's error"),
            ],
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_modules_and_devices_that_are_unusual_work_or_are_refused(
    make: Callable[[], object],
) -> None:
    refusal_of(make)


def _attacked(attack: Any) -> Callable[[], object]:
    def act() -> object:
        victim = sl.train(perceptron(), parted(), cut=1, training=NONE)
        return sl.attack(victim, attack)

    return act


def _plain() -> Any:
    return np.random.default_rng(0).random((300, 1, 8, 8), dtype=np.float32), np.arange(300) % 2


@pytest.mark.parametrize(
    "make",
    [
        fault("a traceback", _attacked("retrieval"), id="attack by name"),
        fault("a traceback", _attacked(sl.Retrieval), id="class of an attack"),
        fault(
            "a traceback",
            _trained("mlp", "relu1", defense=sl.GaussianNoise, training=NONE),
            id="class of a defense",
        ),
        fault(
            "a traceback",
            _trained("mlp", "relu1", protocol=sl.SplitFedV1, training=NONE),
            id="class of a protocol",
        ),
        fault(
            "a traceback",
            lambda: sl.train("mlp", made_up(), cut="relu1", training=NONE),  # type: ignore[arg-type]
            id="pool that is not split",
        ),
        fault(
            "a traceback",
            lambda: sl.train("mlp", _plain(), cut="relu1", training=NONE),
            id="plain arrays",
        ),
    ],
)
def test_a_name_a_class_or_a_pool_in_place_of_an_object_is_taken_or_refused(
    make: Callable[[], object],
) -> None:
    refusal_of(make)
