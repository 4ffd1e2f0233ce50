"""By default, a defense does nothing."""

import pytest
import torch
from torch import nn

from sltoolkit.contracts.defense import Defense, NoDefense, PartySetup, Task
from sltoolkit.parties.sampling import Shuffled
from sltoolkit.streams import Stream
from sltoolkit.wire.turn import Turn

TURN = Turn(
    ids=torch.arange(3), x=None, y=None, step=0, epoch=0, phase="train", rng=Stream(0)
)  # fmt: skip


@pytest.mark.parametrize("defense", [Defense(), NoDefense(), NoDefense.smoke()])
def test_every_seam_hands_through_the_very_tensor(defense: Defense) -> None:
    z = torch.rand(3, 2)

    assert defense.smash(z, TURN) is z
    assert defense.labels(z, TURN) is z
    assert defense.gradient(z, TURN) is z
    assert defense.receive(z, TURN) is z
    assert defense.client_loss(z, TURN) is None


def test_nothing_is_wrapped_learned_drawn_or_guaranteed() -> None:
    setup = PartySetup(
        side="client", module=nn.Linear(1, 1), optimizer=None, sampler=Shuffled(batch_size=1),
        task=Task(input_shape=(1,), smashed_shape=(1,), classes=2), samples=3, rng=Stream(0),
    )  # fmt: skip
    defense, before = NoDefense(), torch.get_rng_state()

    assert defense.begin(setup) is setup
    defense.step(TURN)
    assert defense.learned() == {}
    assert defense.guarantee(releases=1, delta=1e-5) is None
    assert (defense.learns, defense.per_batch) == (False, False)
    assert [phase.name for phase in defense.phases] == ["train"]
    assert torch.equal(torch.get_rng_state(), before)


def test_evidence_is_the_root_mean_square_of_the_change() -> None:
    clean = torch.zeros(2, 3, 4)
    sent = clean.clone()
    sent[0] = 3.0

    assert Defense().evidence(clean, sent)["changed_rms"] == pytest.approx(4.5**0.5)
    assert Defense().evidence(clean, clean) == {"changed_rms": 0.0}


@pytest.mark.parametrize(("shape", "bounded"), [((1, 8, 8), True), ((2, 64), True), ((12,), False)])
def test_images_and_signals_have_bounds_and_features_none(
    shape: tuple[int, ...], *, bounded: bool
) -> None:
    assert Task(input_shape=shape, smashed_shape=(4,), classes=2).bounded is bounded
