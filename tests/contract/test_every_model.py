"""Reconstruction attacks at every cut of every registered model, and in every kind of protocol.

At the first and the default cut; at the others with `-m slow`.
"""

from functools import cache
from typing import Any

import pytest
from support.toys import TARGETS, random_split, victim

from contract.kinds import OF_LOGITS, OF_UPDATES
from sltoolkit.api import attack, train
from sltoolkit.attacks import ATTACKS
from sltoolkit.contracts.attack import ActiveAttack, Listener
from sltoolkit.data.targets import Targets
from sltoolkit.errors import SpecError
from sltoolkit.models import MODELS, build, cut_points
from sltoolkit.parameters.grids import open_parameters, settled
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Protocol, SplitFedV1, UShaped, Vanilla
from sltoolkit.testing.judging import check_well_formed, granted
from sltoolkit.training.victim import Victim

SHAPES: dict[str, tuple[int, ...]] = {"mlp": (20,), "lenet": (1, 28, 28), "ecg_cnn": (1, 96)}
REGISTERED: dict[str, Any] = {**ATTACKS}
KINDS = {
    name: kind
    for name, kind in REGISTERED.items()
    if kind.family == "reconstruction" and name not in (*OF_UPDATES, *OF_LOGITS)
}
"""Attacks that hear smashed data; the others hear updates, which have no cut."""
ONCE = KINDS.keys() - {"fsha", "colluding"}
PROTOCOLS: dict[str, Protocol] = {
    "vanilla": Vanilla(clients=2),
    "u_shaped": UShaped(clients=2),
    "splitfed_v1": SplitFedV1(clients=2),
}


SETTLED = {"tv_weight": 0.01, "tv_beta": 1, "forward": "client", "lr": 0.1}
"""Settings that would otherwise be rehearsed; shapes don't depend on them."""


def smallest(name: str) -> Any:
    """The attack at its smallest setting, with nothing to rehearse."""
    one = KINDS[name].smoke()
    open_ = open_parameters(one)
    values = {k: SETTLED.get(k.rpartition(".")[2]) for k in open_}
    return settled(one, {k: v for k, v in values.items() if v is not None})


def shape_of(model: str) -> tuple[int, ...]:
    return SHAPES.get(model, (3, 8, 8))


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
    grants = granted(*attacks.values())
    taken = train(
        model, random_split(8, 8, 8, shape=shape_of(model), classes=2), cut=cut,
        listeners=listeners, grants=grants, training=Training(epochs=1, batch_size=4),
        targets=Targets(count=2),
    )  # fmt: skip
    refusing = {name for name, one in attacks.items() if one.refuses(taken.task)}
    assert refusing <= {"deep_image_prior"}  # the only attack that needs images
    for name, one in sorted(attacks.items()):
        if name in refusing:
            with pytest.raises(SpecError, match=f"{type(one).__name__} doesn't apply: a U-Net"):
                attack(taken, one, grants=granted(one))
        else:
            scores = attack(taken, one, grants=granted(one)).verdict.scores["mse"]
            assert bool(scores.isfinite().all()), name


@cache
def heard(protocol: str) -> Victim:
    """One victim for all attacks; every listener heard its training."""
    listeners = [kind.smoke() for kind in KINDS.values() if issubclass(kind, Listener)]
    how = PROTOCOLS[protocol]
    return victim(
        protocol=how, listeners=listeners,
        grants=granted(*listeners), targets=TARGETS,
    )  # fmt: skip


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", [n for n, k in KINDS.items() if not issubclass(k, ActiveAttack)])
def test_every_kind_of_protocol(name: str, protocol: str) -> None:
    whom = heard(protocol)
    listening = [t.attack for t in whom.attached if isinstance(t.attack, KINDS[name])]
    check_well_formed(whom, listening[0] if listening else KINDS[name].smoke())
