"""DISCO: a learned pruner removes the channels that help an adversary but not the task.

Adversary: any receiver of smashed data that tries to reconstruct inputs from them. Which channels
are zero may depend on the input and is visible: the mask is a message too. (In our trainings it
hardly does: 1 to 4 masks for all training samples of digits and MNIST, at both rates.)

Idea (Singh et al. 2021): a pruner pi scores the channels of z = f(x); per example the
floor(ratio * C) channels of lowest score are removed. A proxy adversary d learns alongside.

    adversary d:   min |d(z') - x|^2
    pruner pi:     min (1 - alpha) L_task - alpha |d(z') - x|^2
    client f:      min L_task                                     (and nothing of the adversary)

Symbols: z (B, C, ...), s = pi(z) scores (B, C), tau the lowest score that is kept,
m = sigmoid((s - tau) / T) the soft gate, z' what is sent; |.|^2 is the mean over pixels. For
vectors every feature is a channel.

Departures from the paper and its authors' code:

1. What is sent is pruned hard: removed entries are exactly (positive) 0, in training and in
   release. The paper's soft gate only scales channels down, which a decoder scales up again. The
   pruner learns through the soft gate (straight-through).
2. The pruner reads z detached, so the client gets the task's gradient at the channels that were
   kept, and none through the pruner's scores.
3. The pruner is a small network (one hidden layer), the adversary the inverse network that the
   `decoder` attack uses; the paper takes ResNet-18's tail and a larger decoder. A proxy that is
   weaker than the real attacker makes the defense look good only to itself.
4. ratio = 0.65 and alpha = 0.5 are the values of the authors' first published code, which prunes
   hard as well; their later configuration says 0.99. Both networks use Adam, there at 3e-4 for 150
   epochs (`paper`). Here the rate is ten times as large, because at 3e-4 neither has learned much
   when a training of some hundred batches ends: DISCO would be judged by its learning rate.
5. In training, standard Gumbel noise is added to the scores and T = 1 instead of 1/30
   (straight-through Gumbel top-k), so that other masks are tried; in release only the scores
   decide. Without noise the hard mask froze at its start: on digits the scores ran to +-80 within
   eight epochs, and against a proxy that has learned the present mask the privacy term is flat.
6. A batch of fewer than two samples is pruned, and teaches pruner and adversary nothing: it has
   no variance for the adversary's BatchNorm.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Self, final

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from sltoolkit.contracts.defense import Defense, PartySetup
from sltoolkit.defenses.smashed._channels import per_channel, pruned_count, zero_channels
from sltoolkit.errors import ProtocolError
from sltoolkit.networks.inverse import inverse_network
from sltoolkit.networks.layers import check_shape, mixing
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.streams import Stream
from sltoolkit.wire.turn import Turn


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Networks:
    """The pruner, the proxy adversary, and their optimizers."""

    pruner: nn.Module
    adversary: nn.Module
    prune: torch.optim.Optimizer
    attack: torch.optim.Optimizer


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Masked:
    """A training batch between `smash` and `step`: detached z, what is kept, and the soft gate."""

    z: Tensor
    kept: Tensor
    gate: Tensor


@final
@dataclass(kw_only=True, eq=False)
class DISCO(Defense):
    """Learned channel pruning against a proxy adversary."""

    citation: ClassVar[str] = (
        "Singh et al. 2021, DISCO: dynamic and invariant sensitive channel obfuscation for deep "
        "neural networks (CVPR, arXiv:2012.11025)"
    )
    strength: ClassVar[str] = "ratio"
    learns: ClassVar[bool] = True

    ratio: Annotated[float, Parameter("fraction of channels set to 0", least=0, below=1)] = 0.65
    alpha: Annotated[
        float,
        Parameter(
            "weight of the adversary in the pruner's loss; the task has 1 - alpha", least=0, most=1
        ),
    ] = 0.5
    lr: Annotated[float, Parameter("learning rate (Adam) of pruner and adversary", above=0)] = 3e-3
    width: Annotated[
        int, Parameter("hidden units of the pruner, and channels of the proxy adversary", least=1)
    ] = 16
    _networks: _Networks | None = field(init=False, repr=False, default=None)
    _batch: _Masked | None = field(init=False, repr=False, default=None)
    _proxy_mse: Tensor | None = field(init=False, repr=False, default=None)

    @classmethod
    def smoke(cls) -> Self:
        """A setting with narrow networks."""
        return cls(width=4)

    @classmethod
    def paper(cls) -> Self:
        """The rate of the authors' code, which trains for 150 epochs."""
        return cls(lr=3e-4)

    def begin(self, setup: PartySetup) -> PartySetup:
        """Build pruner and adversary, only at the client."""
        if setup.side == "client":
            task = setup.task
            pruner = pruner_network(task.smashed_shape, width=self.width)
            adversary = inverse_network(task.smashed_shape, task.input_shape, width=self.width)
            for weight in setup.module.parameters():
                pruner, adversary = pruner.to(weight), adversary.to(weight)
                break
            self._networks = _Networks(
                pruner=pruner,
                adversary=adversary,
                prune=torch.optim.Adam(pruner.parameters(), lr=self.lr),
                attack=torch.optim.Adam(adversary.parameters(), lr=self.lr),
            )
        return setup

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """Remove the channels of lowest score; in training the pruner gets the task's gradient."""
        scores = self._own().pruner(z.detach())
        learns = turn.phase == "train" and len(z) >= 2
        if learns:
            scores = scores + gumbel_like(scores, turn.rng)
        ranks = scores.detach().sort(1).values
        removed = pruned_count(self.ratio, z.shape[1])
        kept = torch.zeros_like(scores, dtype=torch.bool)
        kept.scatter_(1, scores.detach().argsort(1)[:, removed:], True)
        if not learns:
            return torch.where(per_channel(kept, z), z, 0)
        gate = torch.sigmoid(scores - ranks[:, removed, None])
        self._batch = _Masked(z=z.detach(), kept=kept, gate=gate)
        return masked(z, kept, (1 - self.alpha) * gate)

    def client_loss(self, z: Tensor, turn: Turn) -> Tensor | None:
        """The pruner's privacy term; it reaches neither the client nor the adversary."""
        batch = self._batch
        if batch is None or turn.x is None:
            return None
        adversary = self._own().adversary
        frozen = {name: t.clone() for name, t in adversary.state_dict().items()}
        guess = functional_call(adversary, frozen, masked(batch.z, batch.kept, batch.gate))
        return -self.alpha * functional.mse_loss(guess, turn.x)

    def step(self, turn: Turn) -> None:
        """Step the pruner on the gradients that have arrived, and train the adversary."""
        own, batch, self._batch = self._own(), self._batch, None
        if batch is None or turn.x is None:
            return
        own.prune.step()
        own.prune.zero_grad()
        sent = torch.where(per_channel(batch.kept, batch.z), batch.z, 0)
        loss = functional.mse_loss(own.adversary(sent), turn.x)
        own.attack.zero_grad()
        loss.backward()
        own.attack.step()
        self._proxy_mse = loss.detach()

    def learned(self) -> Mapping[str, nn.Module]:
        """`pruner` and `adversary`, where they are built."""
        own = self._networks
        return {} if own is None else {"pruner": own.pruner, "adversary": own.adversary}

    def evidence(self, clean: Tensor, sent: Tensor) -> Mapping[str, float]:
        """`zero_channels`: the fraction of zero channels as sent; `_clean`: before the mask.

        `train_proxy_mse`: the proxy adversary's error on the last training batch, to be compared
        with the real attacks'.
        """
        seen = {} if self._proxy_mse is None else {"train_proxy_mse": float(self._proxy_mse)}
        return {
            **super().evidence(clean, sent),
            "zero_channels": zero_channels(sent),
            "zero_channels_clean": zero_channels(clean),
            **seen,
        }

    def _own(self) -> _Networks:
        if self._networks is None:
            raise ProtocolError("DISCO: begin() with a client's setup must come before its release")
        return self._networks


