"""Grants, views, refusals, and the release oracle."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Optional

import pytest
import torch
from support import toys
from torch import Tensor, nn

from sltoolkit.contracts.attack import Role
from sltoolkit.contracts.chain import Chain
from sltoolkit.contracts.defense import Defense, Task
from sltoolkit.contracts.grants import (
    GRANTS,
    Holdings,
    LinkSource,
    needs,
    permitted,
    seat_for,
    view_of,
)
from sltoolkit.contracts.knowledge import Release
from sltoolkit.data.samples import Samples
from sltoolkit.defenses import GaussianNoise, RandomPruning
from sltoolkit.errors import ThreatModelError
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import UShaped, Vanilla
from sltoolkit.streams import Stream
from sltoolkit.training.deployed import Deployed
from sltoolkit.wire.turn import Turn


@dataclass(frozen=True, kw_only=True)
class View:
    smashed: Tensor
    release: Release
    task: Task
    prior: Tensor | None
    mechanism: Callable[[Stream], Defense] | None


SEATS: dict[Role, Holdings] = {
    "server": Holdings(
        links={"smashed": LinkSource("smashed", "client", "server")},
        knows=frozenset({"server_weights"}),
    ),
    "eavesdropper": Holdings(links={"smashed": LinkSource("smashed", "client", "server")}),
    "client": Holdings(links={}, knows=frozenset({"client_weights"})),
}


# ---- what a view asks for ------------------------------------------------------------------------


def test_a_view_states_what_it_requires_and_what_it_can_use() -> None:
    assert needs(View) == (frozenset({"smashed", "release"}), frozenset({"prior", "mechanism"}))


def test_optional_in_its_old_spelling_is_optional_too() -> None:
    @dataclass(frozen=True)
    class Old:
        smashed: Tensor
        prior: Optional[Tensor]  # noqa: UP045

    assert needs(Old) == (frozenset({"smashed"}), frozenset({"prior"}))


def test_a_field_that_is_no_grant_gets_the_nearest_one() -> None:
    @dataclass(frozen=True)
    class Typo:
        smashd: Tensor

    with pytest.raises(ThreatModelError, match=r"Typo.smashd is no grant.*'smashed'"):
        needs(Typo)


def test_a_view_that_can_be_changed_is_refused() -> None:
    @dataclass
    class Loose:
        smashed: Tensor

    class NoDataclass:
        smashed: Tensor

    for view in (Loose, NoDataclass):
        with pytest.raises(ThreatModelError, match="must be a frozen dataclass"):
            needs(view)


# ---- refusals ------------------------------------------------------------------------------------


def test_a_refusal_names_the_attack_the_grant_the_role_and_the_remedy() -> None:
    with pytest.raises(ThreatModelError) as caught:
        permitted(View, name="Decoder", role="server", held={"smashed", "labels"}, granted={"aux"})
    said = str(caught.value)
    for part in (
        "Decoder needs release",
        GRANTS["release"],
        "as server it holds labels, smashed",
        "the experiment grants aux",
        "grants=(..., 'release')",
    ):
        assert part in said


def test_a_refusal_of_one_who_has_nothing_says_so() -> None:
    with pytest.raises(ThreatModelError, match=r"holds nothing and .* grants nothing more"):
        permitted(View, name="X", role="client", held=(), granted=())


def test_an_unknown_grant_gets_the_nearest_one() -> None:
    with pytest.raises(ThreatModelError, match=r"'relase' is no grant; did you mean 'release'"):
        permitted(View, name="X", role="server", held={"smashed"}, granted={"relase"})


@pytest.mark.parametrize(
    ("held", "granted", "filled"),
    [
        ({"smashed"}, {"release"}, {"smashed", "release"}),
        ({"smashed"}, {"release", "prior"}, {"smashed", "release", "prior"}),
        ({"smashed", "mechanism"}, {"release"}, {"smashed", "release", "mechanism"}),
        ({"smashed", "labels"}, {"release", "aux"}, {"smashed", "release"}),
    ],
)
def test_optional_grants_are_filled_when_at_hand_and_nothing_else_is(
    held: set[str], granted: set[str], filled: set[str]
) -> None:
    assert permitted(View, name="X", role="server", held=held, granted=granted) == filled


# ---- seats ---------------------------------------------------------------------------------------


def test_the_first_role_that_holds_enough_is_taken() -> None:
    granted = {"release"}
    assert seat_for(View, ("client", "eavesdropper", "server"), SEATS, granted) == "eavesdropper"
    assert seat_for(View, ("server", "eavesdropper"), SEATS, granted) == "server"
    assert seat_for(View, ("client", "server"), SEATS, {"release", "smashed"}) == "client"


def test_without_an_able_role_the_first_one_seated_is_taken() -> None:
    assert seat_for(View, ("colluding", "client", "server"), SEATS, ()) == "client"


def test_roles_that_a_protocol_does_not_seat_are_refused() -> None:
    colluding: tuple[Role, ...] = ("colluding",)
    with pytest.raises(ThreatModelError, match=r"mounted by colluding, but .* seats only server"):
        seat_for(View, colluding, SEATS, ())


def test_who_holds_labels_in_which_protocol() -> None:
    def holders(protocol: Vanilla | UShaped) -> set[str]:
        return {r for r, seat in protocol.seats.items() if "labels" in seat.grants}

    assert holders(Vanilla()) == {"server", "client", "eavesdropper", "colluding"}
    assert holders(Vanilla(labels_at="server")) == {"server", "colluding"}
    assert holders(UShaped()) == {"client", "colluding"}


def test_nobody_holds_what_only_an_experiment_can_grant() -> None:
    for protocol in (Vanilla(), Vanilla(labels_at="server"), UShaped()):
        for seat in protocol.seats.values():
            assert seat.grants <= set(GRANTS)
            assert not seat.grants & {"aux", "release", "hints", "prior", "mechanism"}


# ---- filled views --------------------------------------------------------------------------------


def sources(given: list[str]) -> dict[str, Callable[[], Any]]:
    def source(name: str) -> Callable[[], Any]:
        def fresh() -> Any:
            given.append(name)
            return torch.zeros(2)

        return fresh

    return {name: source(name) for name in (*GRANTS, "task")}


def test_a_view_is_filled_with_exactly_its_grants_and_what_is_public() -> None:
    given: list[str] = []
    view = view_of(View, {"smashed", "release", "prior"}, sources(given))
    assert sorted(given) == ["prior", "release", "smashed", "task"]
    assert view.mechanism is None
    assert view.prior is not None


def test_views_are_frozen_and_share_nothing() -> None:
    one, other = (view_of(View, {"smashed", "release"}, sources([])) for _ in range(2))
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.smashed = torch.ones(2)  # type: ignore[misc]
    one.smashed.add_(1)
    assert torch.equal(other.smashed, torch.zeros(2))


# ---- the release oracle --------------------------------------------------------------------------


@dataclass(kw_only=True, eq=False)
class Noise(Defense):
    """Adds standard normal noise, from the turn's generator or from the global one."""

    scoped: bool = False

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        if self.scoped:
            with turn.rng.scope():
                return z + torch.randn_like(z)
        return z + torch.randn(z.shape, generator=turn.rng.torch())


