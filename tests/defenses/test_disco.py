"""DISCO: each of its three losses reaches its own parameters, with the right sign and weight."""

import copy
from collections.abc import Iterable

import pytest
import torch
from support.defended import trained
from support.defense_checks import check_pruned_channels, check_refused
from support.defense_inputs import PHASES, SHAPES, begun, images, randn, turn_for
from torch import Tensor, nn
from torch.nn import functional

from sltoolkit.contracts.defense import Defense
from sltoolkit.data.samples import Split
from sltoolkit.defenses import DISCO
from sltoolkit.defenses.training.disco import masked
from sltoolkit.errors import ProtocolError
from sltoolkit.parties.honest import HonestClient
from sltoolkit.protocols import Protocol, UShaped, Vanilla
from sltoolkit.protocols._relay import hand_over
from sltoolkit.streams import Stream
from sltoolkit.training.cast import Clock
from sltoolkit.wire.turn import PhaseName, Turn

pytestmark = pytest.mark.golden

SHAPE = (6, 4, 4)
LABELS = torch.arange(12) % 3


def networks() -> tuple[nn.Module, nn.Module]:
    with Stream(2).scope():
        client = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2))
        return client, nn.Sequential(nn.Flatten(), nn.Linear(96, 3))


def touched(parameters: Iterable[nn.Parameter]) -> bool:
    return any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in parameters)


class Losses:
    """One batch with all networks; no loss has been back-propagated yet."""

    def __init__(self, defense: Defense) -> None:
        self.client, self.server = networks()
        self.defense = begun(defense, SHAPE, self.client)
        self.turn = turn_for(images(12))
        assert self.turn.x is not None
        self.sent = self.defense.smash(self.client(self.turn.x), self.turn)

    def task(self) -> Tensor:
        return functional.cross_entropy(self.server(self.sent), LABELS)

    def privacy(self) -> Tensor:
        loss = self.defense.client_loss(self.sent, self.turn)
        assert loss is not None
        return loss

    def reached(self) -> set[str]:
        parts = {"client": self.client, "server": self.server, **self.defense.learned()}
        return {name for name, part in parts.items() if touched(part.parameters())}


def check_losses_reach_only_their_own(kind: type[DISCO]) -> None:
    batch = Losses(kind())
    batch.task().backward()
    assert batch.reached() == {"client", "server", "pruner"}

    batch = Losses(kind())
    batch.privacy().backward()
    assert batch.reached() == {"pruner"}

    batch = Losses(kind())
    batch.defense.step(batch.turn)
    assert batch.reached() == {"adversary"}


def test_each_loss_reaches_only_its_own_parameters() -> None:
    check_losses_reach_only_their_own(DISCO)


class Naive(DISCO):  # type: ignore[misc]  # DISCO is final; a mistake is planted here
    """Lets the privacy term act through what was sent, so it reaches client and adversary."""

    def client_loss(self, z: Tensor, turn: Turn) -> Tensor | None:
        assert turn.x is not None
        return -self.alpha * functional.mse_loss(self.learned()["adversary"](z), turn.x)


def test_the_check_catches_a_disco_that_trains_the_client_with_the_adversarys_sign() -> None:
    with pytest.raises(AssertionError):
        check_losses_reach_only_their_own(Naive)


def test_the_privacy_term_is_minus_alpha_times_the_adversarys_error_on_what_was_sent() -> None:
    batch = Losses(DISCO(alpha=0.3))
    adversary = copy.deepcopy(batch.defense.learned()["adversary"])
    error = functional.mse_loss(adversary(batch.sent.detach()), images(12)).detach()
    assert float(batch.privacy().detach()) == pytest.approx(-0.3 * float(error), rel=1e-6)
    batch.defense.step(batch.turn)
    z = batch.sent.detach()[None]
    seen = batch.defense.evidence(z, z)["train_proxy_mse"]
    assert seen == pytest.approx(float(error), rel=1e-6)


def test_the_adversary_learns_to_reconstruct() -> None:
    defense = begun(DISCO(lr=1e-2), SHAPE)
    x, errors = images(32), []
    z = randn(32, *SHAPE) + functional.avg_pool2d(x, 2)
    for _ in range(60):
        turn = turn_for(x)
        sent = defense.smash(z, turn).detach()
        defense.step(turn)
        errors.append(defense.evidence(sent[None], sent[None])["train_proxy_mse"])
    assert errors[-1] < errors[0] / 2


def test_alpha_weighs_the_pruners_task_gradient_and_never_the_clients() -> None:
    grads = {}
    for alpha in (0.0, 0.75):
        batch = Losses(DISCO(alpha=alpha))
        batch.task().backward()
        pruner = batch.defense.learned()["pruner"]
        grads[alpha] = [
            torch.cat([p.grad.flatten() for p in part.parameters() if p.grad is not None])
            for part in (batch.client, pruner)
        ]
    torch.testing.assert_close(grads[0.75][0], grads[0.0][0])
    torch.testing.assert_close(grads[0.75][1], 0.25 * grads[0.0][1])


