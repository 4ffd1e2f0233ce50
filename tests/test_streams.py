"""Streams are independent of each other, and repeat themselves with the same seed."""

import copy
import gc
import random
from collections.abc import Callable
from types import FunctionType, ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from sltoolkit.streams import Stream


def globals_drawn() -> tuple[float, float, float]:
    return float(torch.rand(())), float(np.random.rand()), random.random()


def named(s: Stream) -> tuple[Tensor, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    return torch.rand(4, generator=s.torch()), s.numpy().random(4)


def scoped(s: Stream) -> tuple[float, float, float]:
    with s.scope():
        return globals_drawn()


def test_same_seed_and_path_give_the_same_numbers() -> None:
    a, b = (named(Stream(7).child("x").child("y")) for _ in range(2))
    assert torch.equal(a[0], b[0])
    assert np.array_equal(a[1], b[1])
    assert scoped(Stream(7).child("x")) == scoped(Stream(7).child("x"))


def test_seeds_names_and_paths_all_matter() -> None:
    streams = [
        Stream(7), Stream(8), Stream(7).child("x"), Stream(7).child("y"), Stream(-7),
        Stream(7).child("x").child("y"), Stream(7).child("y").child("x"), Stream(7).child("xy"),
    ]  # fmt: skip
    assert len({float(named(s)[0][0]) for s in streams}) == len(streams)
    assert len({s.seed for s in streams}) == len(streams)
    assert len({scoped(s) for s in streams}) == len(streams)


def test_children_do_not_depend_on_order_or_on_what_else_was_drawn() -> None:
    root, other = Stream(0), Stream(0)
    first = named(root.child("a"))[0]
    other.child("b").torch()
    scoped(other.child("b"))
    named(other)
    torch.testing.assert_close(named(other.child("a"))[0], first, rtol=0, atol=0)


def test_a_child_goes_on_and_a_fresh_one_begins_anew() -> None:
    s = Stream(0)
    first, second = named(s.child("a"))[0], named(s.child("a"))[0]
    assert not torch.equal(first, second)
    assert torch.equal(named(s.fresh("a"))[0], first)
    assert torch.equal(named(s.fresh("a"))[0], first)


def test_a_scope_repeats_nothing_that_the_named_generators_draw() -> None:
    s = Stream(3)
    with s.scope():
        inside = torch.rand(4)
    assert not torch.equal(inside, torch.rand(4, generator=s.torch()))


def test_a_scope_leaves_the_global_generators_as_they_were() -> None:
    with Stream(99).scope():  # so that this test doesn't touch the session's generators
        torch.manual_seed(5), np.random.seed(5), random.seed(5)
        expected = [globals_drawn() for _ in range(2)]
        torch.manual_seed(5), np.random.seed(5), random.seed(5)
        got = [globals_drawn()]
        with Stream(0).scope():
            torch.manual_seed(1)
            globals_drawn()
        got.append(globals_drawn())
    assert got == expected


def test_a_scope_puts_everything_back_after_an_exception() -> None:
    s, uninterrupted = Stream(0), Stream(0)
    with Stream(99).scope():
        torch.manual_seed(5), np.random.seed(5), random.seed(5)
        expected = globals_drawn()
        torch.manual_seed(5), np.random.seed(5), random.seed(5)
        with pytest.raises(KeyError), s.scope():
            _ = {globals_drawn(): None}[0.0, 0.0, 0.0]
        assert globals_drawn() == expected
    scoped(uninterrupted)
    assert scoped(s) == scoped(uninterrupted)


def test_the_state_goes_on_between_scopes() -> None:
    with Stream(0).scope():
        together = [globals_drawn() for _ in range(3)]
    s = Stream(0)
    apart = []
    for _ in range(3):
        apart.append(scoped(s))
        globals_drawn()  # draws outside the scope don't matter
    assert apart == together
    assert len(set(together)) == 3


def test_scopes_of_different_streams_nest_without_touching_each_other() -> None:
    alone = Stream(0).child("outer")
    with alone.scope():
        expected = [globals_drawn() for _ in range(2)]
    inner_alone = scoped(Stream(0).child("inner"))
    root = Stream(0)
    with root.child("outer").scope():
        first = globals_drawn()
        inner = scoped(root.child("inner"))
        second = globals_drawn()
    assert [first, second] == expected
    assert inner == inner_alone


@pytest.mark.parametrize(
    "enter",
    [
        lambda a, b, draw: within(a, lambda: within(a, draw)),
        lambda a, b, draw: within(a, lambda: within(b, lambda: within(a, draw))),
    ],
    ids=["a in a", "a in b in a"],
)
def test_a_stream_entered_again_within_itself_never_repeats_a_number(
    enter: Callable[[Stream, Stream, Callable[[], float]], float],
) -> None:
    # a defense may enter the scope of its turn's stream, which is open already
    a, b = Stream(0).child("a"), Stream(0).child("b")
    drawn = [enter(a, b, lambda: float(torch.rand(()))) for _ in range(3)]
    with Stream(0).child("a").scope():
        expected = [float(torch.rand(())) for _ in range(3)]
    assert drawn == expected


def within(s: Stream, draw: Callable[[], float]) -> float:
    with s.scope():
        return draw()


def reachable(thing: object) -> list[object]:
    """Everything that Python code can reach from an object."""
    found, waiting = {id(thing): thing}, [thing]
    while waiting:
        for inner in gc.get_referents(waiting.pop()):
            if id(inner) not in found and not isinstance(inner, type | ModuleType | FunctionType):
                found[id(inner)] = inner
                waiting.append(inner)
    return list(found.values())


def test_a_stream_leads_to_no_parent_and_to_no_stream_beside_it() -> None:
    root = Stream(123_456_789)
    beside, child = root.child("beside"), root.child("child")
    named(child), scoped(child)
    texts = [str(each) for each in reachable(child)]
    for secret in (123_456_789, root.seed, beside.seed, "beside"):
        assert not [text for text in texts if str(secret) in text]
    assert "123456789" not in repr(root)


def test_a_copy_goes_on_where_the_stream_is_and_apart_from_it() -> None:
    s = Stream(0).child("a")
    named(s), scoped(s), named(s.child("b"))
    twin = copy.deepcopy(s)
    draws: list[Callable[[Stream], float]] = [
        lambda a: float(named(a)[0][0]), lambda a: scoped(a)[1],
        lambda a: float(named(a.child("b"))[0][0]), lambda a: a.child("new").seed,
    ]  # fmt: skip
    for draw in draws:
        assert draw(twin) == draw(s)


def test_what_is_forgotten_cannot_be_drawn_again() -> None:
    root = Stream(0)
    kept, gone = root.child("kept"), root.child("gone")
    expected = named(Stream(0).child("kept").child("below"))[0]
    root.forget(besides={"kept", "never made"})
    assert root.child("kept") is kept
    assert torch.equal(named(kept.child("below"))[0], expected)
    assert gone.seed not in {each for each in reachable(root) if isinstance(each, int)}
    for name in ("gone", "never made"):
        with pytest.raises(RuntimeError, match=f"forgotten .* {name!r}"):
            root.child(name)
    assert root.state()["children"].keys() == {"kept"}
