"""What holds for every registered protocol, the next one included."""

import pytest
import torch
from torch import Tensor

from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.contracts.grants import GRANTS
from sltoolkit.errors import ProtocolError
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import PROTOCOLS
from sltoolkit.report.message_flow import tiny_data, tiny_network
from sltoolkit.streams import Stream
from sltoolkit.training.phases import deploy, run_phases
from sltoolkit.training.run import Run, seat_parties
from sltoolkit.wire.message import Link, Message
from sltoolkit.wire.turn import Turn
from sltoolkit.wire.wire import Ear

CLIENTS = 2
QUICK = Training(epochs=2, batch_size=4, lr=1e-2)
every = pytest.mark.parametrize("name", PROTOCOLS)


class Meddler:
    """An ear that ruins whatever it hears, and draws from the global generators."""

    def wants(self, message: Message) -> bool:
        return True

    def note(self, message: Message) -> None:
        if message.payload.is_floating_point():
            message.payload.fill_(float("nan"))
        torch.rand(3)

    def close(self, turn: Turn) -> None:
        torch.rand(3)


class LookAlike(Defense):
    """A defense with no seam of its own: bit-identical to none."""


def played(
    name: str,
    *,
    ears: tuple[Ear, ...] = (),
    defense: Defense | None = None,
    seed: int = 0,
    epochs: int = 2,
) -> Run:
    protocol = PROTOCOLS[name](clients=CLIENTS)
    run = seat_parties(
        tiny_network(protocol.parts), tiny_data(CLIENTS), protocol=protocol,
        defense=defense or NoDefense(), training=QUICK if protocol.learns else None,
        rng=Stream(seed), ears=ears,
    )  # fmt: skip
    run_phases(run, epochs)
    return run


def weights(run: Run) -> Tensor:
    members, server = deploy(run)
    networks = [n for m in members for n in (m.client, m.tail, *m.hops) if n is not None]
    return torch.cat(
        [t.double().flatten() for n in (*networks, server) for t in n.state_dict().values()]
    )


@every
def test_one_seed_gives_one_victim_and_another_seed_another(name: str) -> None:
    first, again, other = (weights(played(name, seed=s)) for s in (0, 0, 1))
    assert torch.equal(first, again)
    if PROTOCOLS[name].learns:
        assert not torch.equal(first, other)


@every
def test_training_moves_weights_or_says_that_it_learns_nothing(name: str) -> None:
    moved = not torch.equal(weights(played(name, epochs=0)), weights(played(name)))
    assert moved == PROTOCOLS[name].learns


@every
def test_who_listens_changes_nothing_whatever_it_does_to_what_it_hears(name: str) -> None:
    assert torch.equal(weights(played(name)), weights(played(name, ears=(Meddler(), Meddler()))))


@every
def test_a_defense_without_seams_is_no_defense(name: str) -> None:
    assert torch.equal(weights(played(name)), weights(played(name, defense=LookAlike())))


@every
def test_every_seat_hears_what_really_travels(name: str) -> None:
    """A tap on a link that carries nothing would be a hole in the threat model."""
    run = played(name)
    for role, held in run.protocol.seats.items():
        assert held.grants <= set(GRANTS), role
        for tap in held.links.values():
            assert run.cast.wire.bytes[Link(tap.src, tap.dst, tap.kind)] > 0, (role, tap)


@every
def test_the_wrong_number_of_parts_is_refused_before_training(name: str) -> None:
    protocol = PROTOCOLS[name]()
    with pytest.raises(
        ProtocolError, match=rf"in {protocol.parts} parts, got {protocol.parts + 1}"
    ):
        seat_parties(
            tiny_network(protocol.parts + 1), tiny_data(2), protocol=protocol, defense=NoDefense(),
            training=QUICK, rng=Stream(0),
        )  # fmt: skip


@every
def test_it_says_where_it_comes_from(name: str) -> None:
    assert any(year in PROTOCOLS[name].citation for year in map(str, range(2015, 2027)))
