"""What reducers put on the wire, what arrives, and what error feedback makes up for."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from sltoolkit.bench.build import table_into
from sltoolkit.codec import Codec, Reducer
from sltoolkit.errors import ProtocolError, SpecError
from sltoolkit.reducers import REDUCERS, HalfPrecision, Quantised, TopK

ALL: list[Reducer] = [
    HalfPrecision(), HalfPrecision(format="bf16"), TopK(), TopK(fraction=1.0),
    *(Quantised(bits=bits) for bits in range(1, 17)),
]  # fmt: skip
ONE_EACH = [HalfPrecision(), Quantised(bits=5), TopK(fraction=0.3)]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def through(reducer: Reducer, t: Tensor, *, per_sample: bool = True) -> Tensor:
    return reducer.unpack(reducer.pack(t, per_sample=per_sample))


def step_of(rows: Tensor, bits: int) -> Tensor:
    low, high = rows.aminmax(dim=1, keepdim=True)
    return high.sub(low).div(2**bits - 1)


@pytest.mark.parametrize("reducer", ALL, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_what_arrives_is_like_what_was_sent(reducer: Reducer, dtype: torch.dtype) -> None:
    for shape in [(3, 7), (2, 3, 4, 5), (5,), (1, 1), (0, 7), (0, 3, 4, 5)]:
        sent = torch.randn(shape, generator=rng()).to(dtype).requires_grad_()
        for per_sample in (True, False):
            got = through(reducer, sent, per_sample=per_sample)
            assert (got.shape, got.dtype, got.device) == (sent.shape, sent.dtype, sent.device)
            assert not got.requires_grad
            assert got.isfinite().all()
            assert sent.numel() == 0 or got.data_ptr() != sent.data_ptr()


@pytest.mark.parametrize("reducer", ALL, ids=repr)
def test_channels_last_stays_so_and_carries_the_same_values(reducer: Reducer) -> None:
    sent = torch.randn(2, 3, 4, 5, generator=rng())
    last = through(reducer, sent.to(memory_format=torch.channels_last))
    assert last.is_contiguous(memory_format=torch.channels_last)
    plain = through(reducer, sent)
    assert plain.is_contiguous()
    assert torch.equal(last, plain)


@pytest.mark.parametrize("bits", range(1, 17))
def test_grid_points_survive_quantisation_exactly(bits: int) -> None:
    codes = torch.randint(2**bits, (4, 53), generator=rng(bits))
    codes[:, 0], codes[:, 1] = 0, 2**bits - 1
    grid = codes.float() / 64 - 3  # step and numbers are exact in float32
    packed = Quantised(bits=bits).pack(grid)
    assert torch.equal(Quantised(bits=bits).unpack(packed), grid)
    assert packed.parts[0].dtype == torch.uint8


@pytest.mark.parametrize("bits", [3, 8, 12])
def test_the_packed_bytes_are_the_codes_one_after_the_other(bits: int) -> None:
    codes = torch.randint(2**bits, (2, 11), generator=rng())
    codes[:, 0], codes[:, 1] = 0, 2**bits - 1
    stream = sum(int(code) << (bits * i) for i, code in enumerate(codes.flatten()))
    expected = stream.to_bytes(math.ceil(22 * bits / 8), "little")
    assert bytes(Quantised(bits=bits).pack(codes.double()).parts[0].tolist()) == expected


@pytest.mark.parametrize("bits", range(1, 17))
def test_quantisation_errs_by_half_a_step_at_most(bits: int) -> None:
    scales = torch.tensor([[1e-3], [1.0], [50.0]], dtype=torch.float64)
    rows = torch.randn(3, 999, generator=rng(), dtype=torch.float64) * scales
    wrong = (through(Quantised(bits=bits), rows) - rows).abs()
    half = step_of(rows, bits) / 2
    assert (wrong <= half * (1 + 1e-9)).all()
    assert (wrong.amax(1, keepdim=True) > 0.9 * half).all()  # the bound is the right one


def test_quantisation_of_short_floats_adds_one_rounding_at_most() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        rows = torch.randn(3, 999, generator=rng()).to(dtype)
        wide, got = rows.double(), through(Quantised(bits=10), rows).double()
        rounding = torch.finfo(dtype).eps * wide.abs().amax()
        assert ((got - wide).abs() <= step_of(wide, 10) / 2 + rounding).all()


@pytest.mark.parametrize("bits", [1, 8, 16])
def test_a_constant_row_arrives_exactly(bits: int) -> None:
    rows = torch.stack([torch.full((9,), 0.3), torch.zeros(9), torch.linspace(0, 1, 9)])
    assert torch.equal(through(Quantised(bits=bits), rows)[:2], rows[:2])


@pytest.mark.parametrize("reducer", ALL, ids=repr)
def test_a_sample_arrives_the_same_whatever_its_batch_mates(reducer: Reducer) -> None:
    batch = torch.randn(4, 6, 5, generator=rng())
    batch[1:] *= 1e3
    assert torch.equal(through(reducer, batch)[:1], through(reducer, batch[:1]))


def test_a_message_about_no_sample_is_one_row() -> None:
    t = torch.tensor([[1.0, 2.0], [30.0, 40.0]])
    got = through(TopK(fraction=0.5), t, per_sample=False)
    assert torch.equal(got, torch.tensor([[0.0, 0.0], [30.0, 40.0]]))
    assert Quantised().pack(t, per_sample=False).nbytes == 4 + 2 * 4
    assert through(Quantised(), torch.tensor(3.5), per_sample=False) == 3.5


@pytest.mark.parametrize(
    ("reducer", "dtype", "smallest", "bound"),
    [
        (HalfPrecision(format="fp16"), torch.float32, 2.0**-14, 2.0**-11),
        (HalfPrecision(format="fp16"), torch.float64, 2.0**-14, 2.0**-11),
        (HalfPrecision(format="bf16"), torch.float32, 1e-30, 2.0**-8),
    ],
)
def test_half_precision_keeps_its_relative_error(
    reducer: Reducer, dtype: torch.dtype, smallest: float, bound: float
) -> None:
    spread = torch.rand(1, 20000, generator=rng(), dtype=torch.float64)
    t = (smallest * (60000 / smallest) ** spread).to(dtype)
    wrong = ((through(reducer, t) - t) / t).abs().amax()
    assert 0.9 * bound < wrong <= bound


@pytest.mark.parametrize("kind", ["fp16", "bf16"])
def test_half_precision_is_exact_on_its_own_numbers(kind: Any) -> None:
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}[kind]
    t = torch.randn(4, 50, generator=rng()).to(dtype)
    for wide in (t, t.float(), t.double()):
        assert torch.equal(through(HalfPrecision(format=kind), wide), wide)


def test_too_large_numbers_become_the_largest_and_not_infinite() -> None:
    t = torch.tensor([[1e30, -1e30, 65504.0, 65519.0, 65520.0]])
    got = through(HalfPrecision(), t)
    assert got.tolist() == [[65504.0, -65504.0, 65504.0, 65504.0, 65504.0]]
    greatest = torch.tensor([[torch.finfo(torch.float32).max]])
    assert through(HalfPrecision(format="bf16"), greatest).item() == torch.finfo(torch.bfloat16).max
    # on the way back, too: the nearest bfloat16 of 65504 is beyond float16
    last = torch.tensor([[65504.0]], dtype=torch.float16)
    assert torch.equal(through(HalfPrecision(format="bf16"), last), last)
    near = torch.tensor([[65536.0]], dtype=torch.bfloat16)
    assert through(HalfPrecision(), near).isfinite().all()


@pytest.mark.parametrize("reducer", [HalfPrecision(), Quantised(), TopK(fraction=0.5)], ids=repr)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_stays_visible_and_in_its_sample(reducer: Reducer, bad: float) -> None:
    t = torch.tensor([[1.0, bad, 3.0, 2.0], [1.0, 2.0, 3.0, 4.0]])
    got = through(reducer, t)
    assert not got[0].isfinite().all()
    assert torch.equal(got[1:], through(reducer, t[1:]))


def test_top_k_keeps_exactly_the_largest() -> None:
    t = torch.randn(5, 4, 25, generator=rng())
    got = through(TopK(fraction=0.07), t).flatten(1)
    for row, kept in zip(t.flatten(1).tolist(), got.tolist(), strict=True):
        largest = sorted(row, key=abs)[-7:]  # 0.07 * 100 is more than 7 in floats, but 7 is meant
        assert kept == [v if v in largest else 0.0 for v in row]


def test_bytes_are_what_the_closed_forms_say() -> None:
    for n, d in [(4, 30), (3, 7), (0, 7), (1, 1)]:
        for dtype, size in [(torch.float16, 2), (torch.float32, 4), (torch.float64, 8)]:
            t = torch.randn(n, d, generator=rng()).to(dtype)
            assert HalfPrecision().pack(t).nbytes == 2 * n * d
            for bits in range(1, 17):
                expected = math.ceil(n * d * bits / 8) + 2 * n * size
                assert Quantised(bits=bits).pack(t).nbytes == expected
            assert TopK(fraction=0.25).pack(t).nbytes == n * math.ceil(d / 4) * (size + 4)


@pytest.mark.parametrize("reducer", ONE_EACH, ids=repr)
def test_whole_numbers_pass_untouched(reducer: Reducer) -> None:
    labels = torch.tensor([3, 1, 70000])
    packed = reducer.pack(labels)
    assert torch.equal(reducer.unpack(packed), labels)
    assert packed.nbytes == 24
    got, nbytes, _ = reducer.begin().send(torch.tensor(12), route="counter", content="state")
    assert (got.item(), got.dtype, nbytes) == (12, torch.int64, 8)


@pytest.mark.parametrize("reducer", ONE_EACH, ids=repr)
def test_the_same_messages_give_the_same_bytes(reducer: Reducer) -> None:
    t = torch.randn(8, 40, generator=rng()).relu()
    first, second = reducer.pack(t), reducer.pack(t.clone())
    for a, b in zip(first.parts, second.parts, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("reducer", ONE_EACH, ids=repr)
def test_measured_errors_are_the_direct_ones(reducer: Reducer) -> None:
    codec = reducer.begin()
    total: dict[str, list[float]] = {"up": [0, 0], "down": [0, 0]}
    for i in range(6):
        route, t = ("up", "down")[i % 2], torch.randn(4, 9, generator=rng(i), dtype=torch.float64)
        got, nbytes, _ = codec.send(t, route=route, content="samples")
        assert torch.equal(got, through(reducer, t))
        assert nbytes == reducer.pack(t).nbytes
        total[route][0] += float(((got - t) ** 2).sum())
        total[route][1] += float((t**2).sum())
    assert codec.errors == pytest.approx({r: wrong / all_ for r, (wrong, all_) in total.items()})
    assert min(codec.errors.values()) > 0


def test_a_route_of_zeros_has_no_error() -> None:
    codec = TopK().begin()
    codec.send(torch.zeros(2, 3), route="up", content="samples")
    assert codec.errors == {"up": 0.0}


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
    got.zero_()  # what the receiver does with its copy is its own business
    assert torch.equal(w, delivered)
    w.add_(torch.randn(2, 8, generator=rng(1), dtype=torch.float64))  # as is the sender's training
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
        ("quantise", {"bits": 0}, "bits must be a whole number from 1 to 16, got 0"),
        ("quantise", {"bits": 17}, "got 17"),
        ("top_k", {"fraction": 0.0}, "fraction must be above 0 and at most 1, got 0.0"),
        ("top_k", {"fraction": 1.1}, "got 1.1"),
        ("top_k", {"fraction": math.nan}, "got nan"),
        ("half", {"format": "fp8"}, "format must be 'fp16' or 'bf16', got 'fp8'"),
        ("half", {"kinds": ("labels",)}, "labels always travel as they are"),
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
