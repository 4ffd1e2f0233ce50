"""Reconstruction attacks at every cut of every registered model, and in every kind of protocol.

At the first and the default cut; at the others with `-m slow`.
"""

from functools import cache
from typing import Any

import pytest
import torch
from support.toys import TARGETS, victim

from contract.active_checks import check_well_formed, granted
from contract.suitable_victims import OTHERS
from sltoolkit.api import attack, train
from sltoolkit.attacks import ATTACKS
from sltoolkit.contracts.attack import ActiveAttack, Listener
from sltoolkit.data.samples import Samples, Split
from sltoolkit.data.targets import Targets
from sltoolkit.errors import SpecError
from sltoolkit.models import MODELS, build, cut_points
from sltoolkit.parameters.grids import open_parameters, settled
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Protocol, SplitFedV1, UShaped, Vanilla
from sltoolkit.streams import Stream
from sltoolkit.training.victim import Victim

SHAPES: dict[str, tuple[int, ...]] = {"mlp": (20,), "lenet": (1, 28, 28), "ecg_cnn": (1, 96)}
REGISTERED: dict[str, Any] = {**ATTACKS}
KINDS = {
    name: kind
    for name, kind in REGISTERED.items()
    if kind.family == "reconstruction" and name not in OTHERS
}
"""Those that hear smashed data; the others hear updates, which know no cut."""
ONCE = KINDS.keys() - {"fsha", "colluding"}
PROTOCOLS: dict[str, Protocol] = {
    "vanilla": Vanilla(clients=2),
    "u_shaped": UShaped(clients=2),
    "splitfed_v1": SplitFedV1(clients=2),
}


SETTLED = {"tv_weight": 0.01, "tv_beta": 1, "forward": "client", "lr": 0.1}
"""What is otherwise rehearsed, which shapes have no part in."""


def smallest(name: str) -> Any:
    """The attack at its smallest setting, with nothing to rehearse."""
    one = KINDS[name].smoke()
    open_ = open_parameters(one)
    values = {k: SETTLED.get(k.rpartition(".")[2]) for k in open_}
    return settled(one, {k: v for k, v in values.items() if v is not None})


def shape_of(model: str) -> tuple[int, ...]:
    return SHAPES.get(model, (3, 8, 8))


def drawn(shape: tuple[int, ...]) -> Split:
    """Random inputs of two classes, eight for each part."""
    x, y = torch.rand(24, *shape, generator=Stream(0).torch()), torch.arange(24) % 2
    ids = torch.arange(24)
    parts = [Samples(x=x[i::3], y=y[i::3], ids=ids[i::3], groups=ids[i::3]) for i in range(3)]
    return Split(
        name="drawn", private_train=parts[0], private_holdout=parts[1], aux=parts[2],
        classes=("a", "b"),
    )  # fmt: skip


def cuts() -> list[Any]:
    """Every cut of every model."""
    found = []
    for model in MODELS:
        points = list(cut_points(build(model, shape=shape_of(model), classes=2)))
        fast = {points[0], MODELS[model].cut}
        found += [
            pytest.param(
                model, cut, id=f"{model}-{cut}", marks=[] if cut in fast else pytest.mark.slow
            )
            for cut in points
        ]
    return found


@pytest.mark.parametrize(("model", "cut"), cuts())
def test_every_cut_of_every_model(model: str, cut: str) -> None:
    attacks = {name: smallest(name) for name in ONCE}
    listeners = [one for one in attacks.values() if isinstance(one, Listener)]
    grants = frozenset[str]().union(*map(granted, attacks.values()))
    taken = train(
        model, drawn(shape_of(model)), cut=cut, listeners=listeners, grants=grants,
        training=Training(epochs=1, batch_size=4), targets=Targets(count=2),
    )  # fmt: skip
    refusing = {name for name, one in attacks.items() if one.refuses(taken.task)}
    assert refusing <= {"deep_image_prior"}  # the only one that is about images alone
    for name, one in sorted(attacks.items()):
        if name in refusing:
            with pytest.raises(SpecError, match=f"{type(one).__name__} doesn't apply: a U-Net"):
                attack(taken, one, grants=granted(one))
        else:
            scores = attack(taken, one, grants=granted(one)).verdict.scores["mse"]
            assert bool(scores.isfinite().all()), name


@cache
def heard(protocol: str) -> Victim:
    """One victim for all; every listener listened to its training."""
    listeners = [kind.smoke() for kind in KINDS.values() if issubclass(kind, Listener)]
    how = PROTOCOLS[protocol]
    return victim(
        protocol=how, cut="drop" if how.parts == 2 else ("drop", "flatten"), listeners=listeners,
        grants=frozenset[str]().union(*map(granted, listeners)), targets=TARGETS,
    )  # fmt: skip


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", [n for n, k in KINDS.items() if not issubclass(k, ActiveAttack)])
def test_every_kind_of_protocol(name: str, protocol: str) -> None:
    whom = heard(protocol)
    listening = [t.attack for t in whom.attached if isinstance(t.attack, KINDS[name])]
    check_well_formed(whom, listening[0] if listening else KINDS[name].smoke())
