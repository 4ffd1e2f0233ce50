"""Training a victim: cut the model, seat the parties, run the protocol, deploy what came of it."""

import copy
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, final

import torch
from torch import Tensor, nn

from sltoolkit.chain import Guarded
from sltoolkit.contracts import Defense, NoDefense, PartySetup, Task
from sltoolkit.data.samples import Samples, Split
from sltoolkit.errors import ProtocolError, SpecError, lookup
from sltoolkit.parties import HonestClient, HonestMiddle, HonestServer, Optimizer
from sltoolkit.protocols.base import Cast, Clock, Member, Protocol
from sltoolkit.sampling import Shuffled
from sltoolkit.streams import Stream
from sltoolkit.victim import Deployed
from sltoolkit.wire import Ear, Seat, Wire


@final
@dataclass(frozen=True, kw_only=True)
class Training:
    """How a victim is trained.

    Attributes:
        epochs: passes over the private training samples.
        batch_size: samples per batch.
        lr: learning rate, of every party.
        optimizer: `adam` or `sgd`.
        momentum: of SGD.
        weight_decay: L2 penalty.
        channels_last: memory format of convolutions (same results up to rounding, often faster).
    """

    epochs: int = 5
    batch_size: int = 64
    lr: float = 1e-3
    optimizer: str = "adam"
    momentum: float = 0.0
    weight_decay: float = 0.0
    channels_last: bool = False

    def __post_init__(self) -> None:
        lookup(OPTIMIZERS, self.optimizer, "training.optimizer")
        for name, least in (("epochs", 0), ("batch_size", 1), ("lr", 0), ("weight_decay", 0)):
            if not getattr(self, name) >= least:  # so that NaN is refused
                raise SpecError(
                    f"training.{name} must be at least {least}, got {getattr(self, name)}"
                )

    def optimizer_for(self, module: nn.Module) -> Optimizer | None:
        """A fresh optimiser; None for a network without parameters."""
        parameters = list(module.parameters())
        make = lookup(OPTIMIZERS, self.optimizer, "optimizer")
        return make(parameters, self) if parameters else None


# fused: the same steps up to rounding, for a small network at a fifth of the default's time
OPTIMIZERS: dict[str, Callable[[list[nn.Parameter], Training], Optimizer]] = {
    "adam": lambda p, t: torch.optim.Adam(p, lr=t.lr, weight_decay=t.weight_decay, fused=True),
    "sgd": lambda p, t: torch.optim.SGD(
        p, lr=t.lr, momentum=t.momentum, weight_decay=t.weight_decay, fused=True
    ),
}

Progress = Callable[[int, int], None]
"""Called after each epoch with (epochs done, epochs in all)."""


@final
@dataclass(kw_only=True, eq=False)
class Run:
    """A run before and while it happens.

    Attributes:
        protocol: its script.
        parts: the cut network as it is initialised: (client, server) or (head, middle, tail).
        cast: the seated parties.
        task: shapes and classes.
        defense: the defence as it was given, untouched.
        data: the private and aux samples.
        rng: the victim's root stream.
    """

    protocol: Protocol
    parts: tuple[nn.Module, ...]
    cast: Cast
    task: Task
    defense: Defense
    data: Split
    rng: Stream


def task_of(parts: Sequence[nn.Module], data: Split) -> Task:
    """Shapes found by a dry pass in evaluation mode over one sample (on copies)."""
    head = copy.deepcopy(parts[0]).eval()
    with torch.no_grad(), Stream(0).scope():
        try:
            z = head(data.private_train.x[:1])
        except RuntimeError as e:
            shape = "x".join(map(str, data.shape))
            raise SpecError(f"the client network can't take inputs of shape {shape}: {e}") from e
    return Task(input_shape=data.shape, smashed_shape=tuple(z.shape[1:]), classes=len(data.classes))


def seat_parties(
    parts: tuple[nn.Module, ...],
    data: Split,
    *,
    protocol: Protocol,
    defense: Defense,
    training: Training | None,
    rng: Stream,
    ears: Sequence[Ear] = (),
) -> Run:
    """Seat honest parties with copies of the parts; without `training` nobody ever learns.

    Raises:
        ProtocolError: if the number of parts or clients doesn't fit.
    """
    if len(parts) != protocol.parts:
        raise ProtocolError(
            f"{type(protocol).__name__} needs the network in {protocol.parts} parts, "
            f"got {len(parts)}: give {protocol.parts - 1} cut(s)"
        )
    task = task_of(parts, data)
    shards = deal(data.private_train, protocol.clients)
    members = [
        _member(k, parts, shards[k], protocol, defense, training, task, rng.child(f"client{k}"))
        for k in range(protocol.clients)
    ]
    middle = copy.deepcopy(parts[1])
    server_rng = rng.child("server")
    own = guard(defense, server_rng.child("defense"))
    setup = own.begin(
        PartySetup(
            side="labels", module=middle,
            optimizer=training.optimizer_for(middle) if training else None,
            sampler=Shuffled(batch_size=training.batch_size if training else 64), task=task,
            samples=len(data.private_train), rng=server_rng.child("defense"),
        )
    )  # fmt: skip
    seat = HonestServer if protocol.parts == 2 else HonestMiddle
    server = seat(setup.module, setup.optimizer, server_rng.child("network"))
    cast = Cast(
        clients=members, server=server, server_defense=own, server_rng=server_rng.child("defense"),
        wire=Wire(ears),
    )  # fmt: skip
    return Run(
        protocol=protocol, parts=parts, cast=cast, task=task, defense=defense, data=data, rng=rng
    )


