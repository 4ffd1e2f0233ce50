"""What reducers put on the wire, and what arrives."""

import math
from typing import Any

import pytest
import torch
from support.reducers import rng, through
from torch import Tensor

from sltoolkit.wire.codec import Reducer
from sltoolkit.wire.reducers import HalfPrecision, Quantized, TopK

ALL: list[Reducer] = [
    HalfPrecision(), HalfPrecision(format="bf16"), TopK(), TopK(fraction=1.0),
    *(Quantized(bits=bits) for bits in range(1, 17)),
]  # fmt: skip
ONE_EACH = [HalfPrecision(), Quantized(bits=5), TopK(fraction=0.3)]


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
def test_grid_points_survive_quantization_exactly(bits: int) -> None:
    codes = torch.randint(2**bits, (4, 53), generator=rng(bits))
    codes[:, 0], codes[:, 1] = 0, 2**bits - 1
    grid = codes.float() / 64 - 3  # step and numbers are exact in float32
    packed = Quantized(bits=bits).pack(grid)
    assert torch.equal(Quantized(bits=bits).unpack(packed), grid)
    assert packed.parts[0].dtype == torch.uint8


@pytest.mark.parametrize("bits", [3, 8, 12])
def test_the_packed_bytes_are_the_codes_one_after_the_other(bits: int) -> None:
    codes = torch.randint(2**bits, (2, 11), generator=rng())
    codes[:, 0], codes[:, 1] = 0, 2**bits - 1
    stream = sum(int(code) << (bits * i) for i, code in enumerate(codes.flatten()))
    expected = stream.to_bytes(math.ceil(22 * bits / 8), "little")
    assert bytes(Quantized(bits=bits).pack(codes.double()).parts[0].tolist()) == expected


@pytest.mark.parametrize("bits", range(1, 17))
def test_quantization_errs_by_half_a_step_at_most(bits: int) -> None:
    scales = torch.tensor([[1e-3], [1.0], [50.0]], dtype=torch.float64)
    rows = torch.randn(3, 999, generator=rng(), dtype=torch.float64) * scales
    wrong = (through(Quantized(bits=bits), rows) - rows).abs()
    half = step_of(rows, bits) / 2
    assert (wrong <= half * (1 + 1e-9)).all()
    assert (wrong.amax(1, keepdim=True) > 0.9 * half).all()  # the bound is the right one


def test_quantization_of_short_floats_adds_one_rounding_at_most() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        rows = torch.randn(3, 999, generator=rng()).to(dtype)
        wide, got = rows.double(), through(Quantized(bits=10), rows).double()
        rounding = torch.finfo(dtype).eps * wide.abs().amax()
        assert ((got - wide).abs() <= step_of(wide, 10) / 2 + rounding).all()


@pytest.mark.parametrize("bits", [1, 8, 16])
def test_a_constant_row_arrives_exactly(bits: int) -> None:
    rows = torch.stack([torch.full((9,), 0.3), torch.zeros(9), torch.linspace(0, 1, 9)])
    assert torch.equal(through(Quantized(bits=bits), rows)[:2], rows[:2])


@pytest.mark.parametrize("reducer", ALL, ids=repr)
def test_a_sample_arrives_the_same_whatever_its_batch_mates(reducer: Reducer) -> None:
    batch = torch.randn(4, 6, 5, generator=rng())
    batch[1:] *= 1e3
    assert torch.equal(through(reducer, batch)[:1], through(reducer, batch[:1]))


def test_a_message_about_no_sample_is_one_row() -> None:
    t = torch.tensor([[1.0, 2.0], [30.0, 40.0]])
    got = through(TopK(fraction=0.5), t, per_sample=False)
    assert torch.equal(got, torch.tensor([[0.0, 0.0], [30.0, 40.0]]))
    assert Quantized().pack(t, per_sample=False).nbytes == 4 + 2 * 4
    assert through(Quantized(), torch.tensor(3.5), per_sample=False) == 3.5


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


@pytest.mark.parametrize("reducer", [HalfPrecision(), Quantized(), TopK(fraction=0.5)], ids=repr)
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
                assert Quantized(bits=bits).pack(t).nbytes == expected
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
