"""A defense's randomness stays apart, at every seam."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense, PartySetup, Task
from sltoolkit.parties.sampling import Shuffled
from sltoolkit.streams import Stream
from sltoolkit.training.guarded import Guarded
from sltoolkit.wire.turn import Turn

TURN = Turn(
    ids=torch.arange(2), x=None, y=None, step=0, epoch=0, phase="train", rng=Stream(9)
)  # fmt: skip
SETUP = PartySetup(
    side="client", module=nn.Linear(1, 1), optimizer=None, sampler=Shuffled(batch_size=1),
    task=Task(input_shape=(1,), smashed_shape=(1,), classes=2), samples=1, rng=Stream(9),
)  # fmt: skip
ZEROS = torch.zeros(4)


class DrawsGlobally(Defense):
    """Adds a draw from the global generator everywhere."""

    def __init__(self) -> None:
        self.drawn: list[Tensor] = []

    def _draw(self, *_: Any) -> Tensor:
        self.drawn.append(torch.rand(4))
        return self.drawn[-1]

    def begin(self, setup: PartySetup) -> PartySetup:
        self._draw()
        return setup

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        return z + self._draw()

    def labels(self, y: Tensor, turn: Turn) -> Tensor:
        return y + self._draw()

    def gradient(self, g: Tensor, turn: Turn) -> Tensor:
        return g + self._draw()

    def receive(self, g: Tensor, turn: Turn) -> Tensor | None:
        return g + self._draw()

    def client_loss(self, z: Tensor, turn: Turn) -> Tensor | None:
        return self._draw().sum()

    def step(self, turn: Turn) -> None:
        self._draw()

    def learned(self) -> dict[str, nn.Module]:
        return {"own": SETUP.module}


SEAMS: dict[str, Callable[[Defense], Any]] = {
    "begin": lambda d: d.begin(SETUP),
    "smash": lambda d: d.smash(ZEROS, TURN),
    "labels": lambda d: d.labels(ZEROS, TURN),
    "gradient": lambda d: d.gradient(ZEROS, TURN),
    "receive": lambda d: d.receive(ZEROS, TURN),
    "client_loss": lambda d: d.client_loss(ZEROS, TURN),
    "step": lambda d: d.step(TURN),
}


@pytest.mark.parametrize("seam", SEAMS)
def test_a_call_draws_from_its_own_stream_and_shifts_nobody_elses(seam: str) -> None:
    inner = DrawsGlobally()
    guarded, before = Guarded(inner, Stream(5)), torch.get_rng_state()

    SEAMS[seam](guarded)

    assert torch.equal(torch.get_rng_state(), before)
    with Stream(5).scope():
        assert torch.equal(inner.drawn[0], torch.rand(4))


@pytest.mark.parametrize("seam", SEAMS)
def test_what_the_inner_one_answers_is_passed_on(seam: str) -> None:
    inner = DrawsGlobally()

    answer = SEAMS[seam](Guarded(inner, Stream(5)))

    (drawn,) = inner.drawn
    if seam == "begin":
        assert answer is SETUP
    elif seam == "step":
        assert answer is None
    else:
        assert torch.equal(answer, drawn.sum() if seam == "client_loss" else drawn)


def test_the_stream_goes_on_from_call_to_call() -> None:
    inner = DrawsGlobally()
    guarded = Guarded(inner, Stream(5))

    guarded.smash(ZEROS, TURN)
    guarded.smash(ZEROS, TURN)

    assert not torch.equal(*inner.drawn)


def test_its_networks_are_those_of_the_inner_one() -> None:
    assert Guarded(DrawsGlobally(), Stream(5)).learned() == {"own": SETUP.module}
