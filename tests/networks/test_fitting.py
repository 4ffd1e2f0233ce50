"""The training of inverse networks: length, batches, chunks."""

import pytest
import torch
from torch import Tensor, nn

from sltoolkit.metrics.losses import LOSSES
from sltoolkit.networks.fitting import Fit, decode, fit_inverse, inverse_error
from sltoolkit.networks.inverse import inverse_network
from sltoolkit.streams import Stream


def pairs(n: int = 40) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    x = torch.rand(n, 4, generator=g)
    return x @ torch.randn(4, 6, generator=g), x


def fitted(
    z: Tensor, x: Tensor, network: nn.Module | None = None, *, steps: int, batch_size: int = 64
) -> nn.Module:
    with Stream(0).scope():
        if network is None:
            network = inverse_network(z.shape[1:], x.shape[1:], mean=x.mean(0))
        how = Fit(steps=steps, loss=LOSSES["mse"], batch_size=batch_size)
        return fit_inverse(network, lambda rows: z[rows], x, how=how)


def test_training_lowers_the_error_below_that_of_the_mean() -> None:
    z, x = pairs()

    network = fitted(z, x, steps=30)

    assert (
        inverse_error(network, z, x, loss=LOSSES["mse"])
        < 0.5 * x.var(0, correction=0).mean().item()
    )


def test_no_step_leaves_what_it_starts_from() -> None:
    z, x = pairs()

    network = fitted(z, x, steps=0)

    assert not network.training
    with Stream(0).scope():
        fresh = inverse_network(z.shape[1:], x.shape[1:], mean=x.mean(0)).eval()
    assert torch.equal(decode(network, z), decode(fresh, z))


@pytest.mark.parametrize("n", [1, 17, 33])
def test_a_last_batch_of_one_does_not_break_batchnorm(n: int) -> None:
    z, x = torch.rand(n, 3, 4, 4), torch.rand(n, 1, 8, 8)
    if n == 1:  # a map has several places per channel, so that one sample has a variance
        assert decode(fitted(z, x, steps=1), z).shape == x.shape
        return

    network = fitted(z.flatten(1), x, steps=3, batch_size=16)

    assert decode(network, z.flatten(1)).shape == x.shape


def test_a_given_network_is_trained_in_place() -> None:
    z, x = pairs()
    network = nn.Linear(6, 4)
    before = network.weight.detach().clone()

    found = fitted(z, x, network, steps=1)

    assert found is network
    assert not torch.equal(network.weight, before)


def test_decoding_in_chunks_is_decoding_at_once_without_a_graph() -> None:
    z, x = pairs()
    network = fitted(z, x, steps=2).train()

    found = decode(network, z, chunk=7)

    assert not found.requires_grad
    assert not network.training
    torch.testing.assert_close(found, decode(network, z, chunk=1000))
