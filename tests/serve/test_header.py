"""Headers: every tensor comes back with its memory format, and nonsense doesn't pass."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sltoolkit.errors import ProtocolError
from sltoolkit.serve.header import (
    DTYPES,
    KINDS,
    LENGTH,
    MOST_DIMS,
    Header,
    check,
    finite,
    prepared,
    unpacked,
)

BASE = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).view(2, 3, 4, 5)
TENSORS = {
    "contiguous": BASE,
    "channels last": BASE.contiguous(memory_format=torch.channels_last),
    "transposed": BASE.transpose(0, 3),
    "with gaps": BASE[..., ::2],
    "expanded": torch.tensor([[1.0], [2.0]]).expand(2, 4),
    "scalar": torch.tensor(3.0),
    "empty": BASE[:0],
}
EVERY = pytest.mark.parametrize("t", TENSORS.values(), ids=TENSORS)


@EVERY
def test_a_tensor_comes_back_from_its_header_and_payload(t: Tensor) -> None:
    header, payload = prepared(t, sequence=3, kind="smashed")

    received = unpacked(header.packed())
    buffer = received.empty(torch.device("cpu"))
    buffer.copy_(payload)

    assert received == header
    assert payload.is_contiguous()
    assert header.packed().shape == (LENGTH,)
    assert torch.equal(received.restored(buffer), t)


@pytest.mark.parametrize("name", ["contiguous", "channels last", "transposed"])
def test_dense_tensors_keep_their_strides(name: str) -> None:
    header, payload = prepared(TENSORS[name], sequence=0, kind="smashed")

    assert header.restored(payload).stride() == TENSORS[name].stride()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_travels(dtype: torch.dtype) -> None:
    header, _ = prepared(torch.ones(2, dtype=dtype), sequence=0, kind="weights")

    assert unpacked(header.packed()).dtype == dtype


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_travels(kind: str) -> None:
    header, _ = prepared(torch.ones(2), sequence=0, kind=kind)  # type: ignore[arg-type]

    assert unpacked(header.packed()).kind == kind


@pytest.mark.parametrize(
    "t", [torch.ones([1] * (MOST_DIMS + 1)), torch.ones(2, dtype=torch.complex64)]
)
def test_what_has_no_header_is_not_sent(t: Tensor) -> None:
    header, _ = prepared(t, sequence=0, kind="smashed")

    with pytest.raises(ProtocolError, match="at most 8 dimensions of plain numbers"):
        header.packed()


@pytest.mark.parametrize(
    ("place", "value"), [(0, 7), (2, 99), (3, -1), (4, MOST_DIMS + 1), (5, -2), (5 + MOST_DIMS, 1)]
)
def test_numbers_that_are_no_header_are_refused(place: int, value: int) -> None:
    numbers = prepared(BASE, sequence=0, kind="smashed")[0].packed()
    numbers[place] = value

    with pytest.raises(ProtocolError, match="no header of this version"):
        unpacked(numbers)


DUE = torch.zeros(4, dtype=torch.int64)


def announced(t: Tensor, *, sequence: int = 2, kind: str = "labels") -> Header:
    return prepared(t, sequence=sequence, kind=kind)[0]  # type: ignore[arg-type]


def checked(header: Header) -> None:
    check(header, DUE, sequence=2, kind="labels", classes=3)


def test_what_is_due_passes_and_so_do_labels_as_weights() -> None:
    checked(announced(DUE + 1))
    checked(announced(torch.rand(4, 3)))
    checked(announced(torch.rand(4, 3).double()))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (announced(DUE, sequence=3), "sent message 3 where 2 was due"),
        (announced(DUE[:3]), "expected labels, torch.int64 of shape 4"),
        (announced(DUE.int()), "sent labels, torch.int32 of shape 4"),
        (announced(torch.rand(4, 2)), "of shape 4x2"),
        (announced(torch.rand(4, 3).long()), "torch.int64 of shape 4x3"),
        (announced(DUE, kind="smashed"), "sent smashed"),
    ],
)
def test_anything_else_is_refused_with_what_was_due(header: Header, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        checked(header)


def test_the_order_in_memory_is_the_senders_business() -> None:
    last = replace(announced(BASE), order=(0, 2, 3, 1))

    check(last, BASE, sequence=2, kind="labels", classes=3)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_no_number_is_found_wherever_it_is(bad: float) -> None:
    for place in range(3):
        t = torch.ones(3)
        t[place] = bad
        assert not finite(t)


def test_integers_and_nothing_are_finite() -> None:
    assert finite(torch.tensor([2**62]))
    assert finite(torch.empty(0))
    assert finite(torch.tensor([torch.finfo(torch.float32).max]))


def test_a_header_reads_well() -> None:
    assert str(announced(BASE, kind="smashed")) == "smashed, torch.float32 of shape 2x3x4x5"
    assert str(announced(torch.tensor(1.0))) == "labels, torch.float32 of shape scalar"
