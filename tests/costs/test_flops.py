"""FLOPs and weights of the parts of a network: against closed forms."""

import copy
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pooch
import pytest
import torch
from torch import nn

from sltoolkit.costs import (
    PartCost,
    latency,
    registered_costs,
    split_costs,
    u_shaped_workload,
)
from sltoolkit.data.registry import DATASETS, facts, pool
from sltoolkit.errors import DataError, SpecError
from sltoolkit.models import MODELS, build, profile_cuts

pytestmark = pytest.mark.golden

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def test_linear_layers_cost_what_matrix_products_cost() -> None:
    # Forward and each of the two gradients are a product of 2mn; the input needs no gradient.
    model = nn.Sequential(nn.Linear(7, 5), nn.ReLU(inplace=True), nn.Linear(5, 3))
    first, second = split_costs(model, (7,), classes=3)
    one, two = 2 * 7 * 5, 2 * 5 * 3
    assert first.at == "0"
    assert first.client == PartCost(params=40, forward_flops=one, training_flops=2 * one)
    assert first.server == PartCost(params=18, forward_flops=two, training_flops=3 * two)
    assert second.client == first.client
    assert first.whole == second.whole


def test_convolutions_cost_what_their_closed_form_says() -> None:
    # A gradient costs a convolution as its forward pass does: 2 * out * in * kernel * places.
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3, padding=1))
    first, second = split_costs(model, (2, 8, 8), classes=2)
    one, two = 2 * 3 * 2 * 9 * 36, 2 * 4 * 3 * 9 * 36
    assert first.client == PartCost(params=57, forward_flops=one, training_flops=2 * one)
    assert second.client.buffers == 6  # means and variances, not the counter of batches
    assert second.server == PartCost(params=112, forward_flops=two, training_flops=3 * two)
    assert second.workload(clients=2, samples=10).cut_width == 3 * 36


def test_the_auxiliary_head_is_a_classifier_of_the_pooled_channels() -> None:
    images = split_costs(nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(),
                                       nn.Linear(54, 2)), (1, 5, 5), classes=4)  # fmt: skip
    product = 2 * 6 * 4
    assert images[0].auxiliary == PartCost(
        params=28, forward_flops=product, training_flops=3 * product
    )
    flat = 2 * 54 * 4
    assert images[-1].at == "2"
    assert images[-1].auxiliary.forward_flops == flat


@pytest.mark.parametrize("name", MODELS)
def test_every_legal_cut_agrees_with_its_profile(name: str) -> None:
    shape = {"lenet": (1, 28, 28), "ecg_cnn": (1, 32)}.get(name, (3, 16, 16))
    costs = registered_costs(name, shape, classes=10)
    module = build(name, shape=shape, classes=10)
    profiles = profile_cuts(module, shape)
    assert [c.at for c in costs] == [p.at for p in profiles]
    for cost, profile in zip(costs, profiles, strict=True):
        assert cost.shape == profile.shape
        assert cost.client.params == profile.parameters
        assert cost.client.forward_flops == profile.flops
        assert cost.whole == costs[0].whole
    whole = costs[0].whole
    assert whole.params == sum(p.numel() for p in module.parameters())
    assert 2 * whole.forward_flops < whole.training_flops < 3 * whole.forward_flops


def test_a_network_cut_twice_adds_both_widths_and_counts_the_tail() -> None:
    costs = {c.at: c for c in registered_costs("mlp", (1, 8, 8), classes=10)}
    first, second = costs["relu1"], list(costs.values())[-1]
    work = u_shaped_workload(first, second, clients=4, samples=100)
    assert work.cut_width == sum(c.shape[0] for c in (first, second))
    assert work.client_params == first.client.params + second.server.params
    assert work.params == first.whole.params


def test_the_model_and_the_generators_stay_as_they_were() -> None:
    model = build("resnet20", shape=(3, 8, 8), classes=2, norm="batch").train()
    model[0].requires_grad_(False)
    state, generator = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    split_costs(model, (3, 8, 8), classes=2)
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(p.grad is None for p in model.parameters())
    assert model.training
    assert not next(model.parameters()).requires_grad


def test_seconds_are_flops_over_speed() -> None:
    cost = split_costs(nn.Sequential(nn.Linear(7, 5), nn.Linear(5, 3)), (7,), classes=3)[0]
    case = latency.from_flops(
        cost, clients=2, samples=10, rate=5, client_flops=100, server_flops=1000
    )
    assert astuple(case)[1:] == (5, 1.4, 0.09, 2.3, 18, 3 * 2 * 5 * 3 / 100)
    with pytest.raises(SpecError, match="server_flops must be above 0"):
        latency.from_flops(cost, clients=2, samples=10, rate=5, client_flops=100, server_flops=0)


def test_mistakes_are_explained() -> None:
    with pytest.raises(SpecError, match="did you mean 'resnet18'"):
        registered_costs("resnet-18", (3, 8, 8), classes=2)
    with pytest.raises(SpecError, match="can't be cut anywhere"):
        split_costs(nn.Sequential(nn.Linear(2, 2)), (2,), classes=2)


@pytest.mark.parametrize("name", sorted(DATASETS.keys() - {"cifar10_jpeg"}))
def test_the_facts_of_a_data_set_are_those_of_its_files(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(**_: Any) -> None:
        raise OSError("nothing downloads in a test")

    monkeypatch.setattr(pooch, "retrieve", unreachable)
    try:
        whole = pool(name, root=DATA)
    except DataError as error:
        pytest.skip(f"no files of {name}: {error}")
    shape, classes, samples = facts(name)
    assert shape == tuple(whole.samples.x.shape[1:])
    assert classes == len(whole.classes)
    if DATASETS[name].embedded:
        assert samples == len(whole)


def test_compressed_images_have_the_facts_of_the_original_ones() -> None:
    assert facts("cifar10_jpeg") == facts("cifar10")


def test_the_official_training_parts_have_their_published_sizes() -> None:
    sizes = {name: facts(name)[2] for name in ("mnist", "fashion_mnist", "cifar10")}
    assert sizes == {"mnist": 60_000, "fashion_mnist": 60_000, "cifar10": 50_000}
