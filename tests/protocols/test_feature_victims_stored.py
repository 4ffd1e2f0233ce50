"""Victims with several parties on real digits: defenses and checkpoints."""

from pathlib import Path

import pytest
import torch
from support.feature_victims import ASKED, EACH, QUICK, cut_of, digits, network, train, undefended
from torch import Tensor, nn

import sltoolkit as sl
from sltoolkit.api import restored
from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.defenses import DISCO, DPActivations, GaussianNoise
from sltoolkit.errors import SpecError
from sltoolkit.protocols import Protocol
from sltoolkit.streams import Stream
from sltoolkit.training.checkpoint import save_victim, victim_tensors
from sltoolkit.training.joint_client import JointClient
from sltoolkit.wire.turn import Turn

pytestmark = pytest.mark.golden


@EACH
def test_every_party_defends_its_own_slice_in_training_and_when_deployed(
    protocol: Protocol,
) -> None:
    victim = train(protocol, defense=GaussianNoise(std=2.0))
    x = digits().aux.x
    clean, sent = victim.client.replica().smash(x, Stream(5))
    noise = sent - clean
    assert abs(float(noise.std()) - 2) < 0.02
    columns = noise.transpose(0, 3).flatten(1)
    assert float((torch.corrcoef(columns) - torch.eye(8)).abs().max()) < 0.1
    if protocol.clients > 1:
        assert isinstance(victim.client.defense, JointClient)
        assert len(victim.client.defense.parties) == protocol.clients


def test_every_party_learns_a_defense_of_its_own() -> None:
    victim = train(sl.Vertical(clients=2), defense=DISCO.smoke())
    defense = victim.client.defense
    assert isinstance(defense, JointClient)
    names = sorted(defense.learned())
    assert names[: len(names) // 2] == [n.replace("1.", "0.", 1) for n in names[len(names) // 2 :]]
    first, second = (
        torch.cat([p.flatten() for m in party.learned().values() for p in m.parameters()])
        for party in defense.parties
    )
    assert not torch.equal(first, second)
    mechanism = victim.configured_defense
    assert isinstance(mechanism, JointClient)
    assert all(isinstance(party, DISCO) for party in mechanism.parties)


def test_a_slice_is_what_that_party_alone_would_send() -> None:
    class Scale(Defense):
        def __init__(self, by: float) -> None:
            self.by = by

        def smash(self, z: Tensor, turn: Turn) -> Tensor:
            assert turn.x is not None
            assert turn.x.shape[-1] == z.shape[-1]
            return z * self.by

    victim = undefended(sl.Vertical(clients=3))
    x = digits().aux.x[:4]
    clean, _ = victim.client.smash(x, Stream(0))
    defense = JointClient([Scale(1.0), Scale(2.0), Scale(-1.0)], (3, 3, 2))
    ids = torch.arange(len(x))
    turn = Turn(ids=ids, x=x, y=None, step=0, epoch=0, phase="release", rng=Stream(0))
    first, second, third = defense.smash(clean, turn).split((3, 3, 2), dim=-1)
    assert torch.equal(first, clean[..., :3])
    assert torch.equal(second, 2 * clean[..., 3:6])
    assert torch.equal(third, -clean[..., 6:])


def test_guarantees_of_all_parties_about_a_record_compose() -> None:
    single = DPActivations(epsilon=4.0)
    victim = train(sl.Vertical(clients=3), defense=single)
    stated = victim.configured_defense.guarantee(releases=2, delta=1e-5)
    assert stated is not None
    assert stated == single.guarantee(releases=6, delta=1e-5)
    alone = single.guarantee(releases=2, delta=1e-5)
    assert alone is not None
    assert stated.epsilon > alone.epsilon


@EACH
@pytest.mark.parametrize("defense", [NoDefense(), DISCO.smoke()], ids=["none", "disco"])
def test_a_stored_victim_comes_back(protocol: Protocol, defense: Defense, tmp_path: Path) -> None:
    victim = train(protocol, defense=defense, seed=3)
    path = tmp_path / "victim.safetensors"
    save_victim(victim, path)
    back = restored(
        path, network, digits(), cut=cut_of(protocol), protocol=protocol, defense=defense, seed=3,
        training=QUICK, targets=ASKED,
    )  # fmt: skip
    before, after = victim_tensors(victim), victim_tensors(back)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any(name.startswith("heard/") for name in before)
    x = digits().private_holdout.x
    for hops in range(len(victim.client.hops) + 1):
        mine, its = (v.release(Stream(1), hops=hops)(x) for v in (victim, back))
        assert torch.equal(mine, its)
    assert (back.utility, back.losses, back.bytes) == (victim.utility, victim.losses, victim.bytes)


def test_a_convolution_that_a_block_is_too_narrow_for_is_refused_before_training() -> None:
    with pytest.raises(SpecError, match="can't take inputs of shape 1x8x1"):
        sl.train(
            lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 10)), digits(),
            cut=0, protocol=sl.Vertical(clients=8), training=QUICK,
        )  # fmt: skip
