"""Planted broken defenses, most of them seen in public code: the contract suite catches each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from contract import defense_checks as checks
from sltoolkit.contracts.defense import Defense, PartySetup
from sltoolkit.privacy import Guarantee
from sltoolkit.wire.turn import Turn


@dataclass(kw_only=True, eq=False)
class Planted(Defense):
    """Sound: fresh noise from the turn's stream; the others break something of it."""

    citation: ClassVar[str] = "nobody 2026"
    strength: ClassVar[str] = "std"
    std: float = 0.5

    def noise(self, z: Tensor, turn: Turn) -> Tensor:
        """Standard normal."""
        return torch.randn(z.shape, generator=turn.rng.torch())

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """Add it."""
        return z + self.std * self.noise(z, turn)


@dataclass(kw_only=True, eq=False)
class DoesNothing(Planted):
    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        return z


@dataclass(kw_only=True, eq=False)
class NoiseOnACopy(Planted):
    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        noisy = z.detach().clone()
        noisy += self.std * self.noise(z, turn)
        return z


@dataclass(kw_only=True, eq=False)
class NoiseOnlyInTraining(Planted):
    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        return super().smash(z, turn) if turn.phase == "train" else z


@dataclass(kw_only=True, eq=False)
class NoEvidence(Planted):
    def evidence(self, clean: Tensor, sent: Tensor) -> Mapping[str, float]:
        return {"changed_rms": 0.0}


@dataclass(kw_only=True, eq=False)
class ZeroGradientLoss(Planted):
    def client_loss(self, z: Tensor, turn: Turn) -> Tensor | None:
        return 0.0 * z.square().mean()


@dataclass(kw_only=True, eq=False)
class DetachedLoss(Planted):
    def client_loss(self, z: Tensor, turn: Turn) -> Tensor | None:
        return z.detach().square().mean()


@dataclass(kw_only=True, eq=False)
class OnlyAZeroLoss(DoesNothing):
    def client_loss(self, z: Tensor, turn: Turn) -> Tensor | None:
        return 0.0 * z.square().mean()


@dataclass(kw_only=True, eq=False)
class SoftMask(Planted):
    """Scales channels down and calls them removed (an adaptive attacker scales them up again)."""

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        return z * torch.tensor([1e-6, 1.0, 1.0, 1.0]).view(1, 4, 1, 1)

    def evidence(self, clean: Tensor, sent: Tensor) -> Mapping[str, float]:
        return {"zero_channels": 0.25, "changed_rms": 1.0}


@dataclass(kw_only=True, eq=False)
class IgnoresItsStrength(Planted):
    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        return z + 0.1 * self.noise(z, turn)


@dataclass(kw_only=True, eq=False)
class Unseeded(Planted):
    def noise(self, z: Tensor, turn: Turn) -> Tensor:
        generator = torch.Generator()
        generator.seed()
        return torch.randn(z.shape, generator=generator)


@dataclass(kw_only=True, eq=False)
class OneForAll(Planted):
    """Refuses to be copied: client and label side are one object."""

    _drawn: list[Tensor] = field(init=False, repr=False, default_factory=list)

    def __deepcopy__(self, memo: dict[int, Any]) -> "OneForAll":
        return self

    def begin(self, setup: PartySetup) -> PartySetup:
        self._drawn.append(torch.zeros(1))
        return setup


@dataclass(kw_only=True, eq=False)
class MeetsOnItsClass(Planted):
    last: ClassVar[dict[str, Tensor]] = {}

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        self.last["z"] = z.detach()
        return super().smash(z, turn)


@dataclass(kw_only=True, eq=False)
class Promises(Planted):
    """With what a guarantee may lack."""

    limits: str = "labels"
    growth: float = 1.0
    base: float = 1.0

    def guarantee(self, *, releases: int, delta: float) -> Guarantee | None:
        return Guarantee(
            mechanism="noise", released="smashed data", unit="one example",
            neighbors="replacement", epsilon=self.base + self.growth * releases, delta=delta,
            releases=releases, accountant="none", limits=self.limits,
        )  # fmt: skip


CHECKS: tuple[Callable[[Defense], None], ...] = (
    checks.check_acts, checks.check_strength_acts, checks.check_release_path_uses_it,
    checks.check_masks_are_exact, checks.check_deterministic_per_stream,
    checks.check_parties_share_no_state, checks.check_loss_has_gradient,
    checks.check_guarantee_complete,
)  # fmt: skip


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("sound", [Planted(), Promises()], ids=["noise", "guarantee"])
def test_a_sound_defense_passes(sound: Defense, check: Callable[[Defense], None]) -> None:
    check(sound)


@pytest.mark.parametrize(
    ("broken", "check", "said"),
    [
        (DoesNothing(), checks.check_acts, "is inert"),
        (NoiseOnACopy(), checks.check_acts, "is inert"),
        (OnlyAZeroLoss(), checks.check_acts, "is inert"),
        (NoiseOnlyInTraining(), checks.check_release_path_uses_it, "not what is released"),
        (NoEvidence(), checks.check_release_path_uses_it, "no evidence"),
        (ZeroGradientLoss(), checks.check_loss_has_gradient, "gradient is zero"),
        (DetachedLoss(), checks.check_loss_has_gradient, "nothing can learn"),
        (SoftMask(), checks.check_masks_are_exact, r"claims 0\.25 zeroed channels, 0\.0"),
        (IgnoresItsStrength(), checks.check_strength_acts, "ignores its std"),
        (Unseeded(), checks.check_deterministic_per_stream, "two runs"),
        (OneForAll(), checks.check_parties_share_no_state, "two parties share"),
        (MeetsOnItsClass(), checks.check_parties_share_no_state, "on its class"),
        (Promises(limits=" "), checks.check_guarantee_complete, "doesn't state its limits"),
        (Promises(growth=0.0), checks.check_guarantee_complete, "for the price of one"),
        (Promises(base=float("inf")), checks.check_guarantee_complete, "no finite epsilon"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Defense) else None,
)  # fmt: skip
def test_a_broken_defense_is_caught(
    broken: Defense, check: Callable[[Defense], None], said: str
) -> None:
    with pytest.raises(AssertionError, match=said):
        check(broken)


def test_a_strength_that_is_no_parameter_is_caught() -> None:
    class Misnamed(Planted):
        strength = "sigma"

    with pytest.raises(AssertionError, match="'sigma', none of its parameters"):
        checks.check_strength_is_field(Misnamed)