def test_the_client_learns_the_task_through_the_channels_that_were_kept() -> None:
    batch = Losses(DISCO())
    batch.task().backward()
    kept = (batch.sent != 0).flatten(2).any(2)[..., None, None]
    alone, server = networks()
    functional.cross_entropy(server(alone(images(12)) * kept), LABELS).backward()
    for mine, theirs in zip(batch.client.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


def test_masking_is_hard_forward_and_soft_backward() -> None:
    z, gate = randn(3, 4, 5).requires_grad_(), torch.rand(3, 4).requires_grad_()
    kept = torch.tensor([[1, 0, 0, 1]] * 3).bool()
    upstream = randn(3, 4, 5, seed=1)
    out = masked(z, kept, gate)
    assert torch.equal(out, z.masked_fill(~kept[..., None], 0))
    at_z, at_gate = torch.autograd.grad(out, (z, gate), upstream)
    torch.testing.assert_close(at_z, upstream * kept[..., None])
    torch.testing.assert_close(at_gate, (upstream * z).sum(2))


def revealing(x: Tensor) -> Tensor:
    """Smashed data (12, 3, 8, 8): noise, the input itself, and the class alone."""
    classes = LABELS[:, None, None, None].expand(12, 1, 8, 8)
    return torch.cat([randn(12, 1, 8, 8), x, classes], 1)


def removed(defense: Defense, z: Tensor) -> Tensor:
    """Which channels of `z` are removed when released, (B, C)."""
    with torch.no_grad():
        return (defense.smash(z, turn_for(z, "release")) == 0).flatten(2).all(2)


@pytest.mark.parametrize("start", range(4))
def test_against_the_adversary_alone_the_channel_that_reveals_inputs_goes(start: int) -> None:
    defense = begun(DISCO(ratio=0.34, alpha=1.0, lr=1e-2), (3, 8, 8), seed=start)
    z, turn = revealing(images(12)), turn_for(images(12))
    for _ in range(30):
        loss = defense.client_loss(defense.smash(z, turn), turn)
        assert loss is not None
        loss.backward()
        defense.step(turn)
    assert removed(defense, z)[:, 1].all()


@pytest.mark.parametrize("start", range(4))
def test_for_the_task_alone_the_channel_that_tells_the_class_stays(start: int) -> None:
    defense = begun(DISCO(ratio=0.67, alpha=0.0, lr=1e-2, width=4), (3, 8, 8), seed=start)
    z, turn = revealing(images(12)), turn_for(images(12))
    for _ in range(60):
        read = defense.smash(z, turn)[:, 2].mean((1, 2))
        logits = -10 * (read[:, None] - torch.arange(3)).square()  # a removed channel reads as 0
        functional.cross_entropy(logits, LABELS).backward()
        defense.step(turn)
    assert not removed(defense, z)[LABELS > 0, 2].any()


def test_a_refused_batch_teaches_the_pruner_nothing() -> None:
    client, _ = networks()
    defense = begun(DISCO(), SHAPE, client)
    party = HonestClient(client, torch.optim.SGD(client.parameters(), lr=0.1), Stream(4))
    x = images(12)
    for refused in (False, True):
        before = copy.deepcopy(defense.learned()["pruner"].state_dict())
        turn = turn_for(x)
        sent = defense.smash(party.forward(x), turn)
        back = None if refused else torch.ones_like(sent)
        party.update(sent, back, extra=defense.client_loss(sent, turn))
        defense.step(turn)
        after = defense.learned()["pruner"].state_dict()
        assert all(torch.equal(before[k], after[k]) for k in before) == refused


@pytest.mark.parametrize("batch", [0, 1])
def test_too_small_a_batch_is_pruned_but_teaches_nothing(batch: int) -> None:
    defense = begun(DISCO(), (10,))
    before = copy.deepcopy([m.state_dict() for m in defense.learned().values()])
    turn = turn_for(images(batch))
    sent = defense.smash(randn(batch, 10), turn)
    assert defense.client_loss(sent, turn) is None
    defense.step(turn)
    assert (sent == 0).sum() == 6 * batch
    after = [m.state_dict() for m in defense.learned().values()]
    for old, new in zip(before, after, strict=True):
        assert all(torch.equal(old[k], new[k]) for k in old)


def test_the_networks_follow_the_precision_of_the_client() -> None:
    defense = begun(DISCO(), SHAPE, networks()[0].double())
    turn = turn_for(images(4).double())
    sent = defense.smash(randn(4, *SHAPE).double(), turn)
    assert sent.dtype == torch.float64
    loss = defense.client_loss(sent, turn)
    assert loss is not None
    assert loss.dtype == torch.float64
    defense.step(turn)


def test_only_the_client_builds_networks_and_must_begin_first() -> None:
    assert DISCO().learned() == {}
    with pytest.raises(ProtocolError, match="begin"):
        DISCO().smash(randn(2, *SHAPE), turn_for(images(2)))


@pytest.mark.parametrize("bad", [{"ratio": 1.0}, {"alpha": 1.5}, {"lr": 0.0}, {"width": 0}])
def test_impossible_hyper_parameters_are_refused(bad: dict[str, float]) -> None:
    check_refused(DISCO, bad)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("shape", SHAPES)
def test_pruned_channels_are_exactly_positive_zero_and_the_others_untouched(
    shape: tuple[int, ...], phase: PhaseName
) -> None:
    check_pruned_channels(DISCO(ratio=0.5), shape, phase)


@pytest.mark.parametrize("protocol", [Vanilla(clients=2), UShaped(clients=2)], ids=repr)
def test_learned_networks_are_handed_over_with_the_client(
    protocol: Protocol, digits: Split
) -> None:
    run = trained(DISCO(width=4), digits, protocol, epochs=1)
    first, last = run.cast.clients
    assert not _equal(first.defense, last.defense)  # the last client went on learning
    hand_over(last, first, [last.seat, first.seat], run.cast.wire, Clock().idle(first))
    assert _equal(first.defense, last.defense)


def _equal(a: Defense, b: Defense) -> bool:
    pairs = zip(a.learned().values(), b.learned().values(), strict=True)
    tensors = [zip(m.state_dict().values(), n.state_dict().values(), strict=True) for m, n in pairs]
    return all(torch.equal(s, t) for both in tensors for s, t in both)
