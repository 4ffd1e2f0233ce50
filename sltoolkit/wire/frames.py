"""Records with tensors as plain bytes, for a process whose answers must not be unpickled.

A frame is a safetensors file in memory, with the record as JSON in its header.
"""

import json
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from sltoolkit.errors import ProtocolError

_MALFORMED = (SafetensorError, LookupError, TypeError, ValueError, AttributeError, RecursionError)


def memory_order(t: Tensor) -> tuple[int, ...]:
    """The dimensions of a tensor from the slowest to the fastest in memory.

    For a tensor with gaps or repeated numbers in memory, it is the order of its shape.
    """
    dims = range(t.dim())
    order = tuple(sorted(dims, key=t.stride, reverse=True))
    return order if t.permute(order).is_contiguous() else tuple(dims)


def packed(record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    """A record of plain JSON and tensors, in the order of their memory, as bytes."""
    orders = {name: memory_order(t) for name, t in tensors.items()}
    flat = {
        name: t.detach().permute(orders[name]).to("cpu").contiguous().clone()
        for name, t in tensors.items()
    }
    text = json.dumps({"record": record, "orders": orders}, default=float)
    return save(flat, metadata={"frame": text})


def unpacked(data: bytes, device: torch.device | str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The record and the tensors of a frame; the tensors, on `device`, have their memory format.

    Raises:
        ProtocolError: if the bytes are no frame.
    """
    try:
        length = int.from_bytes(data[:8], "little")
        frame = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["frame"])
        record, orders = dict(frame["record"]), frame["orders"]
        tensors = {
            name: t.to(device).permute([orders[name].index(d) for d in range(t.dim())])
            for name, t in load(data).items()
        }
    except _MALFORMED as e:
        raise ProtocolError(f"got bytes that are no frame of a record and tensors ({e})") from e
    return record, tensors
