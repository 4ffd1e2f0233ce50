"""A client as deployed: its path and its copies."""

from dataclasses import replace

import pytest
import torch
from support.saturating import Saturating
from support.toys import differences, module_state
from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.data.samples import Samples
from sltoolkit.defenses import GaussianNoise
from sltoolkit.streams import Stream
from sltoolkit.training.deployed import Deployed, evidence, settle
from sltoolkit.wire.reducers import HalfPrecision
from sltoolkit.wire.turn import Turn

X = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))


def samples(y: Tensor | None = None) -> Samples:
    ids = torch.arange(len(X))
    return Samples(x=X, y=ids % 3 if y is None else y, ids=ids, groups=ids)


def deployed(defense: Defense | None = None, *hops: nn.Module) -> Deployed:
    torch.manual_seed(0)
    client = nn.Linear(4, 3).requires_grad_(False).eval()
    return Deployed(
        client=client, tail=None, defense=defense or NoDefense(), samples=samples(), hops=hops
    )


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def test_undefended_it_sends_what_its_network_computes() -> None:
    member = deployed()

    clean, sent = member.smash(X, Stream(0))

    assert torch.equal(clean, member.client(X))
    assert torch.equal(sent, clean)


def test_the_defense_stands_before_the_wire_and_hops_behind_it() -> None:
    member = deployed(Saturating(), Doubled(), Doubled())

    clean, sent = member.smash(X, Stream(0), hops=1)

    z = member.client(X)
    torch.testing.assert_close(clean, 2 * z)
    torch.testing.assert_close(sent, 2 * torch.tanh(3 * z.flip(1)))
    assert torch.equal(member.smash(X, Stream(0))[0], z)
    assert torch.equal(member.network(2)(X), 4 * z)
    assert member.network(0) is member.client


def test_a_lossy_codec_is_passed_on_every_wire() -> None:
    member = replace(deployed(None, Doubled()), reducer=HalfPrecision())

    clean, sent = member.smash(X, Stream(0), hops=1)

    once = member.client(X).half().float()
    assert torch.equal(sent, (2 * once).half().float())
    assert torch.equal(clean, 2 * member.client(X))


def test_noise_comes_from_the_given_stream_alone() -> None:
    member, before = deployed(GaussianNoise(std=1.0)), torch.get_rng_state()

    first, again = (member.smash(X, Stream(3))[1] for _ in range(2))

    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)


class Weighted(Defense):
    def labels(self, y: Tensor, turn: Turn) -> Tensor:
        weights = torch.full((len(y), 3), 0.2)
        return weights.scatter(1, ((y + 1) % 3)[:, None], 0.6)


def test_of_weights_the_heaviest_is_what_it_says() -> None:
    assert deployed().labels(samples(), Stream(0)).tolist() == [0, 1, 2, 0, 1, 2]
    assert deployed(Weighted()).labels(samples(), Stream(0)).tolist() == [1, 2, 0, 1, 2, 0]


def test_a_replica_shares_nothing_and_holds_no_private_sample() -> None:
    member = deployed(None, nn.Linear(3, 3))

    copy = member.replica()
    with torch.no_grad():
        copy.client.get_parameter("weight").zero_()
        copy.hops[0].get_parameter("weight").zero_()

    assert len(copy.samples) == 0
    assert len(member.samples) == 6
    assert member.client.get_parameter("weight").abs().sum() > 0
    assert member.hops[0].get_parameter("weight").abs().sum() > 0


def test_a_defense_is_seen_to_act_and_none_is_not() -> None:
    assert evidence(deployed(), X, Stream(0)) == {"changed_rms": 0.0}
    noisy = evidence(deployed(GaussianNoise(std=2.0)), X.repeat(200, 1), Stream(0))
    assert noisy == pytest.approx({"changed_rms": 2.0, "noise_std": 2.0}, rel=0.05)


def test_a_settled_network_is_frozen_and_keeps_the_initial_one() -> None:
    initial = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).train()
    trained = {f"_module.{name}": torch.ones_like(t) for name, t in initial.state_dict().items()}
    before = initial[0].get_parameter("weight").detach().clone()

    made = settle(initial, trained)

    assert not any(layer.training for layer in made.modules())
    assert not any(weight.requires_grad for weight in made.parameters())
    assert all(bool((t == 1).all()) for t in made.state_dict().values())
    assert torch.equal(initial[0].get_parameter("weight"), before)
    assert initial.training


def test_settling_copies() -> None:
    source, blank = nn.Linear(2, 2), nn.Linear(2, 2)
    before = module_state(blank)
    settled = settle(blank, source.state_dict())
    assert differences(settled.state_dict(), source.state_dict()) == []
    assert differences(before, module_state(blank)) == []
