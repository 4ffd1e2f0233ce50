"""A tiny split-learning run, small enough to train many times per test."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from sltoolkit import models
from sltoolkit.api import train
from sltoolkit.contracts.attack import Listener
from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.data.samples import Samples, Split
from sltoolkit.data.targets import Targets
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Protocol, Vanilla
from sltoolkit.referee.listening import open_listener
from sltoolkit.streams import Stream
from sltoolkit.training.phases import run_phases
from sltoolkit.training.run import Run, seat_parties
from sltoolkit.training.victim import Victim
from sltoolkit.wire.message import Message
from sltoolkit.wire.turn import Turn
from sltoolkit.wire.wire import Wire

CLASSES = 3
SHAPE = (1, 8, 8)
CUT = "drop"
GRANTS = frozenset({"aux", "release", "prior"})
TARGETS = Targets(count=6, labels=12, hints=2)
QUICK = Training(epochs=2, batch_size=16, lr=0.05, optimizer="sgd", momentum=0.9)


def samples(n: int, *, first: int, rng: Stream) -> Samples:
    """Smooth 8x8 images: a bright bar whose place is the class, on a random slope."""
    g = rng.torch()
    y = torch.arange(n) % CLASSES
    rows = torch.arange(8.0).view(1, 8, 1)
    columns = torch.arange(8.0).view(1, 1, 8)
    bar = 0.4 * (rows // 3 == y.view(n, 1, 1)).float()
    slope = torch.rand(n, 2, 1, 1, generator=g) * 0.6 / 14
    x = 0.1 + bar + slope[:, 0] * rows + slope[:, 1] * columns
    x = (x + 0.02 * torch.randn(n, 8, 8, generator=g)).clamp(0, 1).unsqueeze(1)
    ids = torch.arange(first, first + n)
    return Samples(x=x, y=y, ids=ids, groups=ids.clone())


def split(train: int = 48, holdout: int = 18, aux: int = 30, *, seed: int = 0) -> Split:
    """Three disjoint parts of toy images."""
    rng = Stream(seed).child("toy")
    return Split(
        name="toy",
        private_train=samples(train, first=0, rng=rng.child("train")),
        private_holdout=samples(holdout, first=1000, rng=rng.child("holdout")),
        aux=samples(aux, first=2000, rng=rng.child("aux")),
        classes=("top", "middle", "bottom"),
    )


def network(norm: Literal["batch", "group"] = "group", *, dropout: float = 0.2) -> nn.Sequential:
    """Convolution, normalization and dropout on either side of the cut; cut it at `CUT`."""

    def normal(channels: int) -> nn.Module:
        return nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(2, channels)

    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(1, 4, 3, padding=1),
        norm=normal(4),
        relu=nn.ReLU(),
        drop=nn.Dropout(dropout),
        conv2=nn.Conv2d(4, 6, 3, stride=2),
        norm2=normal(6),
        relu2=nn.ReLU(inplace=True),
        drop2=nn.Dropout(dropout),
        flatten=nn.Flatten(),
        head=nn.Linear(54, CLASSES),
    )
    return nn.Sequential(layers)


def victim(
    defense: Defense | None = None, *, norm: Literal["batch", "group"] = "group", **options: Any
) -> Victim:
    """A trained toy victim."""
    settings: dict[str, Any] = {"cut": CUT, "training": QUICK, "targets": TARGETS, **options}
    return train(lambda: network(norm), split(), defense=defense, **settings)


@final
class AllEars:
    """Keeps everything that crosses the wire."""

    def __init__(self) -> None:
        self.heard: list[Message] = []

    def wants(self, message: Message) -> bool:
        """Everything."""
        return True

    def note(self, message: Message) -> None:
        """Keep it."""
        self.heard.append(message)

    def close(self, turn: Turn) -> None:
        """Nothing to do."""


@final
@dataclass(kw_only=True, eq=False)
class Witnessed:
    """A finished run, with everything that can be seen of it from outside.

    Attributes:
        run: the run; its live parties and their gradients.
        heard: all messages, in order.
        losses: per epoch.
    """

    run: Run
    heard: list[Message]
    losses: tuple[float, ...] = field(default=())

    @property
    def client(self) -> nn.Module:
        """The (first) client's live network."""
        return self.run.cast.clients[0].party.module

    def payloads(self, kind: str, phase: str = "train") -> list[Tensor]:
        """What was sent of a kind in a phase."""
        return [m.payload for m in self.heard if m.kind == kind and m.turn.phase == phase]


