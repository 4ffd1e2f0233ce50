"""The inverse network: memory formats and ranges."""

import torch

from sltoolkit.networks.fitting import decode
from sltoolkit.networks.inverse import inverse_network


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
