"""Dress rehearsals of who listens or hijacks: what they choose, from what they choose it."""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import pytest
import torch
from contract import attack_checks as checks
from contract import listener_checks as listening
from contract.toys import GRANTS, SHAPE, split, victim
from torch import Tensor, nn

from sltoolkit import dress_rehearsal
from sltoolkit.api import attack
from sltoolkit.attacks.inference.fsha_property import FSHAProperty
from sltoolkit.attacks.reconstruction.fora import FORA, Aligned, FORASetup
from sltoolkit.attacks.reconstruction.fsha import CRITIC_RATES, FSHA, RATES
from sltoolkit.attacks.reconstruction.hijacking import HijackSetup, HijackView
from sltoolkit.attacks.reconstruction.pcat import PCAT, PseudoClient
from sltoolkit.attacks.reconstruction.sdar import SDAR
from sltoolkit.attacks.reconstruction.substitute import After, Before
from sltoolkit.contracts import (
    ActiveAttack,
    Defense,
    Family,
    Listener,
    Role,
    RoundView,
    Task,
    Wiretap,
)
from sltoolkit.errors import SpecError
from sltoolkit.outcomes import Reconstruction
from sltoolkit.parties import Server
from sltoolkit.protocols import UShaped
from sltoolkit.streams import Stream
from sltoolkit.threat import Aux
from sltoolkit.turns import Turn

CODES = (4, 8, 8)
TASK = Task(input_shape=SHAPE, smashed_shape=CODES, classes=3)
OPEN = PCAT(width=4, decoder_lr=5e-4, refine_steps=0)
ALIGNING = replace(FORA.smoke(), mmd_share=None)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dress_rehearsal, "BATCHES", 12)


def client(stream: Stream) -> nn.Module:
    with stream.scope():
        return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())


def setup(n: int = 30, *, of: int = 30) -> Before:
    own = split(aux=of).aux
    return Before(aux=Aux(x=own.x[:n], y=own.y[:n]), task=TASK, client_arch=client, mechanism=None)


def first(
    *, labels: bool = True, network: bool = True, seed: int = 0, codes: tuple[int, ...] = CODES
) -> RoundView:
    g = torch.Generator().manual_seed(seed)
    messages: dict[Any, Tensor] = {("smashed", "in"): torch.rand(8, *codes, generator=g)}
    if labels:
        messages["labels", "in"] = torch.arange(8) % 3
    with Stream(seed).scope():
        last = nn.Linear(math.prod(codes), 3 if labels else 5)
        layers = nn.LeakyReLU(0.1, inplace=True), nn.Flatten(), last
        server = nn.Sequential(*layers).eval().requires_grad_(False)
    return RoundView(
        messages=messages, ids=torch.arange(8), step=0, epoch=0,
        network=(lambda: server) if network else None,
    )  # fmt: skip


@final
@dataclass(frozen=True, kw_only=True)
class Guesser(Listener[Before]):
    """Misses the truth by a known squared error on each victim, whose client is the identity."""

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    setup: ClassVar[type] = Before
    view: ClassVar[type] = After
    citation: ClassVar[str] = "none 2000"

    mse: tuple[float, ...]

    def open(self, setup: Before, *, rng: Stream) -> Wiretap:
        opened[self] += 1
        drawn[self].append(float(torch.rand(())))
        return Guess(self.mse[opened[self] - 1])


opened: Counter[Guesser] = Counter()
drawn: defaultdict[Guesser, list[float]] = defaultdict(list)


@final
class Guess(Wiretap):
    def __init__(self, mse: float) -> None:
        self.mse = mse

    def hear(self, heard: RoundView) -> None:
        """Nothing is learned."""

    def finish(self, view: After) -> Reconstruction:
        return Reconstruction(images=view.smashed[0] + self.mse**0.5)


