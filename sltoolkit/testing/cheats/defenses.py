"""Planted broken defenses, most of them seen in public code, and a sound one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense, PartySetup
from sltoolkit.privacy import Guarantee
from sltoolkit.wire.turn import Turn


@dataclass(kw_only=True, eq=False)
class Planted(Defense):
    """A sound defense: fresh noise from the turn's stream; the other defenses each break it."""

    citation: ClassVar[str] = "nobody 2026"
    strength: ClassVar[str] = "std"
    std: float = 0.5

    def noise(self, z: Tensor, turn: Turn) -> Tensor:
        """Standard normal noise."""
        return torch.randn(z.shape, generator=turn.rng.torch())

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """Add the noise."""
        return z + self.std * self.noise(z, turn)


def clipped(z: Tensor, bound: float) -> Tensor:
    """The examples of (B, ...) with norms of at most `bound`."""
    norms = torch.linalg.vector_norm(z.flatten(1), dim=1).clamp(min=bound)
    cut: Tensor = z * (bound / norms).view(-1, *[1] * (z.dim() - 1))
    return cut


@dataclass(kw_only=True, eq=False)
class DoesNothing(Planted):
    """Sends what would be sent without a defense."""

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """What it sends."""
        return z


@dataclass(kw_only=True, eq=False)
class NoiseOnACopy(Planted):
    """Adds noise to a copy, and sends the original."""

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """What it sends."""
        noisy = z.detach().clone()
        noisy += self.std * self.noise(z, turn)
        return z


@dataclass(kw_only=True, eq=False)
class NoiseOnlyInTraining(Planted):
    """Adds noise only during training, so the deployed client is undefended."""

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """What it sends."""
        return super().smash(z, turn) if turn.phase == "train" else z


@dataclass(kw_only=True, eq=False)
class FaintWhenDeployed(Planted):
    """Adds a thousandth of its noise when it is deployed, which is still some evidence."""

    def noise(self, z: Tensor, turn: Turn) -> Tensor:
        """Noise that is all but off outside the training."""
        return super().noise(z, turn) * (1.0 if turn.phase == "train" else 1e-3)


@dataclass(kw_only=True, eq=False)
class OnlyTrained(Planted):
    """Remembers the records that it was trained on, and adds noise to no others."""

    _known: set[bytes] = field(init=False, repr=False, default_factory=set)

    def noise(self, z: Tensor, turn: Turn) -> Tensor:
        """Noise for records that it knows."""
        assert turn.x is not None
        records = [x.numpy().tobytes() for x in turn.x]
        if turn.phase == "train":
            self._known.update(records)
        known = torch.tensor([float(record in self._known) for record in records])
        return super().noise(z, turn) * known.view(-1, *[1] * (z.dim() - 1))


@dataclass(kw_only=True, eq=False)
class WritesLabels(Planted):
    """Writes each label into the first number that is sent, below the noise."""

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """What it sends."""
        sent = super().smash(z, turn)
        if turn.y is None:
            return sent
        flat = sent.flatten(1)
        first = (flat[:, 0] * 100).round() / 100 + 1e-4 * turn.y
        return torch.cat([first[:, None], flat[:, 1:]], dim=1).view_as(sent)


@dataclass(kw_only=True, eq=False)
class RemembersLabels(Planted):
    """Shifts the deployed client's releases by labels that it heard in training."""

    _told: list[Tensor] = field(init=False, repr=False, default_factory=list)

    def labels(self, y: Tensor, turn: Turn) -> Tensor:
        """Remember them."""
        self._told.append(y.clone())
        return y

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """What it sends."""
        sent = super().smash(z, turn)
        if turn.phase == "train" or not self._told:
            return sent
        return sent + 1e-3 * float(self._told[0][0])


@dataclass(kw_only=True, eq=False)
class NoEvidence(Planted):
    """Claims in its evidence that it changes nothing."""

    def evidence(self, clean: Tensor, sent: Tensor) -> Mapping[str, float]:
        """What it claims."""
        return {"changed_rms": 0.0}


@dataclass(kw_only=True, eq=False)
class ZeroGradientLoss(Planted):
    """Adds a loss that is zero everywhere."""

    def client_loss(self, z: Tensor, turn: Turn) -> Tensor | None:
        """Its further loss."""
        return 0.0 * z.square().mean()


