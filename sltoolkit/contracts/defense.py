"""The contract of defenses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Self, final

import torch
from torch import Tensor, nn

from sltoolkit.parameters.checking import check_parameters
from sltoolkit.parties.sampling import Sampler
from sltoolkit.privacy.guarantee import Guarantee
from sltoolkit.streams import Stream
from sltoolkit.wire.turn import Phase, Turn


@final
@dataclass(frozen=True, kw_only=True)
class Task:
    """What everybody knows: the shapes of inputs and smashed data, and the number of classes.

    Attributes:
        input_shape: the shape of one input, (C, H, W), (C, L) or (d,).
        smashed_shape: the shape of one sample's smashed data.
        classes: the number of classes.
    """

    input_shape: tuple[int, ...]
    smashed_shape: tuple[int, ...]
    classes: int

    @property
    def bounded(self) -> bool:
        """Whether inputs lie in [0, 1]: images and signals do, feature vectors have no bounds."""
        return len(self.input_shape) > 1


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class PartySetup:
    """A party before its run begins, for a defense to wrap.

    Attributes:
        side: `client` for the party that computes up to the cut; `labels` for another party
            that holds labels or sends gradients.
        module: its network.
        optimizer: its optimizer; None if the network is not trained.
        sampler: how it draws batches.
        task: shapes and classes.
        samples: how many samples it holds.
        rng: the defense's own stream at this party.
    """

    side: Literal["client", "labels"]
    module: nn.Module
    optimizer: torch.optim.Optimizer | None
    sampler: Sampler
    task: Task
    samples: int
    rng: Stream


class Defense:
    """A defense changes what a party says. By default every method (a seam) changes nothing.

    The fields of the dataclass are its hyper-parameters; `strength` names the parameter that sweeps
    turn. Every party of a run gets its own deep copy, so two parties share no state.
    """

    citation: ClassVar[str] = ""
    strength: ClassVar[str] = ""
    learns: ClassVar[bool] = False
    """Whether it acts through training, so that a network trained elsewhere can't use it."""
    per_batch: ClassVar[bool] = False
    """Whether the examples of a batch share what it draws when deployed (for example, one mask)."""
    post_processes: ClassVar[bool] = False
    """Whether `smash` needs nothing but `z` and fresh draws: no inputs, no labels, nothing learned.

    Behind a link with a guarantee, a chain hands such a defense no inputs, labels or ids.
    """
    phases: ClassVar[tuple[Phase, ...]] = (Phase("train"),)

    def __post_init__(self) -> None:
        """Refuse senseless parameters; a subclass with its own check must call this one, too.

        Raises:
            SpecError: saying what was expected and what was found.
        """
        check_parameters(self)

    @classmethod
    def smoke(cls) -> Self:
        """The smallest setting that executes every step."""
        return cls()

    def begin(self, setup: PartySetup) -> PartySetup:
        """Wrap the party's module, optimizer or sampler; build the defense's own networks."""
        return setup

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """Client: what to send in place of `z` (B, ...), keeping the graph."""
        return z

    def labels(self, y: Tensor, turn: Turn) -> Tensor:
        """Label holder: what to use in place of `y` (B,): integers, or (B, C) float weights."""
        return y

    def gradient(self, g: Tensor, turn: Turn) -> Tensor:
        """Sender of the gradient at the cut: what to send in place of `g` (B, ...)."""
        return g

    def receive(self, g: Tensor, turn: Turn) -> Tensor | None:
        """Client: the gradient to learn from; None refuses, and the batch teaches nothing."""
        return g

    def client_loss(self, z: Tensor, turn: Turn) -> Tensor | None:
        """Client: a further loss on what was sent, `z` as returned by `smash`."""
        return None

    def step(self, turn: Turn) -> None:
        """Step the defense's own optimizers; the batch's gradients have been computed."""

    def guarantee(self, *, releases: int, delta: float) -> Guarantee | None:
        """What is formally guaranteed after `releases` releases of one sample; None if nothing."""
        return None

    def up_to_guarantee(self, z: Tensor, turn: Turn) -> Tensor:
        """What `smash` makes of `z` (B, ...) up to the step that the guarantee is about.

        The harness measures on it that the examples of a batch don't mix: row i must depend on
        example i alone. A defense without steps that stand apart needs no method of its own.
        """
        return self.smash(z, turn)

    def learned(self) -> Mapping[str, nn.Module]:
        """The defense's own networks by name; they are stored and sent with the client's."""
        return {}

    def evidence(self, clean: Tensor, sent: Tensor) -> Mapping[str, float]:
        """Named measurements of what the deployed defense does, as a self-check.

        Args:
            clean: smashed data before `smash`, (R, B, ...).
            sent: what crossed the wire for the same inputs, in the same shape.
        """
        return {"changed_rms": float((sent - clean).pow(2).mean().sqrt())}


@final
@dataclass(kw_only=True, eq=False)
class NoDefense(Defense):
    """The undefended baseline; it is bit-identical to a run without any defense."""

    citation: ClassVar[str] = "none: the undefended baseline"
