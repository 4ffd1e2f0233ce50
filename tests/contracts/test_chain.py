"""Several defenses as one: order, refusals, losses and the facts of the whole."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from sltoolkit.contracts.chain import Chain
from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.defenses import DISCO, DPActivations, GaussianNoise, LaplaceNoise, RandomPruning
from sltoolkit.streams import Stream
from sltoolkit.wire.turn import Phase, Turn


@dataclass(kw_only=True, eq=False)
class Affine(Defense):
    """x -> factor * x + shift at every seam, in a way that shows the order."""

    factor: float = 2.0
    shift: float = 0.0
    refuses: bool = False
    loss: float | None = None
    steps: list[str] = field(default_factory=list)

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        return self.factor * z + self.shift

    def labels(self, y: Tensor, turn: Turn) -> Tensor:
        return self.smash(y, turn)

    def gradient(self, g: Tensor, turn: Turn) -> Tensor:
        return self.smash(g, turn)

    def receive(self, g: Tensor, turn: Turn) -> Tensor | None:
        self.steps.append("receive")
        return None if self.refuses else self.factor * g + self.shift

    def client_loss(self, z: Tensor, turn: Turn) -> Tensor | None:
        return None if self.loss is None else torch.tensor(self.loss)

    def step(self, turn: Turn) -> None:
        self.steps.append("step")


TURN = Turn(
    ids=torch.arange(2), x=None, y=None, step=0, epoch=0, phase="train", rng=Stream(0)
)  # fmt: skip
ONE = torch.ones(2)


@pytest.mark.parametrize("seam", ["smash", "labels", "gradient"])
def test_what_is_sent_passes_in_order(seam: str) -> None:
    chain = Chain(Affine(factor=2.0), Affine(factor=1.0, shift=3.0))

    assert getattr(chain, seam)(ONE, TURN).tolist() == [5.0, 5.0]


def test_what_is_received_passes_in_reverse_order() -> None:
    chain = Chain(Affine(factor=2.0), Affine(factor=1.0, shift=3.0))

    got = chain.receive(ONE, TURN)

    assert got is not None
    assert got.tolist() == [8.0, 8.0]


def test_a_refusal_of_one_is_the_refusal_of_all() -> None:
    outer, inner = Affine(), Affine(refuses=True)

    assert Chain(outer, inner).receive(ONE, TURN) is None
    assert outer.steps == []  # it is not asked any more


@pytest.mark.parametrize(
    ("losses", "expected"), [((1.0, 2.0), 3.0), ((None, 2.0), 2.0), ((None, None), None)]
)
def test_losses_add_up(losses: tuple[float | None, ...], expected: float | None) -> None:
    total = Chain(*(Affine(loss=loss) for loss in losses)).client_loss(ONE, TURN)

    assert (total if total is None else total.item()) == expected


def test_every_link_steps() -> None:
    links = Affine(), Affine()

    Chain(*links).step(TURN)

    assert [link.steps for link in links] == [["step"], ["step"]]


def test_links_draw_from_streams_of_their_own() -> None:
    noise = Chain(GaussianNoise(std=1.0), GaussianNoise(std=1.0)).smash(torch.zeros(500), TURN)
    single = GaussianNoise(std=1.0).smash(torch.zeros(500), replace(TURN, rng=Stream(1)))

    # with one stream the draws would be equal, and their sum would have four times the variance
    assert float(noise.var()) == pytest.approx(2 * float(single.var()), rel=0.25)


def test_without_links_nothing_happens() -> None:
    chain = Chain()

    assert torch.equal(chain.smash(ONE, TURN), ONE)
    assert chain.client_loss(ONE, TURN) is None
    assert chain.guarantee(releases=1, delta=1e-5) is None
    assert [p.name for p in chain.phases] == ["train"]


class Fitting(Defense):
    phases: ClassVar[Any] = (Phase("train"), Phase("fit", 2))
    learns: ClassVar[bool] = True
    per_batch: ClassVar[bool] = True

    def learned(self) -> dict[str, nn.Module]:
        return {"mask": nn.Flatten()}


def test_it_is_what_one_of_its_links_is() -> None:
    chain, plain = Chain(NoDefense(), Fitting(), Fitting()), Chain(NoDefense())

    assert [(p.name, p.epochs) for p in chain.phases] == [
        ("train", None), ("fit", 2), ("fit", 2)
    ]  # fmt: skip
    assert (chain.learns, chain.per_batch) == (True, True)
    assert (plain.learns, plain.per_batch) == (False, False)
    assert list(chain.learned()) == ["1.mask", "2.mask"]


def test_the_guarantee_is_the_strictest_of_the_links() -> None:
    weak, strong = DPActivations(epsilon=10.0), DPActivations(epsilon=1.0)

    stated = Chain(NoDefense(), weak, strong).guarantee(releases=1, delta=1e-5)

    assert stated is not None
    assert stated.epsilon == pytest.approx(1.0, rel=1e-6)


@dataclass(kw_only=True, eq=False)
class ReadsLabels(Defense):
    """Writes the labels into the smashed data; its declaration may lie."""

    post_processes: bool = False  # type: ignore[misc]

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        return z if turn.y is None else z + turn.y.view(-1, 1).to(z)


class ReadsInputs(Defense):
    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        return z if turn.x is None else z + turn.x.flatten(1).mean(1, keepdim=True)


class Loses(Defense):
    """Has a loss of its own, and leaves the smashed data alone."""

    def client_loss(self, z: Tensor, turn: Turn) -> Tensor | None:
        return z.mean()


PRIVATE = DPActivations(epsilon=1.0)
VOIDING = [ReadsLabels(), ReadsInputs(), DISCO.smoke(), Chain(NoDefense(), ReadsLabels())]
KEEPING = [GaussianNoise(), LaplaceNoise(), RandomPruning(), NoDefense(), Loses(), Chain(Loses())]


def named(defense: Defense) -> str:
    return type(defense).__name__


@pytest.mark.parametrize("later", VOIDING, ids=named)
def test_a_later_link_that_reads_or_learned_from_records_voids_a_guarantee(later: Defense) -> None:
    for chain in (
        Chain(PRIVATE, later), Chain(PRIVATE, GaussianNoise(), later), Chain(Chain(PRIVATE), later),
        Chain(PRIVATE, Chain(later)),
    ):  # fmt: skip
        assert chain.guarantee(releases=1, delta=1e-5) is None


@pytest.mark.parametrize("later", KEEPING, ids=named)
@pytest.mark.parametrize("releases", [1, 3])
def test_post_processing_keeps_a_guarantee(later: Defense, releases: int) -> None:
    asked = {"releases": releases, "delta": 1e-5}

    stated = Chain(PRIVATE, later).guarantee(**asked)  # type: ignore[arg-type]

    assert stated == PRIVATE.guarantee(**asked)  # type: ignore[arg-type]


def test_a_link_behind_the_one_that_voids_guarantees_for_itself() -> None:
    weak = DPActivations(epsilon=9.0)

    stated = Chain(PRIVATE, ReadsLabels(), weak).guarantee(releases=2, delta=1e-5)

    assert stated == weak.guarantee(releases=2, delta=1e-5)


def test_a_link_that_is_said_to_post_process_is_handed_no_records() -> None:
    z, labels = torch.zeros(2, 3), torch.tensor([100, 200])
    first, again, third, fourth = (
        replace(TURN, x=torch.ones(2, 1, 2, 2), y=labels, rng=Stream(5)) for _ in range(4)
    )
    liar = ReadsLabels(post_processes=True)

    guarded, alone = Chain(PRIVATE, liar), Chain(PRIVATE)

    assert guarded.guarantee(releases=1, delta=1e-5) is not None
    assert torch.equal(guarded.smash(z, first), alone.smash(z, again))
    assert not torch.equal(Chain(liar, PRIVATE).up_to_guarantee(z, third), z)
    assert torch.equal(Chain(liar).smash(z, fourth), z + labels.view(-1, 1))


def test_evidence_is_that_of_the_whole() -> None:
    chain = Chain(Affine(factor=2.0), Affine(factor=1.0))

    assert chain.evidence(ONE, 2 * ONE) == {"changed_rms": 1.0}
