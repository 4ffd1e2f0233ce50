"""Attaching listeners and hijackers to a run; each computes in its own random scope.

If clients keep their own networks, a listener follows the client under attack, which is the first.
"""

import copy
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, cast, final

import torch
from torch import Tensor, nn

from sltoolkit.contracts.attack import ActiveAttack, BatchView, Listener, ListenerState, Role
from sltoolkit.contracts.defense import NoDefense
from sltoolkit.contracts.grants import needs, view_of
from sltoolkit.errors import ThreatModelError
from sltoolkit.parties.honest import Honest, HonestClient
from sltoolkit.parties.stages import Server
from sltoolkit.referee.mount import mount_attack, refuse_unsuited
from sltoolkit.referee.sessions import (
    HijackingSession,
    ListeningSession,
    SeizedMiddle,
    SeizedServer,
)
from sltoolkit.referee.sources import knowledge_sources
from sltoolkit.streams import Stream
from sltoolkit.training.casting import task_of
from sltoolkit.training.member import Host, Member
from sltoolkit.training.phases import deploy
from sltoolkit.training.run import Run
from sltoolkit.training.victim import AttachedListener
from sltoolkit.wire.message import SERVER, Kind, Message, Seat
from sltoolkit.wire.turn import Turn

Direction = Literal["in", "out"]


@final
class ListenerEar:
    """Collects what a seat hears of a batch, and hands it to the attack when the batch ends."""

    def __init__(
        self,
        attached: AttachedListener,
        role: Role,
        *,
        replica: "Replica | None" = None,
        labels: Callable[[Tensor], Tensor] | None = None,
        only: Collection[int] | None = None,
    ) -> None:
        """An ear.

        Args:
            attached: the attack that hears.
            role: the seat that it listens from.
            replica: a copy of the seat's network; None if the seat has no network.
            labels: gives the labels of a batch's ids if the seat holds them; it is asked for
                batches without a labels message.
            only: ids of the samples whose batches are followed; None follows all batches.
        """
        self._attached = attached
        self._role = role
        self._replica = replica
        self._labels = labels
        self._only = only
        self._heard: defaultdict[tuple[Kind, Direction], list[Message]] = defaultdict(list)

    def wants(self, message: Message) -> bool:
        """Whether the seat hears it: an eavesdropper and colluding parties hear everything."""
        ids = message.turn.ids
        foreign = self._only is not None and len(ids) > 0 and int(ids[0]) not in self._only
        if message.turn.phase != "train" or foreign:
            return False
        return self._role not in ("server", "client") or self._role in (
            message.src.name,
            message.dst.name,
        )

    def note(self, message: Message) -> None:
        """Keep the message until its batch ends."""
        sent = message.src.name == self._hub
        self._heard[message.kind, "out" if sent else "in"].append(message)

    @property
    def _hub(self) -> str:
        """The seat that decides whether a message comes in or goes out."""
        return self._role if self._role in ("server", "client") else "server"

    def close(self, turn: Turn) -> None:
        """Hand over what was heard of this batch; messages of other batches are kept."""
        heard: dict[tuple[Kind, Direction], list[Message]] = {}
        for key, messages in self._heard.items():
            its = [m for m in messages if m.turn.step == turn.step or len(m.turn.ids) == 0]
            self._heard[key] = [m for m in messages if m not in its]
            if its:
                heard[key] = its
        if not heard:
            return
        said = {key: _joined(messages) for key, messages in heard.items()}
        if self._labels is not None and ("labels", "in") not in said:
            said["labels", "in"] = self._labels(turn.ids)
        view = BatchView(
            messages=said, ids=turn.ids.clone(), step=turn.step, epoch=turn.epoch,
            network=self._network(heard.values()),
        )  # fmt: skip
        with self._attached.rng.scope():
            self._attached.listener_state.hear(view)

    def _network(self, heard: Iterable[list[Message]]) -> Callable[[], nn.Module] | None:
        """The replica of the network that took part in this conversation."""
        replica = self._replica
        if replica is None:
            return None
        ends = [end for messages in heard for m in messages for end in (m.src, m.dst)]
        owner = replica.owners[max(end.copy for end in ends if end.name == self._hub)]
        return lambda: replica.of(owner)


@final
class Replica:
    """A copy of a live network, which is updated whenever it is asked for.

    Args:
        owners: the parties that compute with the network; several if the seat has several copies.
    """

    def __init__(self, owners: Sequence[Honest]) -> None:
        self.owners = owners
        self._own: nn.Module | None = None

    def of(self, owner: Honest) -> nn.Module:
        """The copy with the owner's weights and buffers: evaluation mode, frozen, no gradients.

        It is one object during the whole run, because copying weights takes a fraction of the time
        that building a network takes.
        """
        if self._own is None:
            self._own = copy.deepcopy(owner.module)
        with torch.no_grad():
            torch._foreach_copy_(_tensors(self._own), _tensors(owner.module))
        self._own.zero_grad()
        return self._own.eval().requires_grad_(False)


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]


