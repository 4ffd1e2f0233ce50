"""Networks that are fitted to other sizes, and weights that are drawn anew."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support import toys
from support.tiny import flat
from support.toys import differences
from torch import Tensor, nn

from sltoolkit.errors import SpecError
from sltoolkit.models.resize import reinitialize, resize
from sltoolkit.streams import Stream


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(),
        nn.Linear(4 * 6 * 6, 5), nn.ReLU(), nn.Linear(5, 3),
    )  # fmt: skip


def test_a_network_that_fits_is_copied_as_it_is() -> None:
    original = network()

    fitted = resize(original, torch.rand(2, 2, 8, 8), Stream(0))

    assert fitted is not original
    for a, b in zip(fitted.state_dict().values(), original.state_dict().values(), strict=True):
        assert torch.equal(a, b)
        assert a.data_ptr() != b.data_ptr()


def test_only_the_linear_layer_that_does_not_fit_is_drawn_anew() -> None:
    original = network()

    fitted = resize(original, torch.rand(2, 2, 10, 7), Stream(0))

    assert fitted.eval()(torch.rand(3, 2, 10, 7)).shape == (3, 3)
    state, before = fitted.state_dict(), original.state_dict()
    changed = {name for name in state if state[name].shape != before[name].shape}
    assert changed == {"4.weight"}
    kept = set(state) - changed - {"4.bias"}
    assert all(torch.equal(state[name], before[name]) for name in kept)


def test_the_original_its_modes_and_its_statistics_stay() -> None:
    original = network()
    original[1].eval()
    before = {name: t.clone() for name, t in original.state_dict().items()}

    fitted = resize(original, torch.rand(2, 2, 10, 10), Stream(0))

    assert all(torch.equal(t, before[name]) for name, t in original.state_dict().items())
    modes = [layer.training for layer in original.modules()]
    assert [layer.training for layer in fitted.modules()] == modes
    assert not any(layer._forward_pre_hooks for layer in fitted.modules())


def test_new_weights_are_a_function_of_the_stream_and_global_generators_stay() -> None:
    original, x = network(), torch.rand(2, 2, 10, 10)
    before = torch.get_rng_state()

    fitted = [resize(original, x, Stream(seed)) for seed in (0, 0, 1)]

    assert torch.equal(torch.get_rng_state(), before)
    first, again, other = (net.state_dict()["4.weight"] for net in fitted)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_dtype_is_kept() -> None:
    fitted = resize(network().double(), torch.rand(2, 2, 10, 10).double(), Stream(0))

    assert {t.dtype for t in fitted.parameters()} == {torch.float64}


def test_another_layer_that_does_not_fit_is_refused() -> None:
    with pytest.raises(SpecError, match="can't take inputs of shape 3x8x8, even with linear"):
        resize(network(), torch.rand(2, 3, 8, 8), Stream(0))


class _Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.full((3, 50), 7.0))
        self.vector = nn.Parameter(torch.full((50,), 7.0))


def test_nothing_of_what_was_learned_is_left() -> None:
    whole = nn.Sequential(network(), _Own())
    with torch.no_grad():
        for weight in whole.parameters():
            weight.fill_(7.0)
        whole[0][1].running_mean.fill_(7.0)  # type: ignore[index]

    reinitialize(whole)

    assert not [name for name, t in whole.state_dict().items() if bool((t == 7.0).any())]


def test_custom_weights_get_the_variance_of_their_inputs() -> None:
    own = _Own()
    torch.manual_seed(0)

    reinitialize(own)

    assert float(own.matrix.detach().std()) == pytest.approx(50**-0.5, rel=0.2)
    assert float(own.vector.detach().std()) == pytest.approx(1.0, rel=0.3)


@pytest.mark.golden
def test_refit_changes_linear_layers_only_and_restores_the_mode() -> None:
    x = torch.rand(2, 1, 6, 3)
    wide, last = nn.Linear(32, 4), nn.Linear(4, 2)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), wide, last)
    state = torch.get_rng_state()
    fitted = resize(net, x, Stream(0))
    assert torch.equal(torch.get_rng_state(), state)
    assert fitted.training
    assert fitted(x).shape == (2, 2)
    assert isinstance(fitted, nn.Sequential)
    assert (wide.in_features, wide.weight.shape) == (32, (4, 32))
    assert fitted[2].weight.shape == (4, 8)
    assert torch.equal(flat(fitted[0], fitted[3]), flat(net[0], last))
    assert torch.equal(flat(resize(net, x, Stream(0))), flat(fitted))
    assert not torch.equal(flat(resize(net, x, Stream(1))), flat(fitted))
    with pytest.raises(SpecError, match="can't take inputs of shape 1x6x2"):
        resize(net, x[..., :2], Stream(0))
    with pytest.raises(SpecError, match="can't take inputs of shape 2x6x3"):
        resize(net, x.expand(2, 2, 6, 3), Stream(0))


def test_reinitializing_draws_every_weight_from_the_scope() -> None:
    def drawn(seed: int, start: Callable[[Tensor], Tensor]) -> dict[str, Any]:
        module = nn.Sequential(toys.network("batch"), nn.MultiheadAttention(4, 2), nn.PReLU())
        for p in module.parameters():
            p.data = start(p.data)
        with Stream(seed).scope():
            reinitialize(module)
        return module.state_dict()

    zeros, ones = drawn(0, torch.zeros_like), drawn(0, torch.ones_like)
    assert differences(zeros, ones) == []  # nothing is left of what was there
    assert differences(zeros, drawn(1, torch.zeros_like)) != []


def test_a_frozen_layer_is_not_drawn_anew_for_another_size() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 4), nn.Linear(4, 2))
    net[1].requires_grad_(False)

    assert torch.equal(flat(resize(net, torch.rand(2, 3, 3), Stream(0))), flat(net))
    with pytest.raises(SpecError, match=r"frozen linear layer expects 9 inputs and would get 6"):
        resize(net, torch.rand(2, 3, 2), Stream(0))