def deal(samples: Samples, clients: int) -> list[Samples]:
    """Deal samples out in turn, so that sizes differ by one at most.

    Raises:
        ProtocolError: if there are more clients than samples.
    """
    if not 1 <= clients <= len(samples):
        raise ProtocolError(
            f"{clients} clients can't share {len(samples)} training samples: "
            "give between 1 and that many clients"
        )
    return [samples[torch.arange(k, len(samples), clients)] for k in range(clients)]


def guard(defense: Defense, rng: Stream) -> Defense:
    """A party's own copy of the defence, in its own random scope."""
    return defense if isinstance(defense, NoDefense) else Guarded(copy.deepcopy(defense), rng)


def _member(
    k: int, parts: tuple[nn.Module, ...], samples: Samples, protocol: Protocol, defense: Defense,
    training: Training | None, task: Task, rng: Stream,
) -> Member:  # fmt: skip
    head = copy.deepcopy(parts[0])
    tail = copy.deepcopy(parts[2]) if len(parts) == 3 else None
    if k > 0 and not protocol.handover:  # private networks start apart
        with rng.child("init").scope():
            for module in (head, tail):
                if module is not None:
                    reinitialise(module)
    own = guard(defense, rng.child("defense"))
    setup = own.begin(
        PartySetup(
            side="client", module=head,
            optimizer=training.optimizer_for(head) if training else None,
            sampler=Shuffled(batch_size=training.batch_size if training else 64), task=task,
            samples=len(samples), rng=rng.child("defense"),
        )
    )  # fmt: skip
    end = None
    if tail is not None:
        optimizer = training.optimizer_for(tail) if training else None
        end = HonestServer(tail, optimizer, rng.child("tail"))
    return Member(
        seat=Seat("client", k), party=HonestClient(setup.module, setup.optimizer, rng.child("net")),
        tail=end, defense=own, samples=samples, sampler=setup.sampler, order=rng.child("order"),
        rng=rng.child("defense"),
    )  # fmt: skip


def reinitialise(module: nn.Module) -> None:
    """Draw all weights anew, layer by layer, from the scope's generator.

    A weight that its layer can't reset itself (one's own `nn.Parameter`, say) is drawn from a
    normal distribution, so that nothing of what it learned is left.
    """
    for layer in module.modules():
        reset = getattr(layer, "reset_parameters", None)
        if callable(reset):
            reset()
            continue
        for weight in layer.parameters(recurse=False):
            nn.init.normal_(weight, std=weight[0].numel() ** -0.5 if weight.dim() > 1 else 1.0)


def phase_of_epochs(defense: Defense, epochs: int) -> list[Literal["train", "fit"]]:
    """The phase of every epoch of a run, in order, with `epochs` where a phase states none."""
    return [p.name for p in defense.phases for _ in range(epochs if p.epochs is None else p.epochs)]


def run_phases(run: Run, epochs: int, progress: Progress | None = None) -> tuple[float, ...]:
    """Run every phase of the defence; returns the mean loss of each epoch.

    Raises:
        ProtocolError: if the training diverges.
    """
    cast, clock, losses = run.cast, Clock(), []
    plan = phase_of_epochs(run.defense, epochs)
    total = len(plan)
    for name, stretch in itertools.groupby(plan):
        for party in (*cast.clients, cast.server):
            party.learn(name == "train")
        for _ in stretch:
            run.protocol.epoch(cast, clock, name)
            clock.epoch += 1
            batches = _losses(cast)
            losses.append(float(batches.mean()) if len(batches) else 0.0)
            if not bool(batches.isfinite().all()) and name == "train":
                raise ProtocolError(
                    f"the training diverged in epoch {clock.epoch} of {total} (the loss is not a "
                    "finite number): lower the learning rate or the defence's strength"
                )
            if progress is not None:
                progress(clock.epoch, total)
    return tuple(losses)


def _losses(cast: Cast) -> Tensor:
    seats = [cast.server, *(m.tail for m in cast.clients)]
    taken = [s.take_losses().cpu() for s in seats if isinstance(s, HonestServer)]
    return torch.cat([torch.empty(0), *taken])  # a server that was taken over computes no loss


def deploy(run: Run) -> tuple[tuple[Deployed, ...], nn.Module]:
    """Evaluation-mode copies of the trained clients, and of the server.

    With hand-over there is one client network: the last one to have learned.
    """
    members = run.cast.clients[-1:] if run.protocol.handover else run.cast.clients
    deployed = tuple(_deployed(m, run) for m in members)
    server, learned = run.cast.server, run.parts[1]  # a network that was taken over never learns
    if isinstance(server, HonestServer | HonestMiddle):
        learned = server.module
    return deployed, settle(run.parts[1], _plain(learned.state_dict()))


def _deployed(member: Member, run: Run) -> Deployed:
    samples = run.data.private_train if run.protocol.handover else member.samples
    inner = member.defense.inner if isinstance(member.defense, Guarded) else member.defense
    return Deployed(
        client=settle(run.parts[0], _plain(member.party.module.state_dict())),
        tail=settle(run.parts[2], member.tail.module.state_dict()) if member.tail else None,
        defense=inner,
        samples=samples,
    )


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # opacus wraps a module as `_module`; what is deployed is the plain network
    return {name.removeprefix("_module."): value for name, value in state.items()}


def settle(blank: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """A copy of `blank` with these weights, in evaluation mode, without gradients."""
    module = copy.deepcopy(blank)
    module.load_state_dict(dict(state))
    return module.eval().requires_grad_(False)


def with_format(parts: tuple[nn.Module, ...], data: Split, training: Training) -> Split:
    """Put networks and inputs into the memory format that the training asks for."""
    if not training.channels_last or len(data.shape) != 3:
        return data
    for part in parts:
        part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    train = data.private_train
    x = train.x.contiguous(memory_format=torch.channels_last)
    return replace(data, private_train=replace(train, x=x))
