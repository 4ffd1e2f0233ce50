"""Federated averaging of the clients' networks (McMahan et al. 2017, Alg. 1), over the wire.

The fed server keeps the common networks. In every round a client first receives them and, if it
is still there at the end of the round, sends its own networks back. The new common networks are the
mean of the networks that came back, weighted by n_k. A client that left contributes nothing, and a
client that returns starts from the common networks, so neither corrupts an average. Optimizers stay
with the clients and persist.

Floating-point buffers (BatchNorm's running statistics) are averaged like weights. Integer buffers
(BatchNorm's batch counter) take the largest of the clients' values, since a mean of counters counts
nothing. Frozen weights (`requires_grad=False`) stay as they are: no mean's rounding moves them.
"""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn

from sltoolkit.models.given import frozen_weights
from sltoolkit.parties.honest import HonestServer
from sltoolkit.training.member import Host, Member
from sltoolkit.wire.message import FED, Kind, Seat
from sltoolkit.wire.turn import Turn
from sltoolkit.wire.wire import Wire

State = Mapping[str, Tensor]


@final
class Averager:
    """The fed server.

    Args:
        networks: the common networks as they are initialized.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self._common = [_copied(network.state_dict()) for network in networks]
        self._frozen = [frozen_weights(network) for network in networks]
        self._collected: list[tuple[int, list[State]]] = []

    @property
    def common(self) -> Sequence[State]:
        """The common networks' states, which a checkpoint must keep."""
        return self._common

    def hand_out(self, me: Member, wire: Wire, turn: Turn) -> None:
        """Send the common networks to a client."""
        for i, (common, network) in enumerate(zip(self._common, me.networks(), strict=True)):
            load(network, _sent(common, network, i, wire, turn, src=FED, dst=me.seat))

    def collect(self, me: Member, wire: Wire, turn: Turn) -> None:
        """Receive a client's networks; they are weighted by its number of samples."""
        states: list[State] = [
            _sent(network.state_dict(), network, i, wire, turn, src=me.seat, dst=FED)
            for i, network in enumerate(me.networks())
        ]
        self._collected.append((len(me.samples), states))

    def close(self) -> None:
        """Average what was collected in this round; if nothing was, change nothing."""
        if self._collected:
            counts, states = zip(*self._collected, strict=True)
            means = [average(each, counts) for each in zip(*states, strict=True)]
            self._common = [
                {**mean, **{name: old[name] for name in frozen}}
                for mean, old, frozen in zip(means, self._common, self._frozen, strict=True)
            ]
        self._collected = []

    def install(self, me: Member) -> None:
        """Give a client the common networks without a message, to deploy it."""
        for common, network in zip(self._common, me.networks(), strict=True):
            load(network, common)


def average(states: Sequence[State], counts: Sequence[int]) -> dict[str, Tensor]:
    """The mean of states, weighted by counts; for integer buffers, the largest value."""
    shares = [count / sum(counts) for count in counts]

    def mean(values: list[Tensor]) -> Tensor:
        if not values[0].is_floating_point():
            return torch.stack(values).amax(0)
        return torch.stack([v * share for v, share in zip(values, shares, strict=True)]).sum(0)

    return {name: mean([state[name] for state in states]) for name in states[0]}


@final
class Copies:
    """The copies of a server's network in one round: one per client, equal at the beginning.

    Args:
        hosts: the copies.
    """

    def __init__(self, hosts: Sequence[Host]) -> None:
        # a server that was taken over has no network to average
        self._networks = [h.party.module for h in hosts if isinstance(h.party, HonestServer)]
        self._before = _copied(self._networks[0].state_dict()) if self._networks else {}
        self._frozen = frozen_weights(self._networks[0]) if self._networks else frozenset()
        self._counted: list[tuple[State, int]] = []

    def count(self, i: int, samples: int) -> None:
        """Count copy `i` in the mean, weighted by `samples`; its client stayed to the end."""
        if self._networks:
            self._counted.append((self._networks[i].state_dict(), samples))

    def close(self) -> None:
        """Give all copies the weighted mean of those that count; if none does, undo the round."""
        states, counts = [s for s, _ in self._counted], [n for _, n in self._counted]
        mean = average(states, counts) if states else self._before
        common = {**mean, **{name: self._before[name] for name in self._frozen}}
        for network in self._networks:
            load(network, common)


def load(network: nn.Module, state: State) -> None:
    """Write a state into a network's own tensors."""
    with torch.no_grad():
        for name, own in network.state_dict().items():
            own.copy_(state[name])


def kinds_of(network: nn.Module) -> dict[str, Kind]:
    """Whether each tensor of a network's state is a weight or a buffer."""
    weights = {name for name, _ in network.named_parameters()}
    return {name: "weights" if name in weights else "buffers" for name in network.state_dict()}


def _sent(
    state: State, network: nn.Module, i: int, wire: Wire, turn: Turn, *, src: Seat, dst: Seat
) -> dict[str, Tensor]:
    """The state of network number i, as it arrives."""
    kinds = kinds_of(network)
    return {
        name: wire.send(value, src=src, dst=dst, kind=kinds[name], turn=turn, name=f"{i}.{name}")
        for name, value in state.items()
    }


def _copied(state: State) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}
