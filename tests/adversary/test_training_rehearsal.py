"""The training rehearsal of listeners: its choice, what it uses, and what it must not touch."""

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import pytest
import torch
from support.rehearsal import TASK, first, setup
from support.toys import GRANTS, SHAPE, victim
from torch import Tensor, nn

from sltoolkit.adversary import training_rehearsal
from sltoolkit.adversary.own_victim import OwnVictim
from sltoolkit.adversary.training_setup import TrainingSetup
from sltoolkit.api import attack
from sltoolkit.attacks.listening._substitute import SubstituteView
from sltoolkit.attacks.listening.fora import FORA
from sltoolkit.attacks.listening.pcat import PCAT, PseudoClient
from sltoolkit.attacks.listening.sdar import SDAR
from sltoolkit.contracts.attack import BatchView, Family, Listener, ListenerState, Role
from sltoolkit.contracts.defense import Defense
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.errors import SpecError
from sltoolkit.protocols import UShaped
from sltoolkit.streams import Stream
from sltoolkit.testing import listeners as listening
from sltoolkit.wire.turn import Turn

OPEN = PCAT(width=4, decoder_lr=5e-4, refine_steps=0, loss="mse")
ALIGNING = replace(FORA.smoke(), mmd_share=None)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_rehearsal, "BATCHES", 12)


@final
@dataclass(frozen=True, kw_only=True)
class Guesser(Listener[TrainingSetup]):
    """Misses the truth by a known squared error on each victim, whose client is the identity."""

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    setup: ClassVar[type] = TrainingSetup
    view: ClassVar[type] = SubstituteView
    citation: ClassVar[str] = "none 2000"

    mse: tuple[float, ...]

    def open(self, setup: TrainingSetup, first: BatchView, *, rng: Stream) -> ListenerState:
        opened[self] += 1
        drawn[self].append(float(torch.rand(())))
        return Guess(self.mse[opened[self] - 1])


opened: Counter[Guesser] = Counter()
drawn: defaultdict[Guesser, list[float]] = defaultdict(list)


@final
class Guess(ListenerState):
    def __init__(self, mse: float) -> None:
        self.mse = mse

    def hear(self, heard: BatchView) -> None:
        """Learn nothing."""

    def finish(self, view: SubstituteView) -> Reconstruction:
        return Reconstruction(images=view.smashed[0] + self.mse**0.5)


def chosen(*mse: tuple[float, float, float], labels: bool = True) -> int:
    """The index chosen among candidates with these errors on three victims; a guess has 0.04."""
    opened.clear()
    drawn.clear()
    own = replace(
        setup(120, of=120), client_arch=lambda _: nn.Identity(),
        task=replace(TASK, smashed_shape=SHAPE),
    )  # fmt: skip
    candidates = [Guesser(mse=errors) for errors in mse]
    heard = first(labels=labels, codes=SHAPE)
    return candidates.index(
        training_rehearsal.rehearse_listening(candidates, own, heard, rng=Stream(1))
    )


@pytest.mark.parametrize("labels", [True, False], ids=["vanilla", "u_shaped"])
def test_it_takes_the_candidate_that_reconstructs_own_samples_best(labels: bool) -> None:
    good, bad, lost = (0.01, 0.011, 0.012), (0.02, 0.022, 0.021), (torch.nan, 0.01, 0.01)
    assert chosen(bad, good, lost, labels=labels) == 1
    assert chosen(good, lost, bad, labels=labels) == 0
    assert chosen(lost, bad, good, labels=labels) == 2


def test_of_those_that_differ_within_noise_it_takes_the_first() -> None:
    # worse by 0, 0.006 and -0.004: by 0.0007 on average, with a standard error of 0.0029
    assert chosen((0.010, 0.022, 0.011), (0.010, 0.016, 0.015)) == 0
    assert chosen((0.010, 0.022, 0.021), (0.009, 0.016, 0.015)) == 1


def test_where_none_beats_the_mean_of_own_samples_the_first_is_kept() -> None:
    assert chosen((0.09, 0.09, 0.09), (0.05, 0.05, 0.05)) == 0
    assert chosen((0.09, 0.09, 0.09), (0.03, 0.03, 0.03)) == 1


def test_candidates_draw_the_same_numbers_on_a_victim_and_others_on_the_next() -> None:
    chosen((0.01, 0.02, 0.03), (0.03, 0.02, 0.01))
    one, other = drawn.values()
    assert one == other
    assert len(set(one)) == training_rehearsal.VICTIMS == 3


