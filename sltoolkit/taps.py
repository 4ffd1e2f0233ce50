"""Attaching listeners to a run: each hears what its seat hears, in a random scope of its own."""

import copy
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from sltoolkit.casting import Run, task_of
from sltoolkit.contracts import ActiveAttack, Listener, Role, RoundView
from sltoolkit.errors import ThreatModelError
from sltoolkit.parties import HonestClient, HonestMiddle, HonestServer
from sltoolkit.referee import check_seat, knowledge_sources, refuse_unsuited
from sltoolkit.streams import Stream
from sltoolkit.threat import needs, view_of
from sltoolkit.training import deploy
from sltoolkit.turns import Turn
from sltoolkit.victim import Tapped
from sltoolkit.wire import Kind, Message, Seat

Direction = Literal["in", "out"]


@final
class TapEar:
    """Collects what a role hears in a batch, and lets its wiretap hear it at the batch's end."""

    def __init__(self, tapped: Tapped, role: Role, network: Callable[[], nn.Module] | None) -> None:
        self._tapped = tapped
        self._role = role
        self._network = network
        self._heard: defaultdict[tuple[Kind, Direction], list[Message]] = defaultdict(list)

    def wants(self, message: Message) -> bool:
        """Everything that touches the seat; an eavesdropper or a coalition hears it all."""
        if message.turn.phase != "train":
            return False
        return self._role not in ("server", "client") or self._role in (
            message.src.name,
            message.dst.name,
        )

    def note(self, message: Message) -> None:
        """Remember until the batch ends."""
        seat = self._role if self._role in ("server", "client") else "server"
        sent = message.src.name == seat
        self._heard[message.kind, "out" if sent else "in"].append(message)

    def close(self, turn: Turn) -> None:
        """Hand the batch's conversation over; other batches may have begun in the meantime."""
        heard: dict[tuple[Kind, Direction], list[Message]] = {}
        for key, messages in self._heard.items():
            its = [m for m in messages if m.turn.step == turn.step or len(m.turn.ids) == 0]
            self._heard[key] = [m for m in messages if m not in its]
            if its:
                heard[key] = its
        if not heard:
            return
        view = RoundView(
            messages={key: _joined(messages) for key, messages in heard.items()},
            ids=turn.ids.clone(), step=turn.step, epoch=turn.epoch,
            network=self._network,
        )  # fmt: skip
        with self._tapped.rng.scope():
            self._tapped.wiretap.hear(view)


def _joined(messages: list[Message]) -> Tensor:
    """The last payload; of parties with different features of its samples, side by side."""
    last = messages[-1]
    if last.kind not in ("smashed", "smashed_grad"):
        return last.payload

    def hub(message: Message) -> tuple[Seat, int]:
        end = message.dst if message.kind == "smashed" else message.src
        return end, message.turn.step

    return torch.cat([m.payload for m in messages if hub(m) == hub(last)], dim=-1)


def open_listener(
    listener: Listener[Any], run: Run, *, seed: int, grants: Collection[str]
) -> tuple[Tapped, TapEar]:
    """Attach a listener to a seated run, before it begins."""
    role, filled, setup, rng = _setup(listener, run, seed, grants)
    with rng.scope():
        wiretap = listener.open(setup, rng=rng)
    tapped = Tapped(attack=listener, role=role, grants=filled, wiretap=wiretap, rng=rng)
    return tapped, TapEar(tapped, role, _network(run, role))


def seize(
    attack: ActiveAttack[Any], run: Run, *, seed: int, grants: Collection[str]
) -> tuple[Tapped, TapEar]:
    """Let an active attack take over its seat in a seated run, before it begins."""
    role, filled, setup, rng = _setup(attack, run, seed, grants)
    member = run.cast.clients[0]
    with rng.scope():
        if role == "client":
            member.party, wiretap = attack.seize(member.party, setup, rng=rng)
        else:
            if len(run.cast.servers) != 1:
                raise ThreatModelError(
                    f"{type(attack).__name__} takes over one server's network, and this protocol "
                    f"has {len(run.cast.servers)}: use one with a single server network"
                )
            host = run.cast.server
            host.party, wiretap = attack.seize(host.party, setup, rng=rng)
    tapped = Tapped(attack=attack, role=role, grants=filled, wiretap=wiretap, rng=rng)
    return tapped, TapEar(tapped, role, None)


def _setup(
    attack: Listener[Any] | ActiveAttack[Any], run: Run, seed: int, grants: Collection[str]
) -> tuple[Role, frozenset[str], Any, Stream]:
    role, filled = check_seat(attack, run.protocol, grants)
    hops = run.protocol.seats[role].hops
    client = deploy(run)[0][0].network(hops)
    task = task_of(client, run.data.private_train, run.data)
    refuse_unsuited(attack, task)
    sources: Mapping[str, Callable[[], Any]] = knowledge_sources(
        run.data, task, client, run.defense, run.rng
    )
    required, usable = needs(attack.setup)
    if later := sorted(required - set(sources)):
        raise ThreatModelError(
            f"{type(attack).__name__} asks for {', '.join(later)} before the training, when it "
            "doesn't exist yet: ask for it in `view`, which is filled at the end"
        )
    available = run.protocol.seats[role].grants | set(grants)
    before = required | (usable & available & set(sources))
    rng = Stream(seed).child("attacker").fresh(type(attack).__name__)
    return role, filled, view_of(attack.setup, before, sources), rng


def _network(run: Run, role: Role) -> Callable[[], nn.Module] | None:
    servers = {"server": run.cast.server.party} if run.cast.servers else {}
    owner: Any = {**servers, "client": run.cast.clients[0].party}.get(role)
    if not isinstance(owner, HonestServer | HonestMiddle | HonestClient):
        return None
    return lambda: copy.deepcopy(owner.module).eval()