def _joined(messages: list[Message]) -> Tensor:
    """The last payload, (B, ...).

    Parties with different features of the same samples send parts of it; the parts are joined
    along the last axis.
    """
    last = messages[-1]
    if last.kind not in ("smashed", "smashed_grad"):
        return last.payload

    def hub(message: Message) -> tuple[Seat, int]:
        end = message.dst if message.kind == "smashed" else message.src
        return end, message.turn.step

    return torch.cat([m.payload for m in messages if hub(m) == hub(last)], dim=-1)


def open_listener(
    listener: Listener[Any], run: Run, *, seed: int, grants: Collection[str]
) -> tuple[AttachedListener, ListenerEar]:
    """Attach a listener to a seated run before it begins.

    Raises:
        ThreatModelError: if it can't be mounted, or needs a grant that doesn't exist yet.
        SpecError: if the attack doesn't suit the victim's task.
    """
    role, filled, setup, rng = _setup(listener, run, seed, grants)
    session = ListeningSession(listener, setup, rng)
    attached = AttachedListener(
        attack=listener, role=role, grants=filled, listener_state=session, rng=rng
    )
    first = run.cast.clients[0].samples.ids
    ear = ListenerEar(
        attached, role, replica=_replica(run, role), labels=_own_labels(run, role),
        only=None if run.protocol.alike else frozenset(first.tolist()),
    )  # fmt: skip
    return attached, ear


def seize(
    attack: ActiveAttack[Any], run: Run, *, seed: int, grants: Collection[str]
) -> tuple[AttachedListener, ListenerEar]:
    """Let an active attack take over its seat in a seated run before it begins.

    Raises:
        ThreatModelError: if it can't be mounted, or needs a grant that doesn't exist yet.
        SpecError: if the attack doesn't suit the victim's task.
    """
    role, filled, setup, rng = _setup(attack, run, seed, grants)
    state = (
        _seize_client(attack, run.cast.clients[0], setup, rng) if role == "client"
        else _seize_server(attack, _hosts_to_seize(type(attack).__name__, run, role), setup, rng)
    )  # fmt: skip
    attached = AttachedListener(
        attack=attack, role=role, grants=filled, listener_state=state, rng=rng
    )
    return attached, ListenerEar(attached, role)


def _seize_server(
    attack: ActiveAttack[Any], copies: Sequence[Host], setup: Any, rng: Stream
) -> ListenerState:
    """Replace the server at all copies of its network by one attacker, without a defense."""
    honest = copies[0].party
    session = HijackingSession(attack, honest, setup, rng)
    seized = SeizedServer(session) if isinstance(honest, Server) else SeizedMiddle(session, honest)
    for host in copies:
        host.party, host.defense = seized, NoDefense()
    return session


def _seize_client(
    attack: ActiveAttack[Any], member: Member, setup: Any, rng: Stream
) -> ListenerState:
    """Replace a client by the attacker; the client holds its samples before anything is sent."""
    with rng.scope():
        party, state = attack.seize(member.party, setup, member.samples.x, rng=rng)
    member.party = cast(HonestClient, party)  # it has an honest client's attributes
    return state


def _hosts_to_seize(name: str, run: Run, role: Role) -> list[Host]:
    """The hosts that a malicious server takes over, one for every copy of its network.

    Raises:
        ThreatModelError: if no server sends gradients back that clients learn from.
    """
    hosts = [host for host in run.cast.servers if host.seat == SERVER]
    if not hosts or "smashed_grad" not in run.protocol.seats[role].links:
        raise ThreatModelError(
            f"{name} acts through the gradients that a server sends back, and in this protocol "
            "no server does: use one whose clients learn from such gradients, for example vanilla"
        )
    return hosts


def _setup(
    attack: Listener[Any] | ActiveAttack[Any], run: Run, seed: int, grants: Collection[str]
) -> tuple[Role, frozenset[str], Any, Stream]:
    mount = mount_attack(attack, run.protocol, grants)
    client = deploy(run)[0][0].network(mount.hops)
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
    before = required | (usable & mount.available & set(sources))
    rng = Stream(seed).child("attacker").fresh(type(attack).__name__)
    return mount.role, mount.filled | before, view_of(attack.setup, before, sources), rng


def _replica(run: Run, role: Role) -> Replica | None:
    cast = run.cast
    parties: dict[str, list[Any]] = {
        "server": [host.party for host in cast.servers if host.seat == SERVER],
        "client": [cast.clients[0].party],
    }
    owners = [p for p in parties.get(role, []) if isinstance(p, Honest)]
    return Replica(owners) if owners else None


def _own_labels(run: Run, role: Role) -> Callable[[Tensor], Tensor] | None:
    """A function from ids (B,) to labels (B,) of private samples, for a server that holds them."""
    if role != "server" or "labels" not in run.protocol.seats[role].knows:
        return None
    held = run.data.private_train
    order = held.ids.argsort()
    ids, y = held.ids[order], held.y[order]
    return lambda asked: y[torch.searchsorted(ids, asked)]
