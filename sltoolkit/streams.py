"""Independent named random streams from one seed.

Layer initialization, dropout and opacus draw from torch's *global* generator, so handing out
named generators does not separate the parties: an attacker that builds a network would shift the
victim's dropout masks. A `Stream` therefore also owns a *scope*, in which the global generators
are its own; what runs inside two different streams' scopes can never influence each other.
"""

import base64
import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import torch


@final
class Stream:
    """A random stream with named children.

    A child is a function of the seed and its path of names alone, so adding one never shifts
    another. Asking twice for the same child (or generator) gives the same object, whose state
    goes on.

    Args:
        seed: any integer.
        path: names from the root to this stream.
    """

    _entered: ClassVar["Stream | None"] = None  # whose scope is open: the innermost one

    def __init__(self, seed: int, path: tuple[str, ...] = ()) -> None:
        self._root = seed
        self._path = path
        digest = hashlib.sha256("\x1f".join((str(seed), *path)).encode()).digest()
        self.seed = int.from_bytes(digest[:8], "little") >> 1  # 63 bits: torch takes signed seeds
        # the scope must not repeat what the named generators draw
        self._scope_seed = int.from_bytes(digest[8:16], "little") >> 1
        self._children: dict[str, Stream] = {}
        self._torch: dict[str, torch.Generator] = {}
        self._numpy: np.random.Generator | None = None
        self._states: dict[str, Any] = {}

    def __repr__(self) -> str:
        """`Stream(seed, path)`."""
        return f"Stream({self._root}, {'/'.join(self._path) or '/'})"

    def child(self, name: str) -> "Stream":
        """The stream called `name` below this one."""
        if name not in self._children:
            self._children[name] = Stream(self._root, (*self._path, name))
        return self._children[name]

    def fresh(self, name: str) -> "Stream":
        """Like `child`, but from its beginning every time: for what must be repeatable."""
        return Stream(self._root, (*self._path, name))

    def torch(self, device: torch.device | str = "cpu") -> torch.Generator:
        """This stream's torch generator on `device`; its state goes on between calls."""
        key = str(torch.device(device))
        if key not in self._torch:
            self._torch[key] = torch.Generator(device).manual_seed(self.seed)
        return self._torch[key]

    def numpy(self) -> np.random.Generator:
        """This stream's numpy generator; its state goes on between calls."""
        if self._numpy is None:
            self._numpy = np.random.default_rng(self.seed)
        return self._numpy

    def state(self) -> dict[str, Any]:
        """Where this stream and all its children are, as JSON."""
        numpy = None if self._numpy is None else self._numpy.bit_generator.state
        return {
            "torch": {device: _text(g.get_state()) for device, g in self._torch.items()},
            "numpy": numpy,
            "scope": {name: _LIBRARIES[name].to_json(s) for name, s in self._states.items()},
            "children": {name: child.state() for name, child in self._children.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state` of a stream with the same seed and path."""
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
        """Make the global generators (torch with CUDA, numpy, random) this stream's own.

        The outer state is put back at the end, also after an exception; this stream's own state
        goes on in its next scope, also where one lies within another.

        Args:
            libraries: whose generators; numpy's cost a tenth of a millisecond to exchange.
        """
        return _Scope(self, libraries)

    def torch_scope(self) -> AbstractContextManager[None]:
        """The scope of a network's pass: torch's generators only, at a few microseconds."""
        return _Scope(self, _TORCH_ONLY)


_TORCH_ONLY = ("torch",)


@final
class _Scope(AbstractContextManager[None]):
    """A class, not a generator: a training step opens three of them."""

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
    """The bytes of a generator's state, as text."""
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