def chosen(*mse: tuple[float, float, float], labels: bool = True) -> int:
    """Which of candidates with these errors on three victims is chosen; guessing errs by 0.04."""
    opened.clear()
    drawn.clear()
    own = replace(
        setup(120, of=120), client_arch=lambda _: nn.Identity(),
        task=replace(TASK, smashed_shape=SHAPE),
    )  # fmt: skip
    candidates = [Guesser(mse=errors) for errors in mse]
    heard = first(labels=labels, codes=SHAPE)
    return candidates.index(
        dress_rehearsal.rehearse_listening(candidates, own, heard, rng=Stream(1))
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
    assert len(set(one)) == dress_rehearsal.VICTIMS == 3


def test_what_was_heard_gives_shapes_alone() -> None:
    # other smashed data, and another network of that architecture: the same choice, bit for bit
    found = []
    error = dress_rehearsal._Stage.error

    def noting(self: Any, *args: Any) -> Tensor:
        found.append(error(self, *args))
        return found[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dress_rehearsal._Stage, "error", noting)
        for seed in (0, 1):
            OPEN.tune(setup(), first(seed=seed), rng=Stream(1))
    assert len(found) == 12
    assert torch.equal(torch.stack(found[:6]), torch.stack(found[6:]))
    assert len(set(map(float, found))) == 6


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


@pytest.mark.parametrize("signed", [True, False])
def test_where_the_architecture_is_unknown_another_network_than_its_own_plays_the_client(
    signed: bool,
) -> None:
    heard = first(network=False)
    z = heard.messages["smashed", "in"]
    heard = replace(heard, messages={**heard.messages, ("smashed", "in"): z - 0.5 * signed})
    given = FORASetup(aux=setup().aux, task=TASK, mechanism=None)
    stage = dress_rehearsal._Stage(given, heard, Stream(1))
    (round_,) = stage.rounds(1)
    assert bool((round_.messages["smashed", "in"] < 0).any()) == signed
    own = Aligned(FORA.smoke(), given, z, Stream(2)).substitute.network
    kinds = [{type(m) for m in network.modules()} for network in (stage._client, own)]
    assert nn.BatchNorm2d in kinds[1]
    assert nn.BatchNorm2d not in kinds[0]


class Lifted(Defense):
    """Lifts smashed data far above what any client sends, by a random height."""

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        return z + 100 + torch.rand(())


def test_its_victim_is_defended_if_the_mechanism_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    known = replace(setup(), mechanism=lambda _: Lifted())
    (round_,) = dress_rehearsal._Stage(known, first(), Stream(1)).rounds(1)
    assert float(round_.messages["smashed", "in"].min()) > 50
    (round_,) = dress_rehearsal._Stage(setup(), first(), Stream(1)).rounds(1)
    assert float(round_.messages["smashed", "in"].max()) < 50

    targets: list[Tensor] = []
    finish = PseudoClient.finish

    def noting(self: PseudoClient, view: After) -> Reconstruction:
        assert self._setup.mechanism is known.mechanism
        targets.append(view.smashed)
        return finish(self, view)

    monkeypatch.setattr(PseudoClient, "finish", noting)
    OPEN.tune(known, first(), rng=Stream(1))
    assert len(targets) == 2 * dress_rehearsal.VICTIMS
    assert all(float(z.min()) > 50 for z in targets)
    # candidates are compared on the same draws, and each victim has its own
    heights = [float(z.min()) for z in targets]
    assert heights[::2] == heights[1::2]
    assert len(set(heights)) == dress_rehearsal.VICTIMS


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(SpecError, match="at least 8 aux samples, got 5"):
        OPEN.tune(setup(5), first(), rng=Stream(1))


def test_nothing_is_rehearsed_where_nothing_is_open() -> None:
    given = PCAT.paper()
    assert given.tune(setup(2), first(), rng=Stream(1)) == given
    assert not given.rehearses
    assert OPEN.rehearses


@pytest.mark.parametrize(
    ("kind", "combinations"),
    [
        (PCAT(), 4),
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
    checks.check_passive(lambda: kind)
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


@final
@dataclass(frozen=True, kw_only=True)
class Puller(ActiveAttack[HijackSetup]):
    """Pulls its client's smashed data towards the inputs times `gain`, and reads them as they are.

    The client is one number, which starts at 0 and takes steps of the rehearsal's rate.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    setup: ClassVar[type] = HijackSetup
    view: ClassVar[type] = HijackView
    citation: ClassVar[str] = "none 2000"

    towards: float

    def seize(self, honest: Any, setup: HijackSetup, *, rng: Stream) -> tuple[Any, Wiretap]:
        batches[self].append([])
        return Pulling(self), Reader()


batches: defaultdict[Puller, list[list[bytes]]] = defaultdict(list)


@final
class Pulling(Server):
    def __init__(self, attack: Puller) -> None:
        self._attack = attack

    def learn(self, learning: bool) -> None:
        """Always."""

    def step(self, smashed: Tensor, labels: Tensor) -> Tensor:
        batches[self._attack][-1].append(labels.numpy().tobytes())
        return torch.full_like(smashed, -self._attack.towards)


@final
class Reader(Wiretap):
    def hear(self, heard: RoundView) -> None:
        """Nothing."""

    def finish(self, view: HijackView) -> Reconstruction:
        return Reconstruction(images=view.smashed[0])


class Dimmer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.share * x


def hijack_setup() -> HijackSetup:
    return HijackSetup(
        aux=setup(120, of=120).aux, task=replace(TASK, smashed_shape=SHAPE),
        client_arch=lambda _: Dimmer(), mechanism=None,
    )  # fmt: skip


def hijack(*towards: float, rate: float = 0.05) -> Puller:
    batches.clear()
    candidates = [Puller(towards=t) for t in towards]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dress_rehearsal, "LR", rate)
        return dress_rehearsal.rehearse_hijacking(
            candidates,
            hijack_setup(),
            first(labels=False, network=False, codes=SHAPE),
            rng=Stream(1),
        )


def test_each_hijacker_has_clients_of_its_own_that_follow_it_on_the_same_batches() -> None:
    # 12 steps of 0.05 by Adam make the client show 0.6 of its inputs, or minus 0.6, or nothing
    assert hijack(-1.0, 1.0, 0.0).towards == 1.0
    assert hijack(1.0, -1.0).towards == 1.0
    told = [batches[Puller(towards=t)] for t in (1.0, -1.0)]
    assert told[0] == told[1]
    assert [len(victim) for victim in told[0]] == [12] * dress_rehearsal.VICTIMS
    assert told[0][0] != told[0][1]


def test_where_no_hijacker_beats_the_mean_of_own_samples_the_first_is_kept() -> None:
    assert hijack(0.0, 1.0, rate=1e-4).towards == 0.0


def test_fsha_rehearses_what_is_open_when_it_first_hears_anything() -> None:
    thief = replace(FSHA.smoke(), lr=None)
    assert thief.rehearses
    assert not FSHA.smoke().rehearses
    assert not FSHA.paper().rehearses
    assert {(c.lr, c.critic_lr) for c in FSHA().candidates(hijack_setup())} == {
        (lr, critic_lr) for lr in RATES for critic_lr in CRITIC_RATES
    }
    seen: list[int] = []
    taken = victim(
        active=thief, grants=GRANTS, cut="flatten", rehearsing=lambda done, _: seen.append(done)
    )
    assert seen == sorted(set(seen))
    assert seen[-1] == 100
    assert len(seen) > 2 * 12  # settings, batches
    outcome = attack(taken, thief).outcome
    assert outcome.tuned.keys() == {"lr"}
    assert outcome.tuned["lr"] in RATES


def test_a_property_keeps_to_the_given_rates() -> None:
    assert not FSHAProperty().rehearses
