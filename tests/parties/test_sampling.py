"""Batches: every sample once per epoch, in an order that the stream decides."""

import pytest
import torch

from sltoolkit.parties.sampling import Shuffled
from sltoolkit.streams import Stream


def epoch(n: int, batch_size: int, rng: Stream) -> list[torch.Tensor]:
    return list(Shuffled(batch_size=batch_size).batches(n, rng))


@pytest.mark.parametrize(("n", "batch_size"), [(10, 3), (9, 3), (2, 5), (1, 1)])
def test_an_epoch_holds_every_sample_once(n: int, batch_size: int) -> None:
    batches = epoch(n, batch_size, Stream(0))

    assert sorted(torch.cat(batches).tolist()) == list(range(n))
    assert [len(b) for b in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert len(batches) == -(-n // batch_size)
    assert {b.dtype for b in batches} == {torch.int64}


def test_the_next_epoch_has_another_order_and_the_same_stream_the_same() -> None:
    rng, again = Stream(0), Stream(0)

    first, second = epoch(50, 50, rng)[0], epoch(50, 50, rng)[0]

    assert not torch.equal(first, second)
    assert torch.equal(first, epoch(50, 50, again)[0])


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()

    epoch(50, 7, Stream(0))

    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.golden
def test_batches_are_shuffled_and_complete() -> None:
    batches = list(Shuffled(batch_size=4).batches(10, Stream(0)))
    assert [len(b) for b in batches] == [4, 4, 2]
    assert torch.cat(batches).sort().values.tolist() == list(range(10))
