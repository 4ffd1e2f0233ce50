"""What attackers are given, and how they deal with unusual clients."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from support.situations import AttentionAcrossTokens, open_fault, parted, refusal_of
from torch import Tensor, nn

import sltoolkit as sl
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.streams import Stream


@dataclass(frozen=True, kw_only=True, eq=False)
class _ArchitectureView:
    smashed: Tensor
    client_arch: Callable[[Stream], nn.Module]


@final
@dataclass(frozen=True, kw_only=True)
class _KeepsTheFreshClient(sl.Attack[_ArchitectureView]):
    roles = ("server",)
    family = "reconstruction"
    view: ClassVar[type] = _ArchitectureView
    citation = "for a test"

    built: list[nn.Module]

    def run(self, view: _ArchitectureView, *, rng: Stream) -> Reconstruction:
        self.built.append(view.client_arch(rng))
        return Reconstruction(images=torch.zeros(view.smashed.shape[1], 1, 8, 8))


def test_the_architecture_alone_holds_no_weight_of_the_victim() -> None:
    def network() -> nn.Module:
        normed = nn.utils.spectral_norm(nn.Conv2d(1, 8, 3, padding=1))
        return nn.Sequential(normed, nn.Tanh(), nn.Flatten(), nn.Linear(512, 2))

    victim = sl.train(network, parted(), cut=1, training=sl.Training(epochs=0))
    attack = _KeepsTheFreshClient(built=[])
    sl.attack(victim, attack, grants={"client_arch"}, targets=sl.Targets(count=2))

    own = dict(victim.deployed[0].client.named_parameters())
    fresh = dict(attack.built[0].named_parameters())
    assert own.keys() == fresh.keys()
    assert not [name for name in own if torch.equal(own[name], fresh[name])]


@open_fault("UnSplit's copies of layers lack the attributes that torch's attention reads")
def test_unsplit_copies_a_transformer() -> None:
    def network() -> nn.Module:
        return nn.Sequential(AttentionAcrossTokens(), nn.Flatten(), nn.Linear(64, 2))

    victim = sl.train(network, parted(), cut=0, training=sl.Training(epochs=1))
    attack = sl.UnSplit(rounds=2, input_steps=3, client_steps=3)

    assert not refusal_of(
        lambda: sl.attack(victim, attack, grants={"client_arch"}, targets=sl.Targets(count=4))
    )
