"""Tensors with a record in one file, and files that are not such files."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sltoolkit.errors import StoreError
from sltoolkit.training.tensor_file import metadata, read_recorded, separate


def test_tensors_and_record_come_back(tmp_path: Path) -> None:
    tensors = {"a": torch.rand(2, 3), "b": torch.arange(4), "empty": torch.empty(0, 2)}
    record = {"epochs": 3, "name": "ü", "losses": [0.5, 0.25], "nothing": None}

    save_file(separate(tensors), tmp_path / "x", metadata=metadata(record))
    found, said = read_recorded(tmp_path / "x", remedy="train again")

    assert said == record
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert found["b"].dtype == torch.int64


def test_tensors_that_share_memory_or_lie_otherwise_are_stored_apart(tmp_path: Path) -> None:
    base = torch.rand(2, 3, 4, 4)
    shared = {
        "whole": base, "view": base[:1], "transposed": base.transpose(0, 1),
        "last": base.contiguous(memory_format=torch.channels_last),
        "learned": base.clone().requires_grad_(),
    }  # fmt: skip

    copies = separate(shared)
    save_file(copies, tmp_path / "x", metadata=metadata({}))

    found, _ = read_recorded(tmp_path / "x", remedy="")
    assert all(torch.equal(found[name], shared[name]) for name in shared)
    assert len({t.data_ptr() for t in copies.values()}) == len(shared)


@pytest.mark.parametrize("case", ["missing", "damaged", "no record", "record that is no JSON"])
def test_what_cannot_be_read_says_what_to_do(case: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    if case == "damaged":
        path.write_bytes(b"\\x80\\x02nonsense" * 9)
    elif case == "no record":
        save_file({"a": torch.zeros(1)}, path)
    elif case != "missing":
        save_file({"a": torch.zeros(1)}, path, metadata={"record": "{"})

    with pytest.raises(StoreError, match=r"x can't be read \(.*\): train again"):
        read_recorded(path, remedy="train again")
