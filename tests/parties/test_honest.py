"""The honest parties, each on its own."""

import copy

import pytest
import torch
from torch import Tensor, nn

from sltoolkit.parties.honest import HonestClient, HonestMiddle, HonestServer
from sltoolkit.streams import Stream


def linear(seed: int = 0, *, inputs: int = 3, outputs: int = 2) -> nn.Linear:
    with Stream(seed).scope():
        return nn.Linear(inputs, outputs).double()


def sgd(module: nn.Module, lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD(module.parameters(), lr=lr, momentum=0.9)


def state(module: nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in module.state_dict().items()}


def unchanged(module: nn.Module, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def batch(n: int = 4, width: int = 3) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(n)
    return torch.randn(n, width, generator=g, dtype=torch.float64), torch.arange(n) % 2


# ---- client --------------------------------------------------------------------------------------


def test_a_client_follows_the_gradient_it_gets_and_a_further_loss() -> None:
    module, oracle = linear(), linear()
    client = HonestClient(module, sgd(module), Stream(0))
    x, _ = batch()
    z = client.forward(x)
    back = torch.ones_like(z)
    client.update(z, back, extra=z.square().sum())
    loss = oracle(x).sum() + oracle(x).square().sum()
    loss.backward()
    sgd(oracle).step()
    torch.testing.assert_close(module.weight, oracle.weight, rtol=0, atol=1e-12)
    torch.testing.assert_close(module.bias, oracle.bias, rtol=0, atol=1e-12)


def test_a_refused_batch_teaches_nothing_not_even_by_momentum_or_a_further_loss() -> None:
    module = linear()
    client = HonestClient(module, sgd(module), Stream(0))
    x, _ = batch()
    z = client.forward(x)
    client.update(z, torch.ones_like(z), None)
    before = state(module)
    z = client.forward(x)
    client.update(z, None, extra=z.sum())
    assert unchanged(module, before)


def test_gradients_do_not_add_up_over_batches() -> None:
    module = linear()
    client = HonestClient(module, None, Stream(0))
    x, _ = batch()
    for _ in range(2):
        z = client.forward(x)
        client.update(z, torch.ones_like(z), None)
    assert module.weight.grad is not None
    torch.testing.assert_close(module.weight.grad, x.sum(0).expand(2, 3))


def test_a_client_without_parameters_takes_part() -> None:
    client = HonestClient(nn.ReLU(), None, Stream(0))
    z = client.forward(batch()[0])
    client.update(z, torch.ones_like(z), None)
    assert not z.requires_grad


def test_a_client_draws_dropout_from_its_own_stream() -> None:
    first, second = (HonestClient(nn.Dropout(0.5), None, Stream(4)) for _ in range(2))
    x = torch.ones(50)
    expected = [first.forward(x), first.forward(x)]
    got = [second.forward(x)]
    torch.rand(10)  # another party draws
    got.append(second.forward(x))
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
    assert not torch.equal(*expected)


# ---- server and middle ---------------------------------------------------------------------------


def test_a_server_returns_the_gradient_of_the_mean_loss_and_steps() -> None:
    module, oracle = linear(), linear()
    server = HonestServer(module, sgd(module), Stream(0))
    z, y = batch()
    g = server.step(z.clone(), y)
    leaf = z.clone().requires_grad_()
    loss = nn.functional.cross_entropy(oracle(leaf), y)
    loss.backward()
    sgd(oracle).step()
    assert leaf.grad is not None
    torch.testing.assert_close(g, leaf.grad, rtol=0, atol=1e-12)
    torch.testing.assert_close(module.weight, oracle.weight, rtol=0, atol=1e-12)
    torch.testing.assert_close(server.take_losses(), loss.detach()[None])
    assert len(server.take_losses()) == 0


@pytest.mark.parametrize("width", [2, 3])
def test_a_first_layer_that_works_in_place_gives_the_same_as_one_that_does_not(width: int) -> None:
    z, y = batch(width=width)
    found = []
    for inplace in (False, True):
        server = HonestServer(
            nn.Sequential(nn.ReLU(inplace=inplace), linear(inputs=width)), None, Stream(0)
        )
        middle = HonestMiddle(nn.Sequential(nn.ReLU(inplace=inplace)), None, Stream(0))
        out = middle.forward(z.clone())
        found.append((server.step(z.clone(), y), out, middle.backward(torch.ones_like(out))))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert torch.equal(found[1][2], (z > 0).double())


def test_a_middle_passes_the_gradient_on_and_steps() -> None:
    module, oracle = linear(), linear()
    middle = HonestMiddle(module, sgd(module), Stream(0))
    z, _ = batch()
    out = middle.forward(z.clone())
    g = middle.backward(torch.ones_like(out))
    torch.testing.assert_close(g, oracle.weight.sum(0).expand(4, 3), rtol=0, atol=1e-12)
    oracle(z).sum().backward()
    sgd(oracle).step()
    torch.testing.assert_close(module.weight, oracle.weight, rtol=0, atol=1e-12)


def test_an_empty_batch_moves_neither_server_nor_middle() -> None:
    z, y = batch()
    module = linear()
    server = HonestServer(module, sgd(module), Stream(0))
    server.step(z.clone(), y)  # momentum would move it from now on
    before = state(module)
    assert server.step(z[:0].clone(), y[:0]).shape == (0, 3)
    assert unchanged(module, before)
    assert len(server.take_losses()) == 1

    inner = linear()
    middle = HonestMiddle(inner, sgd(inner), Stream(0))
    middle.backward(torch.ones_like(middle.forward(z.clone())))
    before = state(inner)
    assert middle.backward(torch.ones_like(middle.forward(z[:0].clone()))).shape == (0, 3)
    assert unchanged(inner, before)


# ---- standing still ------------------------------------------------------------------------------


def normed() -> nn.Sequential:
    return nn.Sequential(linear(), nn.BatchNorm1d(2).double())


@pytest.mark.parametrize("with_optimizer", [False, True])
def test_a_party_that_stands_still_moves_neither_weights_nor_buffers(with_optimizer: bool) -> None:
    z, y = batch()
    parties: list[HonestClient | HonestMiddle | HonestServer] = []
    for kind in (HonestClient, HonestMiddle, HonestServer):
        module = normed()
        parties.append(kind(module, sgd(module) if with_optimizer else None, Stream(0)))
    for party in parties:
        party.learn(not with_optimizer)  # without an optimizer it stands still in any case
        before = state(party.module)
        if isinstance(party, HonestServer):
            g = party.step(z.clone(), y)
        elif isinstance(party, HonestMiddle):
            g = party.backward(torch.ones_like(party.forward(z.clone())))
        else:
            g = party.forward(z)
            party.update(g, torch.ones_like(g), None)
        assert g.abs().sum() > 0
        assert not party.module.training
        assert unchanged(party.module, before)


def test_a_party_that_learns_again_trains_again() -> None:
    z, y = batch()
    module = normed()
    server = HonestServer(module, sgd(module), Stream(0))
    server.learn(False)
    server.learn(True)
    before = state(module)
    twin = copy.deepcopy(module)
    server.step(z.clone(), y)
    assert module.training
    assert not unchanged(module, before)
    assert unchanged(twin, before)


def test_a_part_that_returns_no_tensor_is_named() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    with pytest.raises(TypeError, match="returned tuple"):
        HonestClient(Pair(), None, Stream(0)).forward(batch()[0])