@dataclass(kw_only=True, eq=False)
class DetachedLoss(Planted):
    """Adds a loss without a graph."""

    def client_loss(self, z: Tensor, turn: Turn) -> Tensor | None:
        """Its further loss."""
        return z.detach().square().mean()


@dataclass(kw_only=True, eq=False)
class OnlyAZeroLoss(DoesNothing):
    """Does nothing but add a loss that is zero everywhere."""

    def client_loss(self, z: Tensor, turn: Turn) -> Tensor | None:
        """Its further loss."""
        return 0.0 * z.square().mean()


@dataclass(kw_only=True, eq=False)
class SoftMask(Planted):
    """Scales channels down and claims that they are zero; an attacker can scale them up again."""

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """What it sends."""
        return z * torch.tensor([1e-6 * self.std, 1.0, 1.0, 1.0]).view(1, 4, 1, 1)

    def evidence(self, clean: Tensor, sent: Tensor) -> Mapping[str, float]:
        """What it claims."""
        return {"zero_channels": 0.25, "changed_rms": 1.0}


@dataclass(kw_only=True, eq=False)
class IgnoresItsStrength(Planted):
    """Adds the same noise whatever its strength is."""

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """What it sends."""
        return z + 0.1 * self.noise(z, turn)


@dataclass(kw_only=True, eq=False)
class Unseeded(Planted):
    """Draws from a generator that nobody seeds."""

    def noise(self, z: Tensor, turn: Turn) -> Tensor:
        """Standard normal noise."""
        generator = torch.Generator()
        generator.seed()
        return torch.randn(z.shape, generator=generator)


@dataclass(kw_only=True, eq=False)
class NeverTrainsItsNoise(Planted):
    """Its noise has weights that are called learned, and that no optimizer ever gets."""

    _scale: nn.Linear | None = field(init=False, repr=False, default=None)

    def begin(self, setup: PartySetup) -> PartySetup:
        """Make the weights."""
        self._scale = nn.Linear(1, 1)
        return setup

    def noise(self, z: Tensor, turn: Turn) -> Tensor:
        """Scaled normal noise."""
        assert self._scale is not None
        return self._scale.weight.abs() * super().noise(z, turn)

    def learned(self) -> Mapping[str, nn.Module]:
        """The weights that never learn."""
        return {} if self._scale is None else {"scale": self._scale}


@dataclass(kw_only=True, eq=False)
class OneForAll(Planted):
    """Refuses to be copied, so that all parties share one object."""

    _drawn: list[Tensor] = field(init=False, repr=False, default_factory=list)

    def __deepcopy__(self, memo: dict[int, Any]) -> "OneForAll":
        return self

    def begin(self, setup: PartySetup) -> PartySetup:
        """Keep a tensor."""
        self._drawn.append(torch.zeros(1))
        return setup


@dataclass(kw_only=True, eq=False)
class MeetsOnItsClass(Planted):
    """Keeps smashed data on its class, where all parties meet."""

    last: ClassVar[dict[str, Tensor]] = {}

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """What it sends."""
        self.last["z"] = z.detach()
        return super().smash(z, turn)


@dataclass(kw_only=True, eq=False)
class Promises(Planted):
    """Gives a guarantee that holds, but may be stated in a wrong way.

    Attributes:
        limits: what the guarantee says about its limits.
        growth: the epsilon of each release.
        base: the epsilon without releases.
    """

    limits: str = "labels"
    growth: float = 1.0
    base: float = 1.0

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """Clip, so that the guarantee holds, and add the noise."""
        return super().smash(clipped(z, 0.2 * self.std), turn)

    def guarantee(self, *, releases: int, delta: float) -> Guarantee | None:
        """The guarantee."""
        return Guarantee(
            mechanism="noise", released="smashed data", unit="one example",
            neighbors="replacement", epsilon=self.base + self.growth * releases, delta=delta,
            releases=releases, accountant="none", limits=self.limits,
        )  # fmt: skip


@dataclass(kw_only=True, eq=False)
class Misnamed(Planted):
    """Names a strength that is none of its parameters."""

    strength: ClassVar[str] = "sigma"
