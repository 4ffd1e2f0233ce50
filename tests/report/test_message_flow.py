"""The drawing of a protocol says what its parties really send."""

from typing import get_args

import torch
from support.flows import EVERY
from torch import nn

from sltoolkit.contracts.defense import NoDefense
from sltoolkit.data.samples import Samples, Split
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import PROTOCOLS, Protocol, UShaped, Vanilla
from sltoolkit.report.message_flow import PER_SAMPLE, Exchange, flow
from sltoolkit.streams import Stream
from sltoolkit.training.phases import run_phases
from sltoolkit.training.run import seat_parties
from sltoolkit.wire.message import SERVER, Kind, Link, Seat

CLIENT, OTHER = Seat("client"), Seat("client", 1)


def data() -> Split:
    g = torch.Generator().manual_seed(3)
    whole = Samples(
        x=torch.rand(40, 1, 8, 8, generator=g), y=torch.arange(40) % 3,
        ids=torch.arange(40), groups=torch.arange(40),
    )  # fmt: skip
    return Split(
        name="random", private_train=whole[:30], private_holdout=whole[30:35], aux=whole[35:],
        classes=("a", "b", "c"),
    )  # fmt: skip


def network(parts: int) -> tuple[nn.Module, ...]:
    """Another network than the drawing's, which begins with convolutions."""
    head = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Tanh())
    inner = [nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.Tanh()) for _ in range(parts - 2)]
    return (head, *inner, nn.Sequential(nn.Flatten(), nn.Linear(128, 3)))


def counted(protocol: Protocol) -> set[Link]:
    """The traffic on every link of another run, with other network, data and seed."""
    run = seat_parties(
        network(protocol.parts), data(), protocol=protocol, defense=NoDefense(),
        training=Training(epochs=2, batch_size=5) if protocol.learns else None, rng=Stream(9),
    )  # fmt: skip
    run_phases(run, 2)
    return set(run.cast.wire.bytes)


def messages(exchange: Exchange) -> list[tuple[Seat, Seat, Kind, int]]:
    return [(s.src, s.dst, s.kind, s.numbers) for s in exchange.steps]


@EVERY
def test_the_drawing_has_exactly_the_links_that_the_wire_counts(name: str) -> None:
    protocol = PROTOCOLS[name](clients=3)
    drawn = {
        Link(step.src.name, step.dst.name, step.kind)
        for exchange in flow(protocol)
        for step in exchange.steps
    }
    assert drawn == counted(protocol)


@EVERY
def test_the_drawing_repeats_nothing(name: str) -> None:
    exchanges = flow(PROTOCOLS[name]())
    said = [(e.about, e.steps) for e in exchanges]
    assert len(said) == len(set(said))
    for exchange in exchanges:
        half = len(exchange.steps) // 2
        assert exchange.steps != 2 * exchange.steps[:half]


def test_vanilla_sends_labels_and_smashed_data_and_hands_weights_over() -> None:
    batch, between = flow(Vanilla())
    assert (batch.about, batch.clients) == ("batch", (CLIENT, OTHER))
    assert messages(batch) == [
        (CLIENT, SERVER, "labels", 1),
        (CLIENT, SERVER, "smashed", 16),
        (SERVER, CLIENT, "smashed_grad", 16),
    ]
    assert (between.about, between.clients) == ("between", (CLIENT,))
    assert messages(between) == [
        (CLIENT, OTHER, "weights", 64 * 16 + 16 + 2 * 16),
        (CLIENT, OTHER, "buffers", 2 * 16 + 1),
    ]


def test_u_shaped_goes_there_and_back_without_labels() -> None:
    batch, between = flow(UShaped())
    assert messages(batch) == [
        (CLIENT, SERVER, "smashed", 16),
        (SERVER, CLIENT, "smashed", 8),
        (CLIENT, SERVER, "smashed_grad", 8),
        (SERVER, CLIENT, "smashed_grad", 16),
    ]
    assert [s.kind for s in between.steps] == ["weights", "buffers"]


def test_parameters_change_the_drawing() -> None:
    through = flow(Vanilla(handover="server", optimizer_state=True))[1]
    assert [(s.src, s.dst, s.kind) for s in through.steps] == [
        (a, b, kind)
        for kind in ("weights", "buffers", "optimizer")
        for a, b in ((CLIENT, SERVER), (SERVER, OTHER))
    ]
    assert [e.about for e in flow(Vanilla(handover="none"))] == ["batch"]
    assert "labels" not in {s.kind for e in flow(Vanilla(labels_at="server")) for s in e.steps}


def test_drawing_is_repeatable_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert flow(Vanilla()) == flow(Vanilla())
    assert torch.equal(before, torch.get_rng_state())


def test_every_kind_is_about_samples_or_state() -> None:
    state = {"weights", "buffers", "weight_grad", "optimizer"}
    assert set(get_args(Kind)) == PER_SAMPLE | state
