"""Records with tensors survive as bytes; what is no frame is refused, and nothing is unpickled."""

import json
import pickle

import pytest
import torch
from torch import Tensor

from sltoolkit.errors import ProtocolError
from sltoolkit.wire.frames import memory_order, packed, unpacked

TENSORS = {
    "image": torch.rand(2, 3, 4, 5),
    "channels last": torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
    "transposed": torch.rand(4, 5).T,
    "with gaps": torch.rand(6, 4)[::2, 1:3],
    "expanded": torch.rand(3, 1).expand(3, 4),
    "scalar": torch.tensor(2.5, dtype=torch.float64),
    "empty": torch.empty(0, 3),
    "whole numbers": torch.arange(5),
    "truths": torch.tensor([True, False]),
    "half": torch.rand(3).bfloat16(),
}


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_comes_back_with_its_numbers_type_and_memory_format(name: str) -> None:
    t = TENSORS[name]
    _, tensors = unpacked(packed({}, {"t": t}), "cpu")
    back = tensors["t"]
    assert (back.shape, back.dtype) == (t.shape, t.dtype)
    assert torch.equal(back, t)
    assert memory_order(back) == memory_order(t)


def test_tensors_that_share_memory_travel_and_no_gradient_does() -> None:
    whole = torch.rand(4, requires_grad=True)
    _, tensors = unpacked(packed({}, {"a": whole, "b": whole[1:]}), "cpu")
    assert torch.equal(tensors["b"], whole[1:].detach())
    assert not tensors["a"].requires_grad


def test_numbers_of_a_record_are_exact_also_those_of_tensors() -> None:
    third, odd = 1 / 3, torch.tensor(0.1)
    record, _ = unpacked(packed({"a": [third, None, "é"], "b": odd, "c": float("inf")}, {}), "cpu")
    assert record == {"a": [third, None, "é"], "b": float(odd), "c": float("inf")}


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('executed')",)


def header(text: object) -> bytes:
    written = json.dumps(text).encode()
    return len(written).to_bytes(8, "little") + written


def misplaced(t: Tensor) -> bytes:
    return packed({}, {"t": t}).replace(b"[0, 1]", b"[0, 0]")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xff" * 40, pickle.dumps(Bomb()), header([]), header({}),
        header({"__metadata__": {"frame": "[1]"}}),
        header({"__metadata__": {"frame": "[" * 90_000}}),
        misplaced(torch.rand(2, 2)), packed({}, {"t": torch.rand(9)})[:-4],
    ],
)  # fmt: skip
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="no frame of a record and tensors"):
        unpacked(data, "cpu")
