"""Who may see what: grants, the views attacks declare, and the release oracle."""

import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal, TypeVar, final

import torch
from torch import Tensor, nn

from sltoolkit.contracts import Role
from sltoolkit.errors import ThreatModelError, nearest
from sltoolkit.settings import Training
from sltoolkit.streams import Stream
from sltoolkit.wire import Kind

GRANTS: dict[str, str] = {
    "smashed": "smashed data of the targets, as released, (R, N, ...): R releases of N targets",
    "smashed_grad": "per-example gradients that arrived for the targets while training, (N, ...)",
    "labels": "the targets' labels, (N,)",
    "aux": "the attacker's own samples (x, y), disjoint from all private ones",
    "hints": "a few private examples whose label the attacker knows, with what it heard of them",
    "prior": "the class frequencies of the private data, (C,)",
    "client_arch": "the client network's architecture: a function from a stream to a fresh one",
    "client_weights": "a copy of the client network with its trained weights",
    "peer_weights": "a copy of a colluding client's own network, another client than the target's",
    "peer_samples": "that colluding client's own private samples (x, y)",
    "server_weights": "a copy of the server network with its trained weights",
    "updates": "what a client's weights, or their gradients, that were heard say about the targets",
    "release": "queries to the deployed, defended client with inputs of the attacker's choice",
    "mechanism": "the defence's public parameters: a function from a stream to a fresh copy",
}
PUBLIC = "task"
"""The one view field that is no grant: shapes and classes are known to everybody."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Aux:
    """The attacker's own samples: x (N, C, H, W) and y (N,)."""

    x: Tensor
    y: Tensor


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Hints:
    """Private examples whose labels the attacker knows: gradients (H, ...) and labels (H,)."""

    smashed_grad: Tensor
    y: Tensor


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Updates:
    """What was heard of a client's weights, each time after it learned from one batch of targets.

    Group g of the G groups holds `batch` targets in a row: the update heard is theirs together,
    and in which order they were in the batch it doesn't tell.

    Attributes:
        network: the client's network before it learned, in training mode, as it computes: its
            BatchNorm layers see the batch's statistics, and its dropout masks are nobody else's.
        heard: by names of the network's parameters, each (R, G, ...) for R releases: gradients of
            the batch's mean loss, or the weights after the client's steps, as they were received.
        kind: which of the two.
        whole: whether the network ends in logits, on which the client computes the loss; else it
            is a part, and its gradients came back over the wire.
        batch: targets per group.
        steps: how many steps the client took, each on the whole group.
        training: how it steps (everybody runs the same program); its optimiser starts fresh.
        client: that program, defence included, for samples of the attacker's own: what would be
            heard of x (N, ...) and y (N,), in groups; its randomness is the attacker's. None where
            the attacker doesn't know all of the network.
    """

    network: nn.Module
    heard: Mapping[str, Tensor]
    kind: Literal["weights", "weight_grad"]
    whole: bool
    batch: int
    steps: int
    training: Training
    client: Callable[[Tensor, Tensor, Stream], Mapping[str, Tensor]] | None

    def gradients(self) -> dict[str, Tensor]:
        """Gradients by parameter, (G, ...), the releases averaged.

        Of weights it is what their change amounts to, (before - after) / (lr * steps): the
        gradient itself after one step of SGD (weight decay is taken off), roughly the mean one
        after several; for Adam rather its sign.
        """
        mean = {name: value.mean(0) for name, value in self.heard.items()}
        if self.kind == "weight_grad":
            return mean
        way = self.training.lr * self.steps
        decay = self.training.weight_decay if self.training.optimizer == "sgd" else 0.0
        before = {name: weight.detach() for name, weight in self.network.named_parameters()}
        return {n: (before[n] - after) / way - decay * before[n] for n, after in mean.items()}

    def about(self, x: Tensor, y: Tensor, rng: Stream) -> "Updates":
        """What would have been heard of samples of the attacker's own, (N, ...) and (N,).

        Raises:
            ThreatModelError: if the attacker can't compute it.
        """
        if self.client is None:
            raise ThreatModelError("an update of a part of the network can't be computed alone")
        return replace(self, heard=self.client(x, y, rng))


@final
@dataclass(frozen=True)
class Tap:
    """Which messages fill a grant: their kind and direction, by seat names."""

    kind: Kind
    src: str
    dst: str


@final
@dataclass(frozen=True, kw_only=True)
class Holdings:
    """What a role holds in a protocol by its position alone.

    Attributes:
        taps: grants filled from the messages it hears.
        knows: further grants (its own network, labels it holds).
        hops: how many further parties the smashed data have passed where it hears them.
    """

    taps: Mapping[str, Tap]
    knows: frozenset[str] = frozenset()
    hops: int = 0

    @property
    def grants(self) -> frozenset[str]:
        """All of it."""
        return frozenset(self.taps) | self.knows


_CHUNK = 512