def deployed(defense: Defense | None = None) -> Deployed:
    with Stream(0).scope():
        client = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5))
        client(torch.randn(8, 1, 6, 6))  # running statistics away from their start
    nothing = torch.zeros(0, dtype=torch.int64)
    none = Samples(x=torch.zeros(0, 1, 6, 6), y=nothing, ids=nothing, groups=nothing)
    return Deployed(
        client=client.eval().requires_grad_(False),
        tail=None,
        defense=defense or Defense(),
        samples=none,
    )


def release_of(member: Deployed, rng: Stream) -> Release:
    return Release(lambda x: member.smash(x, rng)[1])


def images(n: int) -> Tensor:
    return torch.rand(n, 1, 6, 6, generator=torch.Generator().manual_seed(n))


def test_every_answer_is_metered_with_repeats() -> None:
    release = release_of(deployed(), Stream(0))
    assert release.queries == 0
    assert release(images(5)).shape == (1, 5, 2, 4, 4)
    assert release(images(3), repeats=4).shape == (4, 3, 2, 4, 4)
    assert release.queries == 5 + 12


def test_where_no_draws_are_shared_answers_do_not_depend_on_the_chunk_and_carry_no_graph() -> None:
    release = release_of(deployed(), Stream(0))
    x = images(7).requires_grad_()
    whole, chunked = release(x), release(x, chunk=2)
    torch.testing.assert_close(whole, chunked)
    assert not whole.requires_grad


