"""Independent named random streams from one seed.

Layer initialization, dropout and opacus draw from torch's *global* generator, so named generators
alone do not separate the parties: an attacker that builds a network would shift the victim's
dropout masks. A `Stream` therefore also owns a *scope*, in which the global generators have the
stream's own state. Code in the scopes of two different streams can't influence each other's draws.

Whoever holds a stream can make its children, but not its parents or the streams beside it: a stream
keeps a hash of its seed and path, and neither of the two. So an attacker that is told the seed
`Stream(seed)` of its own draws, or that gets hold of a stream of the victim's, learns no other.
"""

import base64
import copy
import hashlib
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import torch


@final
class Stream:
    """A random stream with named children.

    A child depends on the seed and its path of names alone, so adding one never shifts another.
    Asking twice for the same child (or generator) gives the same object, which continues where it
    was.

    Args:
        seed: any integer.
    """

    _entered: ClassVar["Stream | None"] = None  # the stream whose scope is open, the innermost one

    def __init__(self, seed: int) -> None:
        self._grow(hashlib.sha256(str(seed).encode()), "/")

    def _grow(self, past: "hashlib._Hash", name: str) -> None:
        """Begin; `past` has read the seed and the names from the root to this stream."""
        self._past: hashlib._Hash | None = past
        self._name = name
        digest = past.digest()
        self.seed = int.from_bytes(digest[:8], "little") >> 1  # 63 bits: torch takes signed seeds
        # another seed: the scope must not repeat what the named generators draw
        self._scope_seed = int.from_bytes(digest[8:16], "little") >> 1
        self._children: dict[str, Stream] = {}
        self._torch: dict[str, torch.Generator] = {}
        self._numpy: np.random.Generator | None = None
        self._states: dict[str, Any] = {}

    def __repr__(self) -> str:
        """`Stream(name)`, without anything that could be drawn again."""
        return f"Stream({self._name})"

    def __deepcopy__(self, memo: dict[int, Any]) -> "Stream":
        """A copy that continues where this stream is."""
        twin = memo[id(self)] = Stream.__new__(Stream)
        for name, value in vars(self).items():
            hashed = name == "_past" and value is not None  # a hash has its own way of copying
            vars(twin)[name] = value.copy() if hashed else copy.deepcopy(value, memo)
        return twin

    def child(self, name: str) -> "Stream":
        """The stream called `name` below this one."""
        if name not in self._children:
            self._children[name] = self.fresh(name)
        return self._children[name]

    def fresh(self, name: str) -> "Stream":
        """Like `child`, but a new object at its beginning every time, for repeatable draws.

        Raises:
            RuntimeError: if this stream was told to `forget`.
        """
        if self._past is None:
            raise RuntimeError(f"{self} has forgotten what its child {name!r} would be made from")
        past, born = self._past.copy(), Stream.__new__(Stream)
        past.update(f"\x1f{name}".encode())
        born._grow(past, name)
        return born

    def forget(self, *, besides: Collection[str]) -> None:
        """Drop all children but these, and what others, or this stream's draws, are made from."""
        self._past, self.seed, self._scope_seed = None, 0, 0
        self._torch, self._numpy, self._states = {}, None, {}
        self._children = {name: self._children[name] for name in besides if name in self._children}

    def torch(self, device: torch.device | str = "cpu") -> torch.Generator:
        """This stream's torch generator on `device`; calls return the same generator."""
        key = str(torch.device(device))
        if key not in self._torch:
            self._torch[key] = torch.Generator(device).manual_seed(self.seed)
        return self._torch[key]

    def numpy(self) -> np.random.Generator:
        """This stream's numpy generator; calls return the same generator."""
        if self._numpy is None:
            self._numpy = np.random.default_rng(self.seed)
        return self._numpy

    def state(self) -> dict[str, Any]:
        """The states of this stream and of all its children, as JSON."""
        numpy = None if self._numpy is None else self._numpy.bit_generator.state
        return {
            "torch": {device: _text(g.get_state()) for device, g in self._torch.items()},
            "numpy": numpy,
            "scope": {name: _LIBRARIES[name].to_json(s) for name, s in self._states.items()},
            "children": {name: child.state() for name, child in self._children.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state` of a stream with the same seed and path."""
        for device, text in state["torch"].items():
            self.torch(device).set_state(_tensor(text))
        if state["numpy"] is not None:
            self.numpy().bit_generator.state = state["numpy"]
        self._states |= {n: _LIBRARIES[n].from_json(s) for n, s in state["scope"].items()}
        for name, child in state["children"].items():
            self.child(name).restore(child)

    def scope(
        self, libraries: Sequence[str] = ("torch", "numpy", "random")
    ) -> AbstractContextManager[None]:
        """Give the global generators (torch with CUDA, numpy, random) this stream's own state.

        The outer state is restored at the end, even after an exception. This stream's next scope
        continues from its own state, even if one scope lies within another.

        Args:
            libraries: the libraries whose generators are exchanged; numpy's cost a tenth of a
                millisecond.
        """
        return _Scope(self, libraries)

    def torch_scope(self) -> AbstractContextManager[None]:
        """A scope for a network's pass: torch's generators only, which takes a few microseconds."""
        return _Scope(self, _TORCH_ONLY)


_TORCH_ONLY = ("torch",)


@final
class _Scope(AbstractContextManager[None]):
    """A scope; a class is faster than a generator, and a training step opens three scopes."""

    __slots__ = ("_libraries", "_outer", "_outside", "_stream")

    def __init__(self, stream: Stream, libraries: Sequence[str]) -> None:
        self._stream, self._libraries = stream, libraries

    def __enter__(self) -> None:
        states, self._outside = self._stream._states, Stream._entered
        self._outer = {library: _LIBRARIES[library].get() for library in self._libraries}
        if self._outside is not None:
            self._outside._states.update(self._outer)
        for library in self._libraries:
            if library in states:
                _LIBRARIES[library].put(states[library])
            else:
                _LIBRARIES[library].seed(self._stream._scope_seed)
        Stream._entered = self._stream

    def __exit__(self, *_: object) -> None:
        outside = self._outside
        Stream._entered = outside
        for library in self._libraries:
            self._stream._states[library] = _LIBRARIES[library].get()
        back = self._outer if outside is None else outside._states
        for library in self._libraries:
            _LIBRARIES[library].put(back[library])


def _torch_state() -> tuple[torch.Tensor, list[torch.Tensor]]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return torch.get_rng_state(), cuda


def _put_torch_state(state: tuple[torch.Tensor, list[torch.Tensor]]) -> None:
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])


def _text(state: torch.Tensor) -> str:
    """The bytes of a torch generator's state, as text."""
    return base64.b64encode(state.numpy().tobytes()).decode()


def _tensor(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)


@final
@dataclass(frozen=True)
class _Library:
    """How to read, write and seed a library's global generators, and their states as JSON."""

    get: Callable[[], Any]
    put: Callable[[Any], None]
    seed: Callable[[int], Any]
    to_json: Callable[[Any], Any]
    from_json: Callable[[Any], Any]


_LIBRARIES = {
    "torch": _Library(
        _torch_state, _put_torch_state, torch.manual_seed,
        lambda s: [_text(s[0]), [_text(cuda) for cuda in s[1]]],
        lambda j: (_tensor(j[0]), [_tensor(cuda) for cuda in j[1]]),
    ),
    "numpy": _Library(
        np.random.get_state, np.random.set_state, lambda seed: np.random.seed(seed % 2**32),
        lambda s: [s[0], s[1].tolist(), *s[2:]],
        lambda j: (j[0], np.array(j[1], dtype=np.uint32), *j[2:]),
    ),
    "random": _Library(
        random.getstate, random.setstate, random.seed,
        lambda s: [s[0], list(s[1]), s[2]],
        lambda j: (j[0], tuple(j[1]), j[2]),
    ),
}  # fmt: skip
