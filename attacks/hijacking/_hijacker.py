"""Feature-space hijacking: what its variants share (FSHA and its property inference).

The attacker sits in the server's seat and ignores the task. On its own samples it trains a pilot,
from inputs to codes of the smashed data's shape, together with a network that reads the codes. A
critic learns to tell codes from smashed data. Instead of the task's gradient, the client gets the
gradient that makes its smashed data fool the critic. So the client's network drifts into the
pilot's space of codes, which the attacker can read. The step itself is in
`sltoolkit.attacks.hijacking.fsha`.
"""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal, Self, final

import torch
from torch import Tensor, nn

from sltoolkit.adversary.learner import Learner, Losses
from sltoolkit.adversary.own_defense import OwnDefense
from sltoolkit.adversary.training_setup import TrainingSetup
from sltoolkit.contracts.attack import ActiveAttack, BatchView, ListenerState, Role
from sltoolkit.contracts.defense import Task
from sltoolkit.contracts.outcomes import Outcome
from sltoolkit.errors import ProtocolError
from sltoolkit.networks.critics import residual_critic
from sltoolkit.parameters.grids import given
from sltoolkit.parameters.parameter import Parameter
from sltoolkit.parties.stages import Middle, Server, Stage
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class HijackView:
    """What a hijacker has at the end."""

    smashed: Tensor


@dataclass(frozen=True, kw_only=True)
class Hijacking(ActiveAttack[TrainingSetup]):
    """A malicious server that teaches clients to encode as its pilot does.

    The defaults suit clients that learn by Adam at a rate of 1e-3 for hundreds of batches.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    setup: ClassVar[type] = TrainingSetup
    view: ClassVar[type] = HijackView
    citation: ClassVar[str] = (
        "Pasquini, Ateniese, Bernaschi 2021, Unleashing the tiger: Inference attacks on split "
        "learning (CCS; arXiv:2012.02670)"
    )

    loss: Annotated[
        Literal["wasserstein", "bce"],
        Parameter(
            "the losses of critic and client: `wasserstein` (with a gradient penalty) or `bce`"
        ),
    ] = "wasserstein"
    lr: Annotated[
        float | None, Parameter("learning rate of the pilot and the network behind it", above=0)
    ] = 1e-3
    critic_lr: Annotated[float | None, Parameter("learning rate of the critic", above=0)] = 1e-3
    critic_steps: Annotated[
        int, Parameter("steps of the critic per batch; 1 in the paper", least=1)
    ] = 3
    penalty: Annotated[
        float, Parameter("weight of the gradient penalty; 500 in the paper", least=0)
    ] = 10.0
    penalty_over: Annotated[
        Literal["sample", "channel"],
        Parameter("the penalty's norm is per `sample`, or per sample and `channel` (public code)"),
    ] = "sample"
    scale: Annotated[
        float,
        Parameter(
            "factor of the gradient that the client gets; it has no effect on a client with Adam, "
            "unless that client also follows a loss of its own", least=0,
        ),
    ] = 1.0  # fmt: skip
    width: Annotated[int, Parameter("channels of the widest layers; 256 in the paper", least=1)] = (
        256
    )
    blocks: Annotated[int, Parameter("residual blocks of the critic", least=0)] = 6
    shrink: Annotated[
        bool,
        Parameter("whether the critic first strides down to small maps; false in the public code"),
    ] = True
    signed: Annotated[
        bool | None,
        Parameter("whether codes can be negative; None: if the first smashed data have negatives"),
    ] = None

    @classmethod
    def paper(cls) -> Self:
        """The published rates, for clients that learn at a rate of 1e-5 for 10,000 batches."""
        return cls(lr=1e-5, critic_lr=1e-4, critic_steps=1, penalty=500.0)

    def seize(
        self, honest: Stage, setup: TrainingSetup, first: Tensor, *, rng: Stream
    ) -> tuple[Stage, ListenerState]:
        """Take the server's seat: behind the cut, or between a client's head and tail."""
        hijacker = Hijacker(self, setup, first, rng)
        if isinstance(honest, Middle):
            return HijackingMiddle(hijacker, honest), HijackerState(hijacker)
        return HijackingServer(hijacker), HijackerState(hijacker)

    @abstractmethod
    def pilot(self, task: Task, signed: bool) -> nn.Module:
        """The attacker's encoder, from inputs (B, ...) to codes of the smashed data's shape.

        Args:
            task: the shapes.
            signed: whether codes may be negative.
        """

    @abstractmethod
    def reader(self, task: Task) -> nn.Module:
        """The network that reads codes: a decoder or a classifier."""

    @abstractmethod
    def step(self, trio: "Trio", z: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """One step of all three networks.

        Args:
            trio: the networks.
            z: the client's smashed data, (B, ...).
            x: equally many aux samples, (B, ...).
            y: the labels of these samples, (B,).

        Returns:
            The gradient that the client gets for its smashed data, (B, ...).
        """

    @abstractmethod
    def outcome(self, reader: nn.Module, z: Tensor) -> Outcome:
        """What the reader finds in the targets' smashed data (N, ...)."""


