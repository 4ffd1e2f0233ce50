"""Listeners that know the mechanism: their substitutes send what a defended client would send."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any
from unittest import mock

import pytest
import torch
from support import listeners as sim
from support.saturating import Behind, Saturating
from torch import Tensor

from sltoolkit.adversary.own_defense import DRAWS, OwnDefense
from sltoolkit.attacks.listening import fora
from sltoolkit.attacks.listening._substitute import SubstituteView
from sltoolkit.attacks.listening.fora import FORA, FORASetup
from sltoolkit.attacks.listening.pcat import PCAT
from sltoolkit.attacks.listening.sdar import SDAR
from sltoolkit.contracts.attack import ListenerState
from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.defenses import GaussianNoise, RandomPruning
from sltoolkit.networks.substitutes import pooled_substitute
from sltoolkit.streams import Stream
from sltoolkit.wire.turn import Turn

pytestmark = pytest.mark.golden

Mechanism = Callable[[Stream], Defense] | None
ALIGNING = replace(FORA.smoke(), lr=1e-2, critic_lr=1e-2)
LISTENERS = pytest.mark.parametrize(
    "attack", [PCAT.smoke(), SDAR.smoke(), ALIGNING], ids=["pcat", "sdar", "fora"]
)


@contextmanager
def built_in() -> Iterator[None]:
    """In this scope, every client that a listener makes has the defense built in."""
    arch = sim.client
    with (
        mock.patch.object(sim, "client", lambda stream: Behind(arch(stream))),
        mock.patch.object(
            fora, "pooled_substitute", lambda *a, **k: Behind(pooled_substitute(*a, **k))
        ),
    ):
        yield


def heard(attack: Any, mechanism: Mechanism) -> ListenerState:
    """A listener's state after three batches."""
    if isinstance(attack, FORA):
        setup: Any = FORASetup(aux=sim.own_samples(), task=sim.TASK, mechanism=mechanism)
    else:
        setup = replace(sim.before(), mechanism=mechanism)
    with Stream(2).scope():
        batches = [sim.heard(sim.server(), seed=seed) for seed in range(3)]
        tap: ListenerState = attack.open(setup, batches[0], rng=Stream(3))
        for batch in batches:
            tap.hear(batch)
    return tap


def found(tap: ListenerState) -> Reconstruction:
    """The outcome of a listener on some targets."""
    said = sim.heard(sim.server(), seed=7).messages
    # FORA doesn't mind labels
    view = SubstituteView(smashed=said["smashed", "in"][None], labels=said["labels", "in"])
    with Stream(4).scope():
        outcome = tap.finish(view)
    assert isinstance(outcome, Reconstruction)
    return outcome


@LISTENERS
def test_granted_it_learns_as_if_its_client_had_the_defense_built_in(attack: Any) -> None:
    # decoder, critics, f_s, refining, polishing and the stolen model: all see defended codes
    granted = found(heard(attack, lambda _: Saturating()))
    with built_in():
        reference = found(heard(attack, None))
    assert torch.equal(granted.images, reference.images)
    assert granted.diagnostics == reference.diagnostics
    assert not torch.equal(granted.images, found(heard(attack, None)).images)
    assert (granted.model is None) == (reference.model is None) == isinstance(attack, FORA)
    if granted.model is not None and reference.model is not None:
        x = sim.own_samples().x
        assert torch.equal(granted.model(x), reference.model(x))


@LISTENERS
def test_a_mechanism_that_does_nothing_changes_nothing(attack: Any) -> None:
    granted, without = (found(heard(attack, m)) for m in (lambda _: NoDefense(), None))
    assert torch.equal(granted.images, without.images)


@LISTENERS
def test_asked_again_it_answers_the_same_through_noise(attack: Any) -> None:
    tap = heard(attack, lambda _: GaussianNoise(std=0.5))
    once, twice = found(tap), found(tap)
    assert torch.equal(once.images, twice.images)
    assert once.diagnostics == twice.diagnostics


@dataclass(eq=False)
class Noting(Defense):
    """Notes its turns, and adds noise from torch's own generator."""

    turns: list[Turn] = field(default_factory=list)
    sent: list[Tensor] = field(default_factory=list)

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        self.turns.append(turn)
        self.sent.append(z + torch.rand_like(z))
        return self.sent[-1]


@LISTENERS
def test_in_training_a_pass_is_one_draw_of_a_copy_that_does_not_learn(attack: Any) -> None:
    copies: list[Noting] = []

    def mechanism(_: Stream) -> Defense:
        copies.append(Noting())
        return copies[-1]

    heard(attack, mechanism)
    (copy,) = copies
    assert len(copy.sent) == 2 * 3  # two passes for each batch
    assert {turn.phase for turn in copy.turns} == {"release"}
    assert all(bool((turn.ids == -1).all()) and turn.y is None for turn in copy.turns)
    noise = [sent.detach().flatten()[:3] for sent in copy.sent]
    assert not any(torch.equal(a, b) for a, b in pairwise(noise))


def test_fora_decodes_the_mean_of_as_many_releases_as_there_are() -> None:
    copy = Noting()
    tap = heard(replace(ALIGNING, polish=3), lambda _: copy)
    copy.sent.clear()
    z = sim.heard(sim.server(), seed=7).messages["smashed", "in"]
    tap.finish(SubstituteView(smashed=z.expand(5, *z.shape), labels=None))
    assert len(copy.sent) == 3 * 5  # epochs, releases
    assert len({float(sent.detach().sum()) for sent in copy.sent}) == 15


def codes() -> tuple[Tensor, Tensor]:
    return torch.ones(5, 4, 2, 2, requires_grad=True), torch.zeros(5, 1, 8, 8)


def test_without_the_mechanism_codes_stay_as_they_are() -> None:
    own, (z, x) = OwnDefense(None, Stream(0)), codes()
    assert own(z, x) is z
    assert own.mean(z, x) is z
    assert torch.equal(own.apart(z, x, draws=3), z)


def test_draws_keep_the_graph_leave_other_generators_alone_and_repeat_with_their_stream() -> None:
    z, x = codes()
    before = torch.get_rng_state()
    first, again = (OwnDefense(lambda _: Noting(), Stream(0).fresh("it")) for _ in range(2))
    sent = [first(z, x), first(z, x)]
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(sent[0], sent[1])
    assert torch.equal(sent[0], again(z, x))
    sent[0].sum().backward()
    assert z.grad is not None
    assert torch.equal(z.grad, torch.ones_like(z))


def test_the_mean_is_over_a_few_draws() -> None:
    z, x = codes()
    copy = Noting()
    mean = OwnDefense(lambda _: copy, Stream(0)).mean(z, x)
    assert len(copy.sent) == DRAWS > 1
    torch.testing.assert_close(mean, sum(copy.sent) / DRAWS)


def test_examples_that_are_learned_from_apart_share_no_mask() -> None:
    z, x = torch.ones(40, 8), torch.zeros(40, 3)
    own = OwnDefense(lambda _: RandomPruning(ratio=0.5), Stream(0))
    together, apart = (len((s != 0).unique(dim=0)) for s in (own(z, x), own.apart(z, x, draws=1)))
    assert together == 1
    assert apart > 20