def seated(
    defense: Defense | None = None,
    *,
    norm: Literal["batch", "group"] = "group",
    dropout: float = 0.2,
    protocol: Protocol | None = None,
    training: Training | None = QUICK,
    data: Split | None = None,
    seed: int = 0,
    double: bool = False,
) -> Run:
    """A run of the toy before it begins."""
    protocol, data = protocol or Vanilla(), data or split()
    if double:
        exact = replace(data.private_train, x=data.private_train.x.double())
        data = replace(data, private_train=exact)
    rng = Stream(seed).child("victim")
    with rng.child("init").scope():
        whole = network(norm, dropout=dropout)
    whole = whole.double() if double else whole
    parts = models.cut(whole, CUT if protocol.parts == 2 else [CUT, "flatten"])
    return seat_parties(
        parts, data, protocol=protocol, defense=defense or NoDefense(),
        training=training, rng=rng,
    )  # fmt: skip


def witness(
    run: Run,
    *,
    epochs: int = 2,
    listeners: Sequence[Listener[Any]] = (),
    grants: frozenset[str] = GRANTS,
    prepare: Callable[[Run], None] | None = None,
) -> Witnessed:
    """Run it, with listeners attached."""
    ears = AllEars()
    taps = [open_listener(x, run, seed=5, grants=grants)[1] for x in listeners]
    run.cast.wire = Wire([ears, *taps])
    if prepare is not None:
        prepare(run)
    return Witnessed(run=run, heard=ears.heard, losses=run_phases(run, epochs))


def module_state(module: nn.Module) -> dict[str, Any]:
    """Everything a network can carry: weights, buffers, gradients, modes."""
    state: dict[str, Any] = {n: t.detach().clone() for n, t in module.state_dict().items()}
    for name, parameter in module.named_parameters():
        grad = parameter.grad
        state[f"{name}.grad"] = None if grad is None else grad.detach().clone()
        state[f"{name}.requires_grad"] = parameter.requires_grad
    for name, layer in module.named_modules():
        state[f"{name}.training"] = layer.training
    return state


def next_draws(stream: Stream) -> dict[str, Tensor]:
    """What a stream's generators would give next, in its scope and by name; draws it."""
    with stream.scope():
        scoped = torch.rand(2)
    return {"scope": scoped, "named": torch.rand(2, generator=stream.torch())}


def run_state(seen: Witnessed) -> dict[str, Any]:
    """What must not depend on who listens: networks, gradients, randomness, losses, messages."""
    cast = seen.run.cast
    state: dict[str, Any] = {"losses": seen.losses, "global": torch.get_rng_state()}
    streams = {"server": cast.server.rng, "root": seen.run.rng}
    for k, member in enumerate(cast.clients):
        streams |= {f"order{k}": member.order, f"defense{k}": member.rng}
    for i, (seat, party, _) in enumerate(cast.networks()):
        name = f"{seat}#{i}"
        state |= {f"{name}.{n}": v for n, v in module_state(party.module).items()}
        streams[f"{name}.net"] = party.rng
    for name, stream in streams.items():
        state |= {f"stream.{name}.{n}": v for n, v in next_draws(stream).items()}
    return state | {f"message{i}.{m.kind}": m.payload for i, m in enumerate(seen.heard)}


def victim_state(victim: Victim) -> dict[str, Any]:
    """Everything of a trained victim that an attack must leave as it is."""
    state: dict[str, Any] = {"utility": victim.utility, "losses": victim.losses}
    modules = {"server": victim.server}
    for k, member in enumerate(victim.deployed):
        modules[f"client{k}"] = member.client
        modules |= {f"learned{k}.{n}": m for n, m in member.defense.learned().items()}
    for name, module in modules.items():
        state |= {f"{name}.{n}": v for n, v in module_state(module).items()}
    for part in ("private_train", "private_holdout", "aux"):
        held: Samples = getattr(victim.data, part)
        state |= {f"{part}.x": held.x.clone(), f"{part}.y": held.y.clone()}
    for link in victim.transcript.links():
        state[f"heard {link}"] = victim.transcript.record(link).rows
    return state | {"global": torch.get_rng_state()}


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """The names under which two states are not bit-identical."""
    return sorted(n for n in a.keys() | b.keys() if not _same(a.get(n), b.get(n)))


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and _bytes(a) == _bytes(b)
    return type(a) is type(b) and bool(a == b)


def _bytes(t: Tensor) -> bytes:
    # bit for bit: -0.0 differs from 0.0, and a NaN equals itself
    return t.detach().cpu().contiguous().numpy().tobytes()