@final
class Trio:
    """Pilot, reader and critic, and their optimizers.

    Args:
        attack: its parameters, none of them open.
        task: the shapes.
        like: smashed data (B, ...), whose device and dtype the networks take.
        defense: the attacker's copy of the defense, through which the pilot sends.
    """

    def __init__(self, attack: Hijacking, task: Task, like: Tensor, defense: OwnDefense) -> None:
        signed = bool((like < 0).any()) if attack.signed is None else attack.signed
        critic = residual_critic(
            task.smashed_shape, width=attack.width, blocks=attack.blocks, shrink=attack.shrink
        )
        lr, critic_lr = given(attack.lr, attack.critic_lr)
        self._defense = defense
        self.pilot = Learner(attack.pilot(task, signed), like, lr)
        self.reader = Learner(attack.reader(task), like, lr)
        self.critic = Learner(critic, like, critic_lr)
        self.losses = Losses()

    def codes(self, x: Tensor) -> Tensor:
        """What the pilot sends for aux samples (B, ...)."""
        return self._defense(self.pilot(x), x)


@final
class Hijacker:
    """The attacker in its seat.

    Args:
        attack: its parameters, none of them open.
        setup: aux samples, shapes and what is known of the defense.
        first: the first smashed data that arrived, (B, ...).
        rng: the attacker's stream.

    Attributes:
        attack: as given.
        trio: the attacker's networks.
    """

    def __init__(self, attack: Hijacking, setup: TrainingSetup, first: Tensor, rng: Stream) -> None:
        self.attack, self._own, self._rng = attack, setup.aux, rng
        own_defense = OwnDefense(setup.mechanism, rng.child("defense"))
        self.trio = Trio(attack, setup.task, first, own_defense)

    def answer(self, smashed: Tensor) -> Tensor:
        """Learn from a batch's smashed data (B, ...); return the gradient to send, (B, ...)."""
        x, y = self._own.x, self._own.y
        draw = torch.randint(len(x), (len(smashed),), generator=self._rng.torch())
        rows = draw.to(x.device)
        with self._rng.torch_scope():
            return self.attack.step(self.trio, smashed, x[rows], y[rows])


@final
class HijackingServer(Server):
    """The hijacker behind the cut: it ignores labels, and sends a gradient of its own."""

    def __init__(self, hijacker: Hijacker) -> None:
        self._hijacker = hijacker

    def learn(self, learning: bool) -> None:
        """Ignored: the hijacker always learns."""

    def step(self, smashed: Tensor, labels: Tensor) -> Tensor:
        """The gradient that draws the client to the pilot's codes, (B, ...)."""
        return self._hijacker.answer(smashed)


@final
class HijackingMiddle(Middle):
    """The hijacker between head and tail.

    To the tail it sends what an untrained honest server would; it ignores the tail's gradient.
    """

    def __init__(self, hijacker: Hijacker, honest: Middle) -> None:
        self._hijacker, self._honest = hijacker, honest
        self._received: Tensor | None = None

    def learn(self, learning: bool) -> None:
        """Ignored: the hijacker always learns."""

    def forward(self, received: Tensor) -> Tensor:
        """Features of the shape that the tail expects, (B, ...)."""
        self._received = received.detach().clone()
        return self._honest.forward(received)

    def backward(self, grad: Tensor) -> Tensor:
        """The gradient that draws the head to the pilot's codes, (B, ...)."""
        if self._received is None:
            raise ProtocolError("a server between head and tail got a gradient before any features")
        return self._hijacker.answer(self._received)


@final
class HijackerState(ListenerState):
    """What a hijacker remembers: it reads the targets' smashed data when the run is over."""

    def __init__(self, hijacker: Hijacker) -> None:
        self._hijacker = hijacker

    def hear(self, heard: BatchView) -> None:
        """Do nothing: the party in the seat has already learned from this batch."""

    def finish(self, view: HijackView) -> Outcome:
        """What the reader finds in the mean of the targets' releases."""
        reader, losses = self._hijacker.trio.reader.network, self._hijacker.trio.losses
        outcome = self._hijacker.attack.outcome(reader, view.smashed.mean(0))
        diagnostics, curve = losses.diagnostics(), losses.curve("fool_loss")
        return replace(outcome, diagnostics=diagnostics, curve=curve)
