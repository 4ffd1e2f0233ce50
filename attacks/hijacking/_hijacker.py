"""Feature-space hijacking: what its variants share (FSHA and its property inference).

The attacker sits in the server's seat and ignores the task. It trains a pilot from inputs to
codes of the smashed data's shape together with a network that reads the codes, both on its own
samples; a critic tells codes from smashed data; and what the client gets as its gradient is that
of fooling the critic. The client's network drifts into the pilot's space of codes, where the
attacker can read. All networks are built when the first smashed data arrive.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, final

import torch
from torch import Tensor, nn

from sltoolkit.adversary.learner import Architecture, Learner, Losses, learn
from sltoolkit.adversary.own_defense import OwnDefense
from sltoolkit.adversary.rehearsal import chosen, settled
from sltoolkit.contracts.attack import ActiveAttack, BatchView, ListenerState, Role
from sltoolkit.contracts.defense import Defense, Task
from sltoolkit.contracts.knowledge import Aux
from sltoolkit.contracts.outcomes import Outcome
from sltoolkit.errors import ProtocolError, SpecError
from sltoolkit.networks.critics import (
    as_real,
    binary_loss,
    gradient_penalty,
    residual_critic,
    wasserstein_loss,
)
from sltoolkit.parties.honest import HonestMiddle
from sltoolkit.parties.stages import Middle, Server
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class HijackSetup:
    """What a hijacker has when the training begins; the architecture serves its rehearsal alone."""

    aux: Aux
    task: Task
    client_arch: Architecture | None
    mechanism: Callable[[Stream], Defense] | None


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class HijackView:
    """What it has at the end."""

    smashed: Tensor


@dataclass(frozen=True, kw_only=True)
class Hijacking(ActiveAttack[HijackSetup]):
    """A malicious server that teaches clients to encode as its pilot does.

    The defaults suit clients that follow Adam's 1e-3 for hundreds of batches.

    Attributes:
        loss: the game between critic and client: `wasserstein` with gradient penalty, or `bce`.
        lr: of the pilot and of who reads its codes.
        critic_lr: of the critic.
        critic_steps: of the critic per batch; the paper has one.
        penalty: weight of the gradient penalty; the paper's is 500.
        penalty_over: its norm is per `sample`, or per sample and `channel` as in the public code.
        scale: factor of the gradient that the client gets. A client with Adam doesn't notice it,
            unless it follows a loss of its own besides.
        width: channels of the widest layers; the paper's is 256.
        blocks: residual blocks of the critic.
        shrink: whether the critic strides down to small maps first; the public code doesn't.
        signed: whether codes can be negative; None listens whether the first smashed data are.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    setup: ClassVar[type] = HijackSetup
    view: ClassVar[type] = HijackView
    citation: ClassVar[str] = (
        "Pasquini, Ateniese, Bernaschi 2021, Unleashing the tiger: Inference attacks on split "
        "learning (CCS; arXiv:2012.02670)"
    )

    loss: Literal["wasserstein", "bce"] = "wasserstein"
    lr: float | None = 1e-3
    critic_lr: float | None = 1e-3
    critic_steps: int = 3
    penalty: float = 10.0
    penalty_over: Literal["sample", "channel"] = "sample"
    scale: float = 1.0
    width: int = 256
    blocks: int = 6
    shrink: bool = True
    signed: bool | None = None

    @classmethod
    def paper(cls) -> Self:
        """The published rates, for clients that follow 1e-5 for 10,000 batches."""
        return cls(lr=1e-5, critic_lr=1e-4, critic_steps=1, penalty=500.0)

    def seize(self, honest: Any, setup: HijackSetup, *, rng: Stream) -> tuple[Any, ListenerState]:
        """Take the server's seat: behind the cut, or between a client's head and tail."""
        hijacker = Hijacker(self, setup, rng)
        if isinstance(honest, HonestMiddle):
            return HijackingMiddle(hijacker, honest), HijackerState(hijacker)
        return HijackingServer(hijacker), HijackerState(hijacker)

    @abstractmethod
    def pilot(self, task: Task, signed: bool) -> nn.Module:
        """From inputs (B, ...) to codes of the smashed data's shape."""

    @abstractmethod
    def reader(self, task: Task) -> nn.Module:
        """What reads codes."""

    @abstractmethod
    def read_loss(self, read: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """What reader and pilot minimize on own samples; `read` is of the codes of `x`."""

    @abstractmethod
    def outcome(self, reader: nn.Module, z: Tensor, **told: Any) -> Outcome:
        """What is read from the targets' smashed data (N, ...); `told` goes into the outcome."""

    def critic_loss(self, codes: Tensor, smashed: Tensor) -> Tensor:
        """What the critic minimizes, besides the penalty, from its scores (B, 1) of both."""
        if self.loss == "bce":
            return binary_loss(codes, smashed) / 2
        return wasserstein_loss(codes, smashed)

    def fool_loss(self, smashed: Tensor) -> Tensor:
        """What the client is made to minimize, from the critic's scores (B, 1)."""
        return as_real(smashed) if self.loss == "bce" else smashed.mean()


@final
class Trio:
    """Pilot, reader and critic, and their optimizers.

    Args:
        attack: hyper-parameters, none of them open.
        task: shapes.
        like: smashed data (B, ...), whose device and type they take.
        defense: the attacker's own copy, through which the pilot sends, too.
    """

    def __init__(self, attack: Hijacking, task: Task, like: Tensor, defense: OwnDefense) -> None:
        signed = bool((like < 0).any()) if attack.signed is None else attack.signed
        judge = residual_critic(
            task.smashed_shape, width=attack.width, blocks=attack.blocks, shrink=attack.shrink
        )
        self.attack, self._defense = attack, defense
        lr, critic_lr = settled(attack.lr, "lr"), settled(attack.critic_lr, "critic_lr")
        self.pilot = Learner(attack.pilot(task, signed), like, lr)
        self.reader = Learner(attack.reader(task), like, lr)
        self.critic = Learner(judge, like, critic_lr)
        self.losses = Losses()

    def step(self, smashed: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """One step of all three, each from where they stand together.

        Args:
            smashed: the client's, (B, ...).
            x: as many own samples, (B, ...).
            y: their labels, (B,).

        Returns:
            The gradient at `smashed` of fooling the critic, (B, ...), times `scale`.
        """
        attack = self.attack
        codes = self._defense(self.pilot(x), x)
        read = attack.read_loss(self.reader(codes), x, y)
        codes, heard = codes.detach(), smashed.detach().requires_grad_()
        for _ in range(attack.critic_steps - 1):
            learn((self._critic_loss(codes, heard, self.critic(heard)), [self.critic]))
        theirs = self.critic(heard)
        fool = attack.fool_loss(theirs)
        (gradient,) = torch.autograd.grad(fool, heard, retain_graph=True)
        judge = self._critic_loss(codes, heard, theirs)
        learn((read, [self.pilot, self.reader]), (judge, [self.critic]))
        self.losses.note(read_loss=read, critic_loss=judge, fool_loss=fool)
        return attack.scale * gradient

    def _critic_loss(self, codes: Tensor, heard: Tensor, theirs: Tensor) -> Tensor:
        """The critic's loss; `theirs` are its scores of what was heard."""
        attack = self.attack
        judge = attack.critic_loss(self.critic(codes), theirs)
        if attack.loss == "bce":
            return judge
        penalty = gradient_penalty(self.critic, heard, codes, over=attack.penalty_over)
        return judge + attack.penalty * penalty


@final
class Hijacker:
    """Who sits in the seat: its networks are made when the first smashed data arrive.

    Attributes:
        given: hyper-parameters, perhaps with some left open.
        trio: its networks, or None before that.
    """

    def __init__(self, given: Hijacking, setup: HijackSetup, rng: Stream) -> None:
        self.given, self._setup, self._rng = given, setup, rng
        self.trio: Trio | None = None

    def trio_for(self, smashed: Tensor) -> Trio:
        """Its networks, made for such smashed data if there are none yet."""
        if self.trio is None:
            tuned = self.given.tune(self._setup, smashed, rng=self._rng.child("rehearsal"))
            own = OwnDefense(self._setup.mechanism, self._rng.child("defense"))
            with self._rng.torch_scope():
                self.trio = Trio(tuned, self._setup.task, smashed, own)
        return self.trio

    def answer(self, smashed: Tensor) -> Tensor:
        """Learn from a batch's smashed data (B, ...); the gradient to send for them, (B, ...).

        Nothing is learned from an empty batch, or one without numbers (an absent party's).
        """
        if len(smashed) == 0 or smashed.is_meta:
            return torch.zeros_like(smashed)
        trio, aux = self.trio_for(smashed), self._setup.aux
        draw = torch.randint(len(aux.x), (len(smashed),), generator=self._rng.torch())
        rows = draw.to(aux.x.device)
        with self._rng.torch_scope():
            return trio.step(smashed, aux.x[rows], aux.y[rows])


@final
class HijackingServer(Server):
    """Behind the cut: ignores labels, and sends a gradient of its own."""

    def __init__(self, hijacker: Hijacker) -> None:
        self.hijacker = hijacker

    def learn(self, learning: bool) -> None:
        """It goes on whatever the honest parties do."""

    def step(self, smashed: Tensor, labels: Tensor) -> Tensor:
        """The gradient that draws the client to the pilot's codes, (B, ...)."""
        return self.hijacker.answer(smashed)


@final
class HijackingMiddle(Middle):
    """Between head and tail: sends on what an untrained server would, and ignores what returns."""

    def __init__(self, hijacker: Hijacker, honest: HonestMiddle) -> None:
        self.hijacker, self._honest = hijacker, honest
        self._received: Tensor | None = None

    def learn(self, learning: bool) -> None:
        """It goes on whatever the honest parties do."""

    def forward(self, received: Tensor) -> Tensor:
        """Features of the shape that the tail expects, (B, ...)."""
        self._received = received.detach().clone()
        return self._honest.forward(received)

    def backward(self, grad: Tensor) -> Tensor:
        """The gradient that draws the head to the pilot's codes, (B, ...)."""
        if self._received is None:
            raise ProtocolError("a server between head and tail got a gradient before any features")
        return self.hijacker.answer(self._received)


@final
class HijackerState(ListenerState):
    """Reads the targets' smashed data when the run is over; what it heard, its seat learned."""

    def __init__(self, hijacker: Hijacker) -> None:
        self._hijacker = hijacker

    def hear(self, heard: BatchView) -> None:
        """Nothing: the seat learned from it already."""

    def finish(self, view: HijackView) -> Outcome:
        """What the reader makes of the targets' mean release.

        Raises:
            SpecError: if nothing was heard.
        """
        given, trio = self._hijacker.given, self._hijacker.trio
        if trio is None:
            raise SpecError(
                f"{type(given).__name__} heard no batch to learn from: train the victim, or "
                "listen earlier"
            )
        return given.outcome(
            trio.reader.network, view.smashed.mean(0), tuned=chosen(given, trio.attack),
            diagnostics=trio.losses.diagnostics(), curve=trio.losses.curve("fool_loss"),
        )  # fmt: skip
