"""The inverse network's training: batches, memory formats, and ranges."""

import pytest
import torch
from torch import Tensor, nn

from sltoolkit.networks.inverse import decode, fit_inverse, inverse_error, inverse_network
from sltoolkit.streams import Stream


def pairs(n: int = 40) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    x = torch.rand(n, 4, generator=g)
    return x @ torch.randn(4, 6, generator=g), x


def fitted(z: Tensor, x: Tensor, **options: object) -> nn.Module:
    with Stream(0).scope():
        return fit_inverse(z, x, **options)  # type: ignore[arg-type]


def test_training_lowers_the_error_below_that_of_the_mean() -> None:
    z, x = pairs()

    network = fitted(z, x, epochs=30)

    assert inverse_error(network, z, x) < 0.5 * x.var(0, correction=0).mean().item()


def test_no_epoch_leaves_what_it_starts_from() -> None:
    z, x = pairs()

    network = fitted(z, x, epochs=0)

    assert not network.training
    with Stream(0).scope():
        fresh = inverse_network(z.shape[1:], x.shape[1:], mean=x.mean(0)).eval()
    assert torch.equal(decode(network, z), decode(fresh, z))


@pytest.mark.parametrize("n", [1, 17, 33])
def test_a_last_batch_of_one_does_not_break_batchnorm(n: int) -> None:
    z, x = torch.rand(n, 3, 4, 4), torch.rand(n, 1, 8, 8)
    if n == 1:  # a map has several places per channel, so that one sample has a variance
        assert decode(fitted(z, x, epochs=1), z).shape == x.shape
        return

    network = fitted(z.flatten(1), x, epochs=1, batch_size=16)

    assert decode(network, z.flatten(1)).shape == x.shape


def test_a_given_network_is_trained_in_place() -> None:
    z, x = pairs()
    network = nn.Linear(6, 4)
    before = network.weight.detach().clone()

    found = fitted(z, x, network=network, epochs=1)

    assert found is network
    assert not torch.equal(network.weight, before)


def test_decoding_in_chunks_is_decoding_at_once_without_a_graph() -> None:
    z, x = pairs()
    network = fitted(z, x, epochs=2).train()

    found = decode(network, z, chunk=7)

    assert not found.requires_grad
    assert not network.training
    torch.testing.assert_close(found, decode(network, z, chunk=1000))


def test_images_stay_in_range_and_features_do_not() -> None:
    image = inverse_network((3, 4, 4), (1, 8, 8))
    far = 1e3 * torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    features = inverse_network((5,), (3,), mean=torch.tensor([-7.0, 0.0, 7.0]), scaled=False)

    assert float(image(far).detach().min()) >= 0
    assert float(image(far).detach().max()) <= 1
    assert decode(features, torch.zeros(1, 5))[0, 2].item() > 1


def test_the_memory_format_of_smashed_data_does_not_matter() -> None:
    network = inverse_network((3, 4, 4), (1, 8, 8)).eval()
    z = torch.rand(2, 3, 4, 4)

    last = decode(network, z.contiguous(memory_format=torch.channels_last))

    torch.testing.assert_close(last, decode(network, z))
