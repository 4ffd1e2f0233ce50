"""Weight updates of targets, as an attacker hears them.

The referee runs a client of the protocol once more: from the deployed weights, with a batch of
targets in place of its samples, over a wire with the victim's codec, and with the victim's defense.
The attacker hears what this client sends about its weights. The code that trains victims computes
all of it.
"""

import copy
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, final

import torch
from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense
from sltoolkit.contracts.knowledge import Updates
from sltoolkit.data.samples import Samples, Split
from sltoolkit.data.targets import Targets
from sltoolkit.errors import SpecError, ThreatModelError
from sltoolkit.parties.sampling import Shuffled
from sltoolkit.parties.settings import Training
from sltoolkit.streams import Stream
from sltoolkit.training.cast import Clock
from sltoolkit.training.casting import Casting
from sltoolkit.training.protocol import Protocol
from sltoolkit.training.victim import Victim
from sltoolkit.wire.codec import Reducer
from sltoolkit.wire.message import Message
from sltoolkit.wire.turn import Turn
from sltoolkit.wire.wire import Wire


def released_updates(victim: Victim, samples: Samples, targets: Targets) -> Updates:
    """The updates of these samples in groups of `targets.batch`; every attack gets the same.

    Raises:
        ThreatModelError: if no seat hears a client's updates in the victim's protocol, the victim
            was trained elsewhere, or all of the client's weights are frozen.
        SpecError: if the samples don't fill the last group, or the learning rate is 0.
    """
    protocol, member = victim.protocol, victim.client
    if not any("updates" in seat.grants for seat in protocol.seats.values()):
        raise ThreatModelError(
            f"nobody hears a single client's updates in {victim.recipe.protocol}: use fedavg, "
            "large_batch_sgd, splitfed_v1 or splitfed_v2"
        )
    training = _training(victim)
    deployed = (member.client, victim.server if member.tail is None else member.tail)
    parts = tuple(_learning(part, f"{i}.", member.frozen) for i, part in enumerate(deployed))
    own = parts[: 1 if member.tail is None else 2]
    if not any(weight.requires_grad for part in own for weight in part.parameters()):
        raise ThreatModelError(
            "all weights of this victim's clients are frozen, so no update says anything: attack "
            "what they release, or let some weights learn (requires_grad_(True))"
        )
    program = _Program(
        protocol=protocol.alone(),
        parts=parts,
        defense=copy.deepcopy(victim.configured_defense),
        learned={
            name: copy.deepcopy(module.state_dict())  # the program is handed to attackers
            for name, module in member.defense.learned().items()
        },
        training=training, reducer=member.reducer, classes=victim.data.classes,
        batch=targets.batch, releases=targets.releases,
    )  # fmt: skip
    heard, first = program.run(samples.x, samples.y, victim.rng.fresh("updates"))
    whole = member.tail is not None
    network = nn.Sequential(*copy.deepcopy(program.parts[: 2 if whole else 1])).train()
    network.load_state_dict(first.given, strict=False)  # a lossy codec may have changed them
    return Updates(
        network=network, heard=heard, kind=first.kind, whole=whole, batch=targets.batch,
        steps=getattr(protocol, "local_epochs", 1), training=training,
        client=program if whole else None,
    )  # fmt: skip


def _learning(part: nn.Module, prefix: str, frozen: Collection[str]) -> nn.Module:
    """A copy whose weights learn, but for those that were frozen in training, too."""
    learning = copy.deepcopy(part)
    for name, weight in learning.named_parameters():
        weight.requires_grad_(prefix + name not in frozen)
    return learning


