"""Attacks get the bytes on the wire: a view's smashed data equal what an ear records."""

from typing import Any

import pytest
import torch

import sltoolkit as sl
from sltoolkit.attacks.inversion._query import QueryView
from sltoolkit.attacks.inversion.retrieval import Retrieval
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.data.targets import image_targets
from sltoolkit.protocols._conversation import converse
from sltoolkit.streams import Stream
from sltoolkit.testing.ears import RecordingEar
from sltoolkit.training.run import seat_parties
from sltoolkit.wire.turn import Turn
from sltoolkit.wire.wire import Wire

DEFENSES = [
    sl.GaussianNoise(std=0.3), sl.RandomPruning(), sl.DPActivations(),
    sl.Chain(sl.LaplaceNoise(), sl.RandomPruning()),
]  # fmt: skip


def smashed_of(victim: sl.Victim) -> torch.Tensor:
    """The smashed data in an attack's view."""
    seen: list[QueryView] = []

    def noting(self: Retrieval, view: QueryView, *, rng: Stream) -> Reconstruction:
        seen.append(view)
        return Reconstruction(images=view.aux.x[: victim.targets.count])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Retrieval, "run", noting)
        sl.attack(victim, Retrieval(distance="euclidean"))  # an attack that rehearses nothing
    return seen[0].smashed


def recorded(victim: sl.Victim, defense: Any, reducer: Any) -> torch.Tensor:
    """The messages on the wire while the trained client sends the targets."""
    ears = RecordingEar()
    run = seat_parties(
        (victim.client.client, victim.server), victim.data, protocol=victim.protocol,
        defense=defense, training=None, rng=Stream(0), ears=[ears],
        wire=Wire(codec=reducer.begin()),
    )  # fmt: skip
    me, host = run.cast.clients[0], run.cast.server
    me.party.learn(False)
    host.party.learn(False)
    targets = image_targets(victim.data, victim.client.samples, victim.targets, seed=0)
    turn = Turn(
        ids=targets.ids, x=targets.x, y=targets.y, step=0, epoch=0, phase="release",
        rng=victim.rng.fresh("targets"),
    )  # fmt: skip
    converse(me, host, targets.x, targets.y, turn, run.cast.wire)
    (smashed,) = [m.payload for m in ears.messages if m.kind == "smashed"]
    return smashed


@pytest.mark.parametrize("reducer", [sl.HalfPrecision(), sl.Quantized(bits=4)], ids=str)
@pytest.mark.parametrize("defense", DEFENSES, ids=lambda d: type(d).__name__)
def test_what_is_attacked_is_what_an_ear_records(defense: Any, reducer: Any) -> None:
    data = sl.data.load("digits", train=64, holdout=20, aux=40)
    victim = sl.train(
        "mlp", data, cut=1, defense=defense, reducer=reducer, training=sl.Training(epochs=1),
        targets=sl.Targets(count=8),
    )  # fmt: skip
    assert torch.equal(smashed_of(victim)[0], recorded(victim, defense, reducer))
