"""Blocks of features, and each party's own defense on its own slice."""

from dataclasses import dataclass
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.data.samples import Samples
from sltoolkit.defenses import DPActivations, GaussianNoise
from sltoolkit.streams import Stream
from sltoolkit.training.joint_client import Blocks, JointClient, block_samples, blocks_of
from sltoolkit.wire.turn import Turn


@dataclass(kw_only=True, eq=False)
class Scales(Defense):
    """Multiplies by its factor; keeps what it saw of the inputs."""

    factor: float = 1.0
    saw: Any = None

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        self.saw = turn.x
        return self.factor * z


def turn(x: Tensor | None = None) -> Turn:
    return Turn(ids=torch.arange(2), x=x, y=None, step=0, epoch=0, phase="train", rng=Stream(0))


@pytest.mark.parametrize(("width", "parties", "widths"), [(6, 3, [2, 2, 2]), (7, 3, [3, 2, 2])])
@pytest.mark.parametrize("lead", [(4,), (2, 1, 5)], ids=["vectors", "maps"])
def test_blocks_are_columns_and_the_first_are_wider(
    width: int, parties: int, widths: list[int], lead: tuple[int, ...]
) -> None:
    x = torch.rand(*lead, width)

    blocks = blocks_of(x, parties)

    assert [block.shape[-1] for block in blocks] == widths
    assert torch.equal(torch.cat(blocks, -1), x)


def test_every_party_holds_its_block_and_all_labels() -> None:
    ids = torch.arange(3)
    whole = Samples(x=torch.rand(3, 5), y=ids % 2, ids=ids, groups=ids)

    first, second = block_samples(whole, 2)

    assert torch.equal(first.x, whole.x[:, :3])
    assert torch.equal(second.x, whole.x[:, 3:])
    assert torch.equal(first.y, whole.y)
    assert torch.equal(second.ids, whole.ids)


def test_networks_of_blocks_see_their_own_columns() -> None:
    heads = [nn.Linear(3, 2), nn.Linear(2, 4)]
    x = torch.rand(6, 5)

    together = Blocks(heads)

    assert torch.equal(together(x), torch.cat([heads[0](x[:, :3]), heads[1](x[:, 3:])], -1))
    assert [z.shape for z in together.apart(x)] == [(6, 2), (6, 4)]


def test_every_party_defends_its_own_slice_with_its_own_inputs() -> None:
    parties = [Scales(factor=2.0), Scales(factor=-1.0)]
    x = torch.rand(2, 4)

    sent = JointClient(parties, [3, 1]).smash(torch.ones(2, 4), turn(x))

    assert sent.tolist() == [[2.0, 2.0, 2.0, -1.0]] * 2
    assert torch.equal(parties[0].saw, x[:, :2])
    assert torch.equal(parties[1].saw, x[:, 2:])


def test_a_turn_without_inputs_shows_none() -> None:
    party = Scales()

    JointClient([party], [4]).smash(torch.ones(2, 4), turn())

    assert party.saw is None


def test_parties_draw_noise_of_their_own() -> None:
    noisy = JointClient([GaussianNoise(std=1.0)] * 2, [50, 50]).smash(torch.zeros(9, 100), turn())

    assert not torch.equal(noisy[:, :50], noisy[:, 50:])


def test_every_party_releases_something_about_each_record() -> None:
    one = DPActivations(epsilon=2.0)

    joint = JointClient([one, one, one], [1, 1, 1]).guarantee(releases=4, delta=1e-5)

    alone = one.guarantee(releases=12, delta=1e-5)
    assert joint is not None
    assert alone is not None
    assert joint.epsilon == alone.epsilon
    assert JointClient([NoDefense()], [1]).guarantee(releases=1, delta=1e-5) is None


def test_as_configured_every_party_is_new() -> None:
    trained = JointClient([Scales(factor=7.0), Scales(factor=8.0)], [1, 1])

    fresh = trained.as_configured(Scales(factor=1.0))

    assert [cast(Scales, p).factor for p in fresh.parties] == [1.0, 1.0]
    assert fresh.parties[0] is not fresh.parties[1]
    assert fresh.widths == (1, 1)
