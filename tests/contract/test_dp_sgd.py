"""DP-SGD on the client part through opacus: module, optimizer and sampler are wrapped."""

import copy
import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from support.toys import differences, seated, split, victim, witness
from torch import Tensor, nn

from contract.example_defenses import DPSGD, Poisson, Refuse
from sltoolkit.contracts.chain import Chain
from sltoolkit.contracts.defense import PartySetup
from sltoolkit.parties.honest import HonestServer
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import UShaped, Vanilla
from sltoolkit.testing.careless import Careless
from sltoolkit.training.guarded import Guarded
from sltoolkit.training.phases import deploy
from sltoolkit.training.run import Run

# opacus hooks layers whose inputs need no gradient, and torch warns at the first one
pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")

PLAIN = Training(epochs=2, batch_size=16, lr=0.1, optimizer="sgd")
EXACT = DPSGD(noise_multiplier=0.0, clip=1e6, expected=16)
EMPTY = Poisson(rate=0.0, steps=120)


def client_state(run: Run) -> dict[str, Any]:
    """The weights of the client as deployed."""
    return deploy(run)[0][0].client.state_dict()


@pytest.mark.parametrize("batch", [1, 7])
def test_per_example_gradients_equal_a_loop(batch: int) -> None:
    run = seated(EXACT, dropout=0.0, training=PLAIN, double=True)
    member, server = run.cast.clients[0], run.cast.server.party
    assert isinstance(server, HonestServer)
    plain = copy.deepcopy(run.parts[0]).train()
    x, y = member.samples.x[:batch], member.samples.y[:batch]
    z = member.party.forward(x)
    rows = server.step(z.detach().clone(), y)
    # for a mean over the batch, each row is 1/batch of that example's own gradient
    expected = [_gradients(plain, x[i : i + 1], batch * rows[i : i + 1]) for i in range(batch)]
    member.party.update(z, rows, None)
    found: list[Tensor] = [vars(p)["grad_sample"] for p in member.party.module.parameters()]
    for k, per_example in enumerate(found):
        torch.testing.assert_close(per_example, torch.stack([g[k] for g in expected]))


def _gradients(module: nn.Module, x: Tensor, row: Tensor) -> list[Tensor]:
    module.zero_grad()
    module(x).backward(row)
    return [p.grad.clone() for p in module.parameters() if p.grad is not None]


@pytest.mark.parametrize("protocol", [Vanilla(), UShaped(), Vanilla(clients=3)])
def test_zero_noise_and_no_clip_equal_sgd(protocol: Vanilla | UShaped) -> None:
    private, plain = (
        witness(seated(d, training=PLAIN, protocol=protocol, double=True)).run
        for d in (EXACT, None)
    )
    fresh = client_state(seated(None, training=PLAIN, protocol=protocol, double=True))
    for name, value in client_state(plain).items():
        assert (value - fresh[name]).abs().max() > 1e-3  # they did learn
        torch.testing.assert_close(client_state(private)[name], value, rtol=1e-9, atol=1e-12)


def test_clipping_bounds_what_one_example_can_do() -> None:
    bound = 1e-3
    tight = DPSGD(noise_multiplier=0.0, clip=bound, expected=16)
    start, run = (seated(tight, training=PLAIN, double=True) for _ in range(2))
    witness(run, epochs=1)
    moved = _flat(client_state(run)) - _flat(client_state(start))
    assert 0 < float(moved.norm()) <= 3 * PLAIN.lr * bound  # three full batches of 16


def test_an_empty_batch_still_adds_noise_and_moves_nobody_else() -> None:
    noisy = DPSGD(noise_multiplier=2.0, clip=0.5, expected=16, sampling=EMPTY)
    start, run = (seated(noisy, training=PLAIN) for _ in range(2))
    seen = witness(run, epochs=1)
    moved = _flat(client_state(run)) - _flat(client_state(start))
    assert (moved != 0).all()
    assert isinstance(run.cast.server.party, HonestServer)
    assert isinstance(start.cast.server.party, HonestServer)
    states = (r.cast.server.party.module.state_dict() for r in (start, run))  # type: ignore[union-attr]
    assert differences(*states) == []
    assert {len(p) for p in seen.payloads("smashed")} == {0}


def test_the_noise_of_an_averaged_gradient_has_the_stated_std() -> None:
    sigma, clip, expected = 1.5, 0.8, 20
    noisy = DPSGD(noise_multiplier=sigma, clip=clip, expected=expected, sampling=EMPTY)
    watch = Refuse(steps=())  # it refuses nothing, and notes the weights after every batch
    run = seated(Chain(noisy, watch), training=Training(lr=1.0, optimizer="sgd"))
    witness(run, epochs=1)
    member = run.cast.clients[0].defense
    assert isinstance(member, Guarded)
    assert isinstance(member.inner, Chain)
    weights: list[Tensor] = vars(member.inner.links[1])["weights"]
    steps = torch.stack([after - before for before, after in itertools.pairwise(weights)])
    assert steps.shape == (EMPTY.steps - 1, 48)
    assert float(steps.std()) == pytest.approx(sigma * clip / expected, rel=0.05)
    assert abs(float(steps.mean())) < 0.05 * sigma * clip / expected


def _flat(state: dict[str, Any]) -> Tensor:
    return torch.cat([v.flatten() for v in state.values()])


def test_poisson_batches_of_any_size_train_a_victim() -> None:
    sampling = Poisson(rate=0.05, steps=12)
    seen = witness(seated(DPSGD(expected=2, sampling=sampling), training=PLAIN), epochs=1)
    sizes = [len(p) for p in seen.payloads("smashed")]
    assert len(sizes) == 12
    assert min(sizes) == 0
    assert max(sizes) > 2


def test_the_noise_is_the_clients_own() -> None:
    runs = [witness(seated(DPSGD(), training=PLAIN, seed=s)).run for s in (0, 0, 1)]
    states = [client_state(run) for run in runs]
    assert differences(states[0], states[1]) == []
    assert differences(states[0], states[2]) != []


def test_what_is_deployed_is_the_plain_network() -> None:
    trained = victim(DPSGD(), training=PLAIN)
    assert type(trained.client.client) is nn.Sequential
    z = trained.client.client(split().private_holdout.x)
    assert z.shape == (18, 4, 8, 8)


def test_the_label_sides_network_can_be_wrapped_too() -> None:
    class AtTheServer(DPSGD):
        def begin(self, setup: PartySetup) -> PartySetup:
            if setup.side == "client":
                return setup
            relu = setup.module.get_submodule("relu2")
            assert isinstance(relu, nn.ReLU)
            relu.inplace = False  # opacus can't hook in-place layers
            return super().begin(replace(setup, side="client"))

    bound = 1e-3
    tight = AtTheServer(noise_multiplier=0.0, clip=bound, expected=16)
    start, run = (seated(tight, training=PLAIN) for _ in range(2))
    witness(run, epochs=1)
    moved = _flat(deploy(run)[1].state_dict()) - _flat(deploy(start)[1].state_dict())
    assert 0 < float(moved.norm()) <= 3 * PLAIN.lr * bound * 1.01


def test_a_listener_at_the_client_hears_a_private_training() -> None:
    class AtTheClient(Careless):
        roles = ("client",)

        def listen(self, heard: Any, network: nn.Module) -> None:
            assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 4, 8, 8)

    quiet, heard = (
        witness(seated(DPSGD(), training=PLAIN), listeners=x, grants=frozenset({"smashed"}))
        for x in ([], [AtTheClient()])
    )
    assert differences(client_state(quiet.run), client_state(heard.run)) == []