def _training(victim: Victim) -> Training:
    training = victim.recipe.training
    if training is None:
        raise ThreatModelError(
            "how this victim's clients step is unknown, since it was trained elsewhere: give its "
            "network to train(..., training=Training(epochs=0, ...)) to attack its updates"
        )
    if training.lr == 0:
        raise SpecError("training.lr is 0: no client moves, and its updates say nothing")
    return training


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Program:
    """A client's program: it learns from a batch and sends an update.

    Attributes:
        protocol: the protocol, with one client.
        parts: the cut network as deployed.
        defense: the defense as configured.
        learned: the states of the defense's own networks.
        training: how parties learn.
        reducer: the lossy codec on the wire, if any.
        classes: class names.
        batch: samples per group.
        releases: how often each group is heard.
    """

    protocol: Protocol
    parts: tuple[nn.Module, ...]
    defense: Defense
    learned: Mapping[str, Mapping[str, Tensor]]
    training: Training
    reducer: Reducer | None
    classes: tuple[str, ...]
    batch: int
    releases: int

    def __call__(self, x: Tensor, y: Tensor, rng: Stream) -> Mapping[str, Tensor]:
        """The updates that are heard for x (N, ...) and y (N,): parameter -> (R, G, ...)."""
        return self.run(x, y, rng)[0]

    def run(self, x: Tensor, y: Tensor, rng: Stream) -> tuple[dict[str, Tensor], "_Ear"]:
        """The same as a call, and the ear that heard the first group.

        Raises:
            SpecError: if the samples don't fill the last group.
        """
        if len(x) % self.batch:
            raise SpecError(
                f"{len(x)} samples don't make groups of {self.batch}: choose another targets.batch"
            )
        heard = [
            self._heard(*group, rng.child(f"{release}.{number}"))
            for release in range(self.releases)
            for number, group in enumerate(self._groups(x, y))
        ]
        names = [f"{i}.{n}" for i, p in enumerate(self.parts) for n, _ in p.named_parameters()]
        found = heard[0].payloads(names)
        rows = [ear.payloads(names) for ear in heard]
        stacked = {name: torch.stack([row[name] for row in rows]) for name in found}
        return {n: t.unflatten(0, (self.releases, -1)) for n, t in stacked.items()}, heard[0]

    def _groups(self, x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(x.split(self.batch), y.split(self.batch), strict=True)

    def _heard(self, x: Tensor, y: Tensor, rng: Stream) -> "_Ear":
        ids = torch.arange(len(x), device=x.device)
        group = Samples(x=x, y=y, ids=ids, groups=ids)
        nothing = group[:0]
        data = Split(
            name="group", private_train=group, private_holdout=nothing, aux=nothing,
            classes=self.classes,
        )  # fmt: skip
        codec = None if self.reducer is None else self.reducer.begin()
        ear = _Ear(parts=len(self.parts))
        cast = self.protocol.cast(
            Casting(
                parts=self.parts, data=data, shards=[group], defense=self.defense,
                training=replace(self.training, batch_size=len(x)), rng=rng,
                wire=Wire([ear], codec=codec), alike=True,
            )
        )  # fmt: skip
        (me,) = cast.clients
        me.sampler = Shuffled(batch_size=len(x))  # the group is the batch, however it is drawn
        for name, module in me.defense.learned().items():
            module.load_state_dict(self.learned[name])
        cast.learn(True)
        try:
            self.protocol.epoch(cast, Clock(), "train")
        except ValueError as e:  # torch's, of a BatchNorm that gets one value per channel
            raise SpecError(
                f"no client can learn from a batch of {len(x)} ({e}): raise targets.batch"
            ) from e
        return ear


@final
class _Ear:
    """Keeps what a client sends about the weights of its first `parts` networks.

    Attributes:
        kind: whether the client sends weights or gradients.
        given: the weights that the client received before, by name.
    """

    def __init__(self, parts: int) -> None:
        self._prefixes = tuple(f"{i}." for i in range(parts))
        self._heard: dict[str, Tensor] = {}
        self.kind: Literal["weights", "weight_grad"] = "weights"
        self.given: dict[str, Tensor] = {}

    def wants(self, message: Message) -> bool:
        """Whether these are weights from or to a client, or its weight gradients."""
        if message.kind == "weights":
            return "client" in (message.src.name, message.dst.name)
        return message.src.name == "client" and message.kind == "weight_grad"

    def note(self, message: Message) -> None:
        """Keep the message; what the client receives and what it sends are kept apart."""
        if message.dst.name == "client":
            self.given[_plain(message.name)] = message.payload
            return
        self.kind = "weight_grad" if message.kind == "weight_grad" else "weights"
        self._heard[_plain(message.name)] = message.payload

    def close(self, turn: Turn) -> None:
        """Nothing to do."""

    def payloads(self, names: list[str]) -> dict[str, Tensor]:
        """What was heard, by the network's own names; gradients are sent under numbers instead."""
        if self.kind == "weights":
            return {name: self._heard[name] for name in names if name in self._heard}
        numbered = {
            f"{prefix}{j}": name
            for prefix in self._prefixes
            for j, name in enumerate(n for n in names if n.startswith(prefix))
        }
        return {numbered[number]: t for number, t in self._heard.items()}


def _plain(name: str) -> str:
    """A parameter's name without `_module`, which opacus inserts where it wraps a module."""
    return name.replace("._module.", ".")