@final
class Release:
    """The deployed, defended client as an oracle.

    Args:
        ask: what answers one query, (B, C, H, W) -> (B, ...).
        per_batch: whether the inputs of one query share what the defence draws (`Defense.per_batch`
            is public).

    Attributes:
        queries: how many inputs have been answered so far, repeats counted.
    """

    def __init__(self, ask: Callable[[Tensor], Tensor], *, per_batch: bool = False) -> None:
        self._ask = ask
        self._per_batch = per_batch
        self.queries = 0

    def __call__(self, x: Tensor, *, repeats: int = 1, chunk: int = _CHUNK) -> Tensor:
        """Query it: evaluation mode, fresh noise each time.

        Args:
            x: inputs, (B, C, H, W) in [0, 1].
            repeats: how many releases of each input.
            chunk: inputs per query, for memory; where they share what the defence draws, each
                query has draws of its own.

        Returns:
            (repeats, B, ...), without a graph.
        """
        with torch.no_grad():
            rounds = [
                torch.cat([self._ask(part) for part in x.split(chunk)]) for _ in range(repeats)
            ]
        self.queries += repeats * len(x)
        return torch.stack(rounds)

    def mean(self, x: Tensor, *, repeats: int) -> Tensor:
        """The mean of several releases of each input, (B, ...); never holds more than two.

        It is what attackers learn from. Each input is released with draws of its own: whoever
        learns from many that share one mask learns about that mask.
        """
        chunk = 1 if self._per_batch else _CHUNK
        total = self(x, chunk=chunk)[0]
        for _ in range(repeats - 1):
            total = total + self(x, chunk=chunk)[0]
        return total / repeats


V = TypeVar("V")


def optional(annotation: Any) -> bool:
    """Whether a view field is typed `X | None` (or `Optional[X]`)."""
    union = typing.get_origin(annotation) in (types.UnionType, typing.Union)
    return union and type(None) in typing.get_args(annotation)


def needs(view: type) -> tuple[frozenset[str], frozenset[str]]:
    """The grants a view requires, and the further ones it can use.

    Raises:
        ThreatModelError: if the view is no frozen dataclass, or a field is no grant.
    """
    params = getattr(view, "__dataclass_params__", None)
    if not is_dataclass(view) or params is None or not params.frozen:
        raise ThreatModelError(f"the view {view.__name__} must be a frozen dataclass of grants")
    hints = typing.get_type_hints(view)
    required: set[str] = set()
    usable: set[str] = set()
    for field in fields(view):
        if field.name == PUBLIC:
            continue
        if field.name not in GRANTS:
            raise ThreatModelError(
                f"{view.__name__}.{field.name} is no grant{nearest(field.name, GRANTS)} "
                f"(grants: {', '.join(GRANTS)})"
            )
        (usable if optional(hints[field.name]) else required).add(field.name)
    return frozenset(required), frozenset(usable)


def seat_for(
    view: type, roles: Collection[Role], seats: Mapping[Role, Holdings], granted: Collection[str]
) -> Role:
    """The first of `roles` that holds everything the view requires; else the first role seated.

    Raises:
        ThreatModelError: if the protocol has none of these roles.
    """
    required, _ = needs(view)
    seated = [role for role in roles if role in seats]
    if not seated:
        raise ThreatModelError(
            f"the attack can be mounted by {' or '.join(roles)}, but this protocol seats only "
            f"{', '.join(seats)}"
        )
    able = [r for r in seated if required <= seats[r].grants | set(granted)]
    return (able or seated)[0]


def permitted(
    view: type, *, name: str, role: Role, held: Collection[str], granted: Collection[str]
) -> frozenset[str]:
    """The grants that fill the view: its required ones, and the optional ones at hand.

    Raises:
        ThreatModelError: in a sentence, if a required grant is missing.
    """
    unknown = set(granted) - set(GRANTS)
    if unknown:
        word = sorted(unknown)[0]
        raise ThreatModelError(
            f"{word!r} is no grant{nearest(word, GRANTS)} (grants: {', '.join(GRANTS)})"
        )
    required, usable = needs(view)
    available = set(held) | set(granted)
    missing = sorted(required - available)
    if missing:
        what = "; ".join(f"{m} ({GRANTS[m]})" for m in missing)
        raise ThreatModelError(
            f"{name} needs {what}; as {role} it holds {', '.join(sorted(held)) or 'nothing'}"
            f" and the experiment grants {', '.join(sorted(granted)) or 'nothing more'}. "
            f"If the threat model allows it, grant it: grants=(..., {missing[0]!r})"
        )
    return required | (usable & frozenset(available))


def view_of(view: type[V], filled: Collection[str], sources: Mapping[str, Callable[[], Any]]) -> V:
    """Fill a view: every grant in `filled` from its source, which hands out a fresh copy."""
    values = {
        f.name: sources[f.name]() if f.name == PUBLIC or f.name in filled else None
        for f in fields(view)  # type: ignore[arg-type]
    }
    return view(**values)
