"""Each defense is seen to act: on the shapes, sizes and phases in which it is used."""

import pytest
import torch
from support.defense_inputs import PHASES, SHAPES, begun, images, randn, turn_for

from sltoolkit.contracts.defense import NoDefense
from sltoolkit.defenses import DEFENSES
from sltoolkit.wire.turn import PhaseName

pytestmark = pytest.mark.golden


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("batch", [0, 1, 5])
@pytest.mark.parametrize("name", sorted(DEFENSES))
def test_what_is_sent_keeps_shape_precision_and_the_given_tensor(
    name: str, batch: int, shape: tuple[int, ...], phase: PhaseName
) -> None:
    defense = begun(DEFENSES[name].smoke(), shape)
    z, x = randn(batch, *shape), images(batch)
    before = z.clone()
    turn = turn_for(x, phase)
    sent = defense.smash(z, turn)
    defense.client_loss(sent, turn)
    defense.step(turn)
    assert sent.shape == z.shape
    assert sent.dtype == z.dtype
    assert torch.equal(z, before)


@pytest.mark.parametrize("name", sorted(DEFENSES))
def test_class_facts_are_declared(name: str) -> None:
    kind = DEFENSES[name]
    assert kind.citation
    assert kind.strength in vars(kind()) or kind is NoDefense


@pytest.mark.parametrize("name", sorted(set(DEFENSES) - {"none", "nopeek"}))
def test_evidence_shows_that_the_release_differs(name: str) -> None:
    defense = begun(DEFENSES[name].smoke(), (6, 4, 4))
    z = randn(5, 6, 4, 4)
    with torch.no_grad():
        sent = defense.smash(z, turn_for(images(5), "release"))
    assert defense.evidence(z[None], sent[None])["changed_rms"] > 0.01


def test_heuristic_defenses_claim_no_guarantee() -> None:
    for name in sorted(set(DEFENSES) - {"dp_activations"}):
        assert DEFENSES[name].smoke().guarantee(releases=1, delta=1e-5) is None
