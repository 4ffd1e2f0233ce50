"""The checks of every protocol; each raises an `AssertionError` that is a sentence.

from sltoolkit.testing import check_protocol

check_protocol(MyProtocol)                # with two clients
check_protocol(MyProtocol(clients=3))     # with these parameters
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import final

import torch
from torch import Tensor

from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.contracts.grants import GRANTS
from sltoolkit.errors import ProtocolError
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import Protocol
from sltoolkit.report.message_flow import tiny_data, tiny_network
from sltoolkit.streams import Stream
from sltoolkit.testing import facts
from sltoolkit.training.phases import deploy, run_phases
from sltoolkit.training.run import Run, seat_parties
from sltoolkit.wire.message import Link, Message
from sltoolkit.wire.turn import Turn
from sltoolkit.wire.wire import Ear

CLIENTS = 2
QUICK = Training(epochs=2, batch_size=4, lr=1e-2)


def check_protocol(protocol: type[Protocol] | Protocol) -> None:
    """Run every check of a protocol.

    Args:
        protocol: a class, which is checked with two clients, or an instance.

    Raises:
        AssertionError: with a sentence that says what is wrong.
    """
    for check in protocol_checks(protocol).values():
        check()


def protocol_checks(protocol: type[Protocol] | Protocol) -> dict[str, Callable[[], None]]:
    """Every check of a protocol, by name."""
    one = protocol(clients=CLIENTS) if isinstance(protocol, type) else protocol
    return {
        "citation": partial(facts.check_citation, one),
        **{check.__name__.removeprefix("check_"): partial(check, one) for check in CHECKS},
    }


@final
class Meddler:
    """An ear that ruins everything that it hears, and draws from the global generators."""

    def wants(self, message: Message) -> bool:
        """Want every message."""
        return True

    def note(self, message: Message) -> None:
        """Ruin the message."""
        if message.payload.is_floating_point():
            message.payload.fill_(float("nan"))
        torch.rand(3)

    def close(self, turn: Turn) -> None:
        """Draw random numbers."""
        torch.rand(3)


@final
class Seamless(Defense):
    """A defense that does nothing anywhere."""


def played(
    protocol: Protocol,
    *,
    ears: Sequence[Ear] = (),
    defense: Defense | None = None,
    seed: int = 0,
    epochs: int = 2,
) -> Run:
    """A finished run of the protocol on a tiny network."""
    run = seat_parties(
        tiny_network(protocol.parts), tiny_data(protocol.clients), protocol=protocol,
        defense=defense or NoDefense(), training=QUICK if protocol.learns else None,
        rng=Stream(seed), ears=ears,
    )  # fmt: skip
    run_phases(run, epochs)
    return run


def weights(run: Run) -> Tensor:
    """All weights and buffers that are deployed, as one vector."""
    members, server = deploy(run)
    networks = [n for m in members for n in (m.client, m.tail, *m.hops) if n is not None]
    return torch.cat(
        [t.double().flatten() for n in (*networks, server) for t in n.state_dict().values()]
    )


def check_reproducible(protocol: Protocol) -> None:
    """One seed gives one victim, whatever state the global generators have; two seeds give two."""
    found = []
    for outside, seed in enumerate((0, 0, 1)):
        with Stream(100 + outside).scope():
            found.append(weights(played(protocol, seed=seed)))
    first, again, other = found
    name = type(protocol).__name__
    assert torch.equal(first, again), f"{name} with one seed gives two victims"
    if protocol.learns:
        assert not torch.equal(first, other), f"{name} gives the same victim for two seeds"


def check_learns_as_it_says(protocol: Protocol) -> None:
    """Training changes weights if and only if the class attribute `learns` is True."""
    moved = not torch.equal(weights(played(protocol, epochs=0)), weights(played(protocol)))
    assert moved == protocol.learns, (
        f"{type(protocol).__name__}.learns is {protocol.learns}, but its weights "
        f"{'move' if moved else 'stay where they are'}"
    )


def check_deaf_to_ears(protocol: Protocol) -> None:
    """An ear on the wire changes nothing, whatever it does to the messages that it hears."""
    heard = weights(played(protocol, ears=(Meddler(), Meddler())))
    assert torch.equal(weights(played(protocol)), heard), (
        f"{type(protocol).__name__} gives another victim when somebody listens"
    )


def check_seamless_defense_is_none(protocol: Protocol) -> None:
    """A defense that does nothing changes nothing."""
    defended = weights(played(protocol, defense=Seamless()))
    assert torch.equal(weights(played(protocol)), defended), (
        f"{type(protocol).__name__} gives another victim with a defense that does nothing"
    )


def check_seats_hear_what_travels(protocol: Protocol) -> None:
    """Every link that a seat hears carries messages, and everything that it holds is a grant."""
    run, name = played(protocol), type(protocol).__name__
    for role, held in protocol.seats.items():
        unknown = held.grants - set(GRANTS)
        assert not unknown, f"{name}: the {role} holds {sorted(unknown)}, which are no grants"
        for link in held.links.values():
            sent = run.cast.wire.bytes[Link(link.src, link.dst, link.kind)]
            assert sent > 0, (
                f"{name}: the {role} hears {link.kind} from {link.src} to {link.dst}, where "
                "nothing travels"
            )


def check_refuses_other_parts(protocol: Protocol) -> None:
    """A network in the wrong number of parts is refused before the training."""
    count = protocol.parts + 1
    said = facts.refusal_of(
        ProtocolError,
        lambda: seat_parties(
            tiny_network(count), tiny_data(protocol.clients), protocol=protocol,
            defense=NoDefense(), training=QUICK, rng=Stream(0),
        ),
        otherwise=f"{type(protocol).__name__} accepts a network in {count} parts",
    )  # fmt: skip
    assert f"in {protocol.parts} parts, got {count}" in said, f"unclear refusal: {said}"


CHECKS: tuple[Callable[[Protocol], None], ...] = (
    check_learns_as_it_says, check_reproducible, check_deaf_to_ears,
    check_seamless_defense_is_none, check_seats_hear_what_travels, check_refuses_other_parts,
)  # fmt: skip
"""The checks of a protocol at work."""
