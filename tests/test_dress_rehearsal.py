"""The dress rehearsal of listeners: what it chooses, from what, and what it leaves alone."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from contract import attack_checks as checks
from contract import listener_checks as listening
from contract.toys import GRANTS, SHAPE, split, victim
from torch import Tensor, nn

from sltoolkit import dress_rehearsal
from sltoolkit.api import attack
from sltoolkit.attacks.reconstruction.pcat import PCAT
from sltoolkit.attacks.reconstruction.sdar import SDAR
from sltoolkit.attacks.reconstruction.substitute import Before
from sltoolkit.contracts import RoundView, Task
from sltoolkit.errors import SpecError
from sltoolkit.protocols import UShaped
from sltoolkit.streams import Stream
from sltoolkit.threat import Aux

CODES = (4, 8, 8)
TASK = Task(input_shape=SHAPE, smashed_shape=CODES, classes=3)
OPEN = PCAT(width=4, lr=None, refine_steps=0)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dress_rehearsal, "BATCHES", 12)


def client(stream: Stream) -> nn.Module:
    with stream.scope():
        return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())


def setup(n: int = 30) -> Before:
    own = split().aux
    return Before(aux=Aux(x=own.x[:n], y=own.y[:n]), task=TASK, client_arch=client)


def first(*, labels: bool = True, network: bool = True, seed: int = 0) -> RoundView:
    g = torch.Generator().manual_seed(seed)
    messages: dict[Any, Tensor] = {("smashed", "in"): torch.rand(8, *CODES, generator=g)}
    if labels:
        messages["labels", "in"] = torch.arange(8) % 3
    with Stream(seed).scope():
        layers = nn.LeakyReLU(0.1, inplace=True), nn.Flatten(), nn.Linear(256, 3 if labels else 5)
        server = nn.Sequential(*layers).eval().requires_grad_(False)
    return RoundView(
        messages=messages, ids=torch.arange(8), step=0, epoch=0,
        network=(lambda: server) if network else None,
    )  # fmt: skip


@pytest.mark.parametrize("labels", [True, False], ids=["vanilla", "u_shaped"])
def test_it_takes_the_candidate_that_reconstructs_own_samples_best(labels: bool) -> None:
    # a decoder that learns nothing starts at the mean image; one that learns far too fast diverges
    good, bad = PCAT(width=8, decoder_lr=0.01, refine_steps=0), PCAT(width=8, decoder_lr=30.0)
    for order in ([good, bad], [bad, good]):
        chosen = dress_rehearsal.rehearse_listening(
            order, setup(), first(labels=labels), rng=Stream(1)
        )
        assert chosen is good


def test_of_equals_it_takes_the_first() -> None:
    same = [PCAT(width=4), PCAT(width=4, late_start=0)]
    rng = Stream(1)
    assert dress_rehearsal.rehearse_listening(same, setup(), first(), rng=rng) is same[0]


def test_what_was_heard_gives_shapes_alone() -> None:
    # other smashed data, and another network of that architecture: the same choice, bit for bit
    found = []
    errors = dress_rehearsal._Stage.errors

    def noting(self: Any, *args: Any) -> Tensor:
        found.append(errors(self, *args))
        return found[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dress_rehearsal._Stage, "errors", noting)
        for seed in (0, 1):
            OPEN.tune(setup(), first(seed=seed), rng=Stream(1))
    assert len(found) == 4
    assert torch.equal(torch.stack(found[:2]), torch.stack(found[2:]))


def test_neither_its_victim_nor_a_candidate_learns_from_the_samples_compared_on() -> None:
    stage = dress_rehearsal._Stage(setup(), first(), Stream(1))
    targets, train = set(stage.targets.tolist()), set(stage._train.tolist())
    images = {x.numpy().tobytes(): i for i, x in enumerate(setup().aux.x)}
    rest = {images[x.numpy().tobytes()] for x in stage.rest.x}
    assert len(targets) == 7
    assert targets | train | rest == set(range(30))
    assert len(targets) + len(train) + len(rest) == 30
    heard = {int(i) for r in stage.rounds(20) for i in r.ids}
    assert heard == train


def test_a_listener_without_a_network_rehearses_with_a_head_of_its_own() -> None:
    stage = dress_rehearsal._Stage(setup(), first(network=False), Stream(1))
    (round_,) = stage.rounds(1)
    assert round_.network is None
    assert round_.messages["smashed", "in"].shape == (8, *CODES)


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(SpecError, match="at least 8 aux samples, got 5"):
        OPEN.tune(setup(5), first(), rng=Stream(1))


def test_nothing_is_rehearsed_where_nothing_is_open() -> None:
    assert PCAT().tune(setup(2), first(), rng=Stream(1)) == PCAT()


@pytest.mark.parametrize(
    ("kind", "combinations"),
    [
        (PCAT(lr=None, decoder_lr=None, refine_steps=None), 12),
        (SDAR(lr=None, decoder_lr=None, lambda1=None), 8),
        (SDAR(lambda1=None), 2),
    ],
)
def test_every_combination_of_what_is_open_competes_the_default_first(
    kind: Any, combinations: int
) -> None:
    candidates = kind.candidates(setup())
    assert len(set(candidates)) == combinations
    assert candidates[0] == replace(
        kind,
        **{k: getattr(type(kind)(), k) for k, v in vars(kind).items() if v is None},
    )


def test_one_with_open_parameters_keeps_to_the_contract_and_says_what_it_chose() -> None:
    checks.check_passive(lambda: OPEN)
    listening.check_determinism(lambda: replace(OPEN))
    listener = replace(OPEN)
    trained = victim(
        listeners=[listener], grants=GRANTS, protocol=UShaped(), cut=["drop", "flatten"]
    )
    outcome = attack(trained, listener).outcome
    assert outcome.tuned["lr"] in (1e-3, 3e-3)
    assert list(outcome.tuned) == ["lr"]