def test_what_was_heard_gives_shapes_alone() -> None:
    # other smashed data, and another network of that architecture: the same choice, bit for bit
    found = []
    error = OwnVictim.error

    def noting(self: Any, *args: Any) -> Tensor:
        found.append(error(self, *args))
        return found[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OwnVictim, "error", noting)
        for seed in (0, 1):
            training_rehearsal.tuned_listener(OPEN, setup(), first(seed=seed), rng=Stream(1))
    assert len(found) == 12
    assert torch.equal(torch.stack(found[:6]), torch.stack(found[6:]))
    assert len(set(map(float, found))) == 6


class Lifted(Defense):
    """Lifts smashed data by a random height, far above what any client sends."""

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        return z + 100 + torch.rand(())


def test_its_victim_is_defended_if_the_mechanism_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    known = replace(setup(), mechanism=lambda _: Lifted())
    (batch,) = OwnVictim(known, first(), Stream(1)).batches(1)
    assert float(batch.messages["smashed", "in"].min()) > 50
    (batch,) = OwnVictim(setup(), first(), Stream(1)).batches(1)
    assert float(batch.messages["smashed", "in"].max()) < 50

    targets: list[Tensor] = []
    finish = PseudoClient.finish

    def noting(self: PseudoClient, view: SubstituteView) -> Reconstruction:
        assert self.substitute._mechanism is known.mechanism
        targets.append(view.smashed)
        return finish(self, view)

    monkeypatch.setattr(PseudoClient, "finish", noting)
    training_rehearsal.tuned_listener(OPEN, known, first(), rng=Stream(1))
    assert len(targets) == 2 * training_rehearsal.VICTIMS
    assert all(float(z.min()) > 50 for z in targets)
    # candidates are compared on the same draws, and each victim has its own
    heights = [float(z.min()) for z in targets]
    assert heights[::2] == heights[1::2]
    assert len(set(heights)) == training_rehearsal.VICTIMS


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(SpecError, match="at least 8 aux samples, got 5"):
        training_rehearsal.tuned_listener(OPEN, setup(5), first(), rng=Stream(1))


def test_nothing_is_rehearsed_where_nothing_is_open() -> None:
    given = PCAT.paper()
    assert training_rehearsal.tuned_listener(given, setup(2), first(), rng=Stream(1)) == given
    assert not given.rehearses
    assert OPEN.rehearses


@pytest.mark.parametrize(
    ("kind", "combinations"),
    [
        (PCAT(), 4),  # of images that are too small for SSIM
        (PCAT(refine_steps=None), 12),
        (SDAR(), 4),
        (SDAR(lambda1=None), 8),
        (FORA(), 6),
        (FORA(critic_lr=None), 9),
        (FORA(mmd_share=0.8, critic_lr=None), 6),
    ],
)
def test_every_combination_of_what_is_open_competes_the_default_first(
    kind: Any, combinations: int
) -> None:
    candidates = kind.candidates(setup())
    assert len(set(candidates)) == combinations
    published = type(kind).paper()
    assert candidates[0] == published
    assert kind.rehearses
    assert not any(c.rehearses for c in candidates)


@pytest.mark.parametrize(
    ("kind", "name", "options"),
    [(OPEN, "lr", {1e-3, 3e-3}), (ALIGNING, "mmd_share", {0.8, 1.0})],
    ids=["pcat", "fora"],
)
def test_one_with_open_parameters_keeps_to_the_contract_and_says_what_it_chose(
    kind: PCAT | FORA, name: str, options: set[float]
) -> None:
    listening.check_passive(lambda: kind)
    listening.check_determinism(lambda: replace(kind))
    listener = replace(kind)
    trained = victim(
        listeners=[listener], grants=GRANTS, protocol=UShaped(), cut=["drop", "flatten"]
    )
    outcome = attack(trained, listener).outcome
    assert outcome.tuned[name] in options
    assert list(outcome.tuned) == [name]


def test_who_watches_sees_each_rehearsal_from_beginning_to_end() -> None:
    seen: list[tuple[int, int]] = []
    options: dict[str, Any] = {
        "grants": GRANTS, "rehearsing": lambda *done: seen.append(done), "cut": "flatten",
    }  # fmt: skip
    victim(listeners=[PCAT.smoke()], **options)
    assert not seen  # nothing is open
    victim(listeners=[replace(OPEN), replace(OPEN, width=5)], **options)
    done = [percent for percent, _ in seen]
    ends = [i for i, percent in enumerate(done) if percent == 100]
    assert {of for _, of in seen} == {100}
    assert len(ends) == 2
    assert ends[-1] == len(done) - 1
    for each in (done[: ends[0]], done[ends[0] + 1 : -1]):
        assert each == sorted(set(each))
        assert len(each) > 3 * 12 // 2  # victims, batches