def masks(sent: Tensor) -> int:
    """How many different sets of channels arrive for inputs (B, ...)."""
    return len({tuple(row) for row in (sent.flatten(2) != 0).any(2).tolist()})


def test_where_a_query_shares_a_mask_inputs_to_learn_from_have_masks_of_their_own() -> None:
    member = deployed(RandomPruning(ratio=0.5))  # one of two channels
    rng = Stream(0)
    release = Release(lambda x: member.smash(x, rng)[1], per_batch=True)
    x = images(40)
    assert masks(release(x)[0]) == 1
    assert masks(release(x, chunk=20)[0]) <= 2
    assert masks(release(x, chunk=1)[0]) == 2
    assert masks(release.mean(x, repeats=1)) == 2
    assert release.queries == 160


@pytest.mark.parametrize(
    ("defense", "per_batch"),
    [
        (None, False), (GaussianNoise(), False), (RandomPruning(), True),
        (Chain(GaussianNoise(), RandomPruning()), True), (Chain(GaussianNoise()), False),
    ],
    ids=["none", "noise", "pruning", "both", "chained noise"],
)  # fmt: skip
def test_only_where_a_batch_shares_its_draws_are_inputs_asked_about_one_by_one(
    defense: Defense | None, per_batch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, asked = toys.victim(defense, training=Training(epochs=0)), []
    smash = Deployed.smash

    def noting(self: Deployed, x: Tensor, rng: Stream, *, hops: int = 0) -> tuple[Tensor, Tensor]:
        asked.append(len(x))
        return smash(self, x, rng, hops=hops)

    monkeypatch.setattr(Deployed, "smash", noting)
    victim.release(Stream(0)).mean(images(6), repeats=2)
    assert asked == ([1] * 12 if per_batch else [6, 6])


def test_no_buffer_of_the_client_is_touched() -> None:
    member = deployed(Noise())
    before = {k: v.clone() for k, v in member.client.state_dict().items()}
    release_of(member, Stream(0))(images(16), repeats=3)
    after = member.client.state_dict()
    assert len(before) == 7  # weight and bias twice, running statistics, batches
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_the_client_answers_in_evaluation_mode() -> None:
    release = release_of(deployed(), Stream(0))
    first, second = release(images(4), repeats=2)
    assert torch.equal(first, second)  # dropout would differ


@pytest.mark.parametrize("scoped", [False, True])
def test_noise_is_fresh_in_every_repeat_and_every_query(scoped: bool) -> None:
    clean = release_of(deployed(), Stream(0))(images(4))
    release = release_of(deployed(Noise(scoped=scoped)), Stream(0))
    noise = torch.cat([release(images(4), repeats=2), release(images(4))]) - clean
    assert not torch.allclose(noise[0], noise[1])
    assert not torch.allclose(noise[0], noise[2])
    correlation = torch.corrcoef(noise.flatten(1)) - torch.eye(3)
    assert correlation.abs().max() < 0.4  # 128 values each: 4.5 standard deviations
    assert noise.std() == pytest.approx(1, abs=0.15)


def test_noise_is_repeatable_from_its_stream() -> None:
    first, second, other = (
        release_of(deployed(Noise()), Stream(seed))(images(4), repeats=2) for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
