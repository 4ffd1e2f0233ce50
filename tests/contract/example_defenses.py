"""Defenses that use the seams that no registered defense needs yet."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, final

import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.contracts.defense import Defense, PartySetup
from sltoolkit.parties.sampling import Sampler
from sltoolkit.streams import Stream
from sltoolkit.wire.turn import Phase, Turn


@final
class Offset(nn.Module):
    """A network that adds a learned tensor."""

    def __init__(self, shape: tuple[int, ...], like: Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(0.1 * torch.randn(shape, device=like.device))


@final
@dataclass(kw_only=True, eq=False)
class LearnedNoise(Defense):
    """Noise that learns after the training, while both networks are frozen (as in Shredder).

    Attributes:
        epochs: epochs of the noise's training.
        weight: how much large noise is rewarded.
    """

    citation: ClassVar[str] = "Mireshghallah et al. 2020, Shredder (ASPLOS)"
    strength: ClassVar[str] = "weight"

    epochs: int = 3
    weight: float = 0.1
    _noise: Offset | None = field(init=False, repr=False, default=None)
    _optimizer: torch.optim.Optimizer | None = field(init=False, repr=False, default=None)

    @property
    def phases(self) -> tuple[Phase, ...]:  # type: ignore[override]
        """The training, and then the fit of the noise."""
        return (Phase("train"), Phase("fit", self.epochs))

    def begin(self, setup: PartySetup) -> PartySetup:
        """Draw the initial noise."""
        if setup.side == "client":
            self._noise = Offset(setup.task.smashed_shape, next(setup.module.parameters()))
            self._optimizer = torch.optim.Adam(self._noise.parameters(), lr=0.05)
        return setup

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """Add the noise, but not while the networks learn."""
        assert self._noise is not None
        return z if turn.phase == "train" else z + self._noise.values

    def client_loss(self, z: Tensor, turn: Turn) -> Tensor | None:
        """Reward large noise."""
        if turn.phase != "fit" or self._noise is None:
            return None
        return -self.weight * self._noise.values.abs().mean()

    def step(self, turn: Turn) -> None:
        """Let the noise learn."""
        if turn.phase == "fit" and self._optimizer is not None:
            self._optimizer.step()
            self._optimizer.zero_grad()

    def learned(self) -> Mapping[str, nn.Module]:
        """The network with the noise."""
        return {} if self._noise is None else {"noise": self._noise}


@final
@dataclass(kw_only=True, eq=False)
class Refuse(Defense):
    """A detector that mistrusts the gradients of some batches.

    Attributes:
        steps: the steps of these batches; None for all batches.
    """

    citation: ClassVar[str] = "nobody 2026"

    steps: tuple[int, ...] | None = None
    weights: list[Tensor] = field(init=False, repr=False, default_factory=list)
    _module: nn.Module | None = field(init=False, repr=False, default=None)

    def begin(self, setup: PartySetup) -> PartySetup:
        """Keep the client's network, to note its weights."""
        self._module = setup.module if setup.side == "client" else None
        return setup

    def receive(self, g: Tensor, turn: Turn) -> Tensor | None:
        """The gradient, or None for a batch that it mistrusts."""
        return None if self.steps is None or turn.step in self.steps else g

    def client_loss(self, z: Tensor, turn: Turn) -> Tensor | None:
        """A further loss, from which the client must not learn in a refused batch."""
        return 0.1 * z.square().mean() if len(z) else None

    def step(self, turn: Turn) -> None:
        """Note the client's weights after every batch."""
        if self._module is not None:
            parameters = [p.detach().flatten() for p in self._module.parameters()]
            self.weights.append(torch.cat(parameters).clone())


@final
@dataclass(kw_only=True, eq=False)
class SoftLabels(Defense):
    """Label weights (B, C) in place of classes (B,).

    Attributes:
        smoothing: the weight that is taken from the true class and spread over all classes.
    """

    citation: ClassVar[str] = "Szegedy et al. 2016, label smoothing"
    strength: ClassVar[str] = "smoothing"

    smoothing: float = 0.3
    _classes: int = field(init=False, repr=False, default=0)

    def begin(self, setup: PartySetup) -> PartySetup:
        """Learn how many classes there are."""
        self._classes = setup.task.classes
        return setup

    def labels(self, y: Tensor, turn: Turn) -> Tensor:
        """Label weights (B, C), whose rows sum to 1."""
        hard = functional.one_hot(y, self._classes).float()
        return (1 - self.smoothing) * hard + self.smoothing / self._classes


@final
@dataclass(frozen=True, kw_only=True)
class Poisson(Sampler):
    """Draws every sample with the same probability for every batch; a batch may be empty."""

    rate: float
    steps: int

    def batches(self, n: int, rng: Stream) -> Iterator[Tensor]:
        """The indices of `steps` batches."""
        for _ in range(self.steps):
            yield (torch.rand(n, generator=rng.torch()) < self.rate).nonzero().flatten()


@dataclass(kw_only=True, eq=False)
class DPSGD(Defense):
    """The client's steps clip per-example gradients and add noise (Abadi et al. 2016).

    The server sends gradients of a mean over the batch, so opacus is told `mean`: it multiplies
    them by the batch size, clips, sums, and divides by the expected batch size.

    Attributes:
        noise_multiplier: standard deviation of the noise, in units of the clip.
        clip: largest norm of per-example gradients.
        expected: batch size that the sum is divided by.
        sampling: the sampler of batches; None keeps the fixed batches.
    """

    citation: ClassVar[str] = "Abadi et al. 2016, Deep learning with differential privacy (CCS)"
    strength: ClassVar[str] = "noise_multiplier"

    noise_multiplier: float = 1.0
    clip: float = 1.0
    expected: int = 16
    sampling: Poisson | None = None

    def begin(self, setup: PartySetup) -> PartySetup:
        """Wrap module, optimizer and sampler."""
        if setup.side != "client" or setup.optimizer is None:
            return setup
        wrapped = GradSampleModule(setup.module, loss_reduction="mean")
        optimizer = DPOptimizer(
            setup.optimizer,
            noise_multiplier=self.noise_multiplier,
            max_grad_norm=self.clip,
            expected_batch_size=self.expected,
            loss_reduction="mean",
        )
        sampler = self.sampling or setup.sampler
        return replace(setup, module=wrapped, optimizer=optimizer, sampler=sampler)
