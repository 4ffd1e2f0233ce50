"""What codecs remember from message to message: error feedback makes up for what was left out."""

import math
from typing import Any

import pytest
import torch
from support.reducers import rng, through
from torch import Tensor

from sltoolkit.bench.build import table_into
from sltoolkit.errors import ProtocolError, SpecError
from sltoolkit.wire.codec import Codec
from sltoolkit.wire.reducers import REDUCERS, HalfPrecision, TopK


def test_samples_leave_nothing_behind_for_the_next_batch() -> None:
    codec = TopK(fraction=0.3).begin()
    for i in range(3):
        t = torch.randn(4, 9, generator=rng(i))
        got, *_ = codec.send(t, route="up", content="samples")
        assert torch.equal(got, through(TopK(fraction=0.3), t))
    assert "memory" not in codec.state_dict()["up"]


def test_updates_and_what_is_remembered_add_up_to_what_was_sent() -> None:
    codec = TopK(fraction=0.2).begin()
    sent = torch.randn(30, 4, 5, generator=rng(), dtype=torch.float64)
    got = [codec.send(g, route="weight", content="update") for g in sent]
    memory = codec.state_dict()["weight"]["memory"]
    torch.testing.assert_close(sum(t for t, *_ in got) + memory, sent.sum(0), rtol=0, atol=1e-12)
    assert {n for _, n, _ in got} == {4 * (8 + 4)}
    assert torch.equal(got[0][0], through(TopK(fraction=0.2), sent[0], per_sample=False))


def descend(codec: Codec, lr: float, steps: int) -> Tensor:
    """Two workers whose gradients x + a and x - a disagree only, but strongly, in x_0."""
    x = torch.tensor([0.7, -1.0, 2.0, 0.5, 1.0], dtype=torch.float64)
    a = torch.tensor([4.0, 0, 0, 0, 0], dtype=torch.float64)
    for _ in range(steps):
        up, *_ = codec.send(x + a, route="worker 0", content="update")
        down, *_ = codec.send(x - a, route="worker 1", content="update")
        x = x - lr * (up + down) / 2
    return x


def test_feedback_converges_where_plain_top_k_stalls() -> None:
    # the one number kept is always x_0's, where the workers cancel; the others never move
    stalled = descend(TopK(fraction=0.2, feedback=False).begin(), lr=0.01, steps=3000)
    assert stalled[1:].tolist() == [-1.0, 2.0, 0.5, 1.0]
    start = math.sqrt(0.7**2 + 1 + 4 + 0.25 + 1)
    coarse = descend(TopK(fraction=0.2).begin(), lr=0.04, steps=750).norm().item()
    fine = descend(TopK(fraction=0.2).begin(), lr=0.01, steps=3000).norm().item()
    assert coarse < 0.05 * start
    assert fine < coarse / 3  # the rest is the wobble of a finite step


def test_weights_arrive_in_full_first_and_then_as_differences() -> None:
    codec = TopK(fraction=0.25).begin()
    w = torch.randn(2, 8, generator=rng(), dtype=torch.float64)
    got, nbytes, _ = codec.send(w, route="w", content="state")
    assert torch.equal(got, w)
    assert nbytes == 16 * 8
    delivered = w.clone()
    got.zero_()  # the receiver may change its copy
    assert torch.equal(w, delivered)
    w.add_(torch.randn(2, 8, generator=rng(1), dtype=torch.float64))  # and the sender trains on
    for _ in range(4):  # 4 quarters of the same weights, the largest differences first
        delivered += through(TopK(fraction=0.25), w - delivered, per_sample=False)
        got, nbytes, _ = codec.send(w, route="w", content="state")
        torch.testing.assert_close(got, delivered, rtol=0, atol=1e-12)
        assert nbytes == 4 * (8 + 4)
        got.zero_()
    torch.testing.assert_close(delivered, w, rtol=0, atol=1e-12)


@pytest.mark.parametrize("content", ["update", "state"])
def test_a_run_goes_on_from_its_state(content: Any) -> None:
    sent = torch.randn(6, 20, generator=rng())
    whole, first, second = (TopK().begin() for _ in range(3))
    for t in sent[:3]:
        whole.send(t, route=("client", 0), content=content)
        first.send(t, route=("client", 0), content=content)
    second.load_state_dict(first.state_dict())
    for t in sent[3:]:
        expected, *_ = whole.send(t, route=("client", 0), content=content)
        got, *_ = second.send(t, route=("client", 0), content=content)
        assert torch.equal(got, expected)
    assert second.errors == whole.errors


@pytest.mark.parametrize("content", ["update", "state"])
def test_one_route_for_tensors_of_several_shapes_is_refused(content: Any) -> None:
    codec = TopK().begin()
    codec.send(torch.ones(3, 2), route="weights", content=content)
    with pytest.raises(ProtocolError, match=r"expected .*\(3, 2\).*got \(4,\).*route of its own"):
        codec.send(torch.ones(4), route="weights", content=content)


def test_a_single_number_has_no_samples() -> None:
    with pytest.raises(ProtocolError, match="per_sample=False"):
        HalfPrecision().pack(torch.tensor(1.0))


@pytest.mark.parametrize(
    ("name", "bad", "said"),
    [
        (
            "quantize",
            {"bits": 0},
            "bits must be a whole number of at least 1 and at most 16, got 0",
        ),
        ("quantize", {"bits": 17}, "got 17"),
        ("top_k", {"fraction": 0.0}, "fraction must be a number above 0 and at most 1, got 0.0"),
        ("top_k", {"fraction": 1.1}, "got 1.1"),
        ("top_k", {"fraction": math.nan}, "got nan"),
        ("half", {"format": "fp8"}, "format must be one of 'fp16', 'bf16', got 'fp8'"),
        (
            "half",
            {"kinds": ("labels",)},
            "kinds must be a list of 'smashed', 'smashed_grad', 'weights', got",
        ),
        ("half", {"kinds": ("smashd",)}, "did you mean 'smashed'"),
    ],
)
def test_a_bad_parameter_is_refused(name: str, bad: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        REDUCERS[name](**bad)


def test_a_reducer_is_made_from_a_spec_table() -> None:
    table = {"fraction": 0.2, "kinds": ["smashed_grad", "weights"]}
    made = table_into(REDUCERS["top_k"], table, "reducer")
    assert made == TopK(fraction=0.2, kinds=("smashed_grad", "weights"))
    with pytest.raises(SpecError, match=r"reducer.kinds"):
        table_into(REDUCERS["top_k"], {"kinds": ["labels"]}, "reducer")
