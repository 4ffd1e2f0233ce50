"""Progress: nested parts, and what watchers are told."""

import pytest

from sltoolkit.progress import advance, part, rehearsal, watch, watch_rehearsals


class Heard:
    def __init__(self) -> None:
        self.told: list[int] = []

    def __call__(self, done: int, total: int) -> None:
        assert total == 100
        self.told.append(done)


def test_each_per_cent_is_told_once_and_the_end_always() -> None:
    heard = Heard()
    with watch(heard):
        for step in range(1, 301):
            advance(step, 300)

    assert heard.told == list(range(1, 101))


def test_one_that_says_nothing_is_told_of_at_the_end() -> None:
    heard = Heard()
    with watch(heard):
        pass

    assert heard.told == [100]


def test_after_an_error_the_end_is_not_told() -> None:
    heard = Heard()

    def fail_halfway() -> None:
        with watch(heard):
            advance(1, 2)
            raise ValueError("halfway")

    with pytest.raises(ValueError, match="halfway"):
        fail_halfway()

    assert heard.told == [50]


def test_parts_take_their_share_of_what_remains() -> None:
    heard = Heard()
    with watch(heard):
        with part(0.5):
            advance(1, 2)  # 25
            with part(0.4):
                pass  # 0.4 of the first half, which is less than was told already
        with part(0.5):
            advance(1, 1)  # 75
        advance(1, 5)  # a fifth of the last quarter: 80

    assert heard.told == [25, 50, 75, 80, 100]


def test_progress_never_goes_back_and_nothing_to_do_is_no_division_by_zero() -> None:
    heard = Heard()
    with watch(heard):
        advance(1, 2)
        advance(0, 2)
        advance(0, 0)

    assert heard.told == [50, 100]


def test_unwatched_work_tells_nobody() -> None:
    advance(1, 2)
    with part(0.5):
        advance(1, 2)


def test_the_inner_watcher_hears_instead_of_the_outer() -> None:
    outer, inner = Heard(), Heard()
    with watch(outer):
        with watch(inner):
            advance(1, 2)
        advance(1, 4)

    assert inner.told == [50, 100]
    assert outer.told == [25, 100]


def test_each_rehearsal_is_heard_from_its_beginning_to_its_end() -> None:
    heard = Heard()
    with watch_rehearsals(heard):
        for _ in range(2):
            with rehearsal():
                advance(1, 2)

    assert heard.told == [50, 100, 50, 100]


def test_outside_nobody_hears_a_rehearsal() -> None:
    heard = Heard()
    with watch_rehearsals(heard):
        pass
    with rehearsal():
        advance(1, 2)
    with watch_rehearsals(None), rehearsal():
        advance(1, 2)

    assert heard.told == []