def gumbel_like(scores: Tensor, rng: Stream) -> Tensor:
    """Independent standard Gumbel numbers of the shape, precision and device of `scores`."""
    generator = rng.torch(scores.device)
    return -torch.empty_like(scores).exponential_(generator=generator).log()


def masked(z: Tensor, kept: Tensor, gate: Tensor) -> Tensor:
    """`z` (B, C, ...) with exact zeros where not `kept` (B, C), and the gradient of `z * gate`.

    That is, at `z` the gradient of the kept entries; at `gate` (B, C) the sum over a channel's
    positions of z times the gradient, also for removed channels (straight-through).
    """
    nothing = gate - gate.detach()  # exactly 0; adding it also turns -0.0 into 0.0
    return torch.where(per_channel(kept, z), z, 0) + z.detach() * per_channel(nothing, z)


def pruner_network(smashed_shape: tuple[int, ...], *, width: int) -> nn.Module:
    """Channel scores (B, C) for smashed data (B, C, H, W), (B, C, L) or (B, C).

    Raises:
        SpecError: for another shape.
    """
    check_shape(smashed_shape, "what a pruner takes")
    rank, channels = len(smashed_shape), smashed_shape[0]
    pooled: dict[int, list[nn.Module]] = {
        1: [],
        2: [nn.AdaptiveAvgPool1d(1), nn.Flatten()],
        3: [nn.AdaptiveAvgPool2d(1), nn.Flatten()],
    }
    return nn.Sequential(
        mixing(rank, channels, width), nn.ReLU(), *pooled[rank], nn.Linear(width, channels)
    )
