"""A client as deployed, and what it releases."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense
from sltoolkit.contracts.knowledge import Release
from sltoolkit.data.samples import Samples
from sltoolkit.streams import Stream
from sltoolkit.wire.codec import Reducer
from sltoolkit.wire.turn import Turn


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Deployed:
    """One client as deployed, in evaluation mode.

    Attributes:
        client: the network up to the first wire.
        tail: the network behind the server; None without one.
        defense: its own trained copy of the defense.
        samples: the private training samples it held.
        hops: networks of other clients that the smashed data pass before the server, in order.
        reducer: the lossy codec that smashed data pass on each link; None without a codec.
        frozen: its weights that never learn, by name behind the number of their network.
    """

    client: nn.Module
    tail: nn.Module | None
    defense: Defense
    samples: Samples
    hops: tuple[nn.Module, ...] = ()
    reducer: Reducer | None = None
    frozen: frozenset[str] = frozenset()

    def smash(self, x: Tensor, rng: Stream, *, hops: int = 0) -> tuple[Tensor, Tensor]:
        """Smashed data (B, ...) without and with the defense, as released for inputs.

        Args:
            x: inputs (B, C, H, W).
            rng: the stream from which the defense draws.
            hops: number of hops that the smashed data have passed where they are heard.
        """
        z: Tensor = self.client(x)
        unknown = torch.full((len(x),), -1, dtype=torch.int64, device=x.device)
        turn = Turn(ids=unknown, x=x, y=None, step=0, epoch=0, phase="release", rng=rng)
        with rng.scope():
            sent = self._received(self.defense.smash(z, turn))
        for hop in self.hops[:hops]:
            z, sent = hop(z), self._received(hop(sent))
        return z, sent

    def labels(self, samples: Samples, rng: Stream) -> Tensor:
        """The labels that it sends while it trains, (N,).

        A defense may turn a label into weights of all classes; then it is the heaviest class.

        Args:
            samples: N of its samples.
            rng: the stream from which the defense draws.
        """
        turn = Turn(
            ids=samples.ids, x=samples.x, y=samples.y, step=0, epoch=0, phase="train", rng=rng
        )
        with torch.no_grad(), rng.scope():
            sent = self.defense.labels(samples.y, turn)
        return sent.argmax(1) if sent.dim() == 2 else sent

    def _received(self, sent: Tensor) -> Tensor:
        if self.reducer is None or "smashed" not in self.reducer.kinds:
            return sent
        return self.reducer.unpack(self.reducer.pack(sent))

    def release(self, rng: Stream, *, hops: int = 0) -> Release:
        """An oracle over a copy of this client without its samples; its noise is from `rng`."""
        member = self.replica()
        return Release(
            lambda x: member.smash(x, rng, hops=hops)[1], per_batch=member.defense.per_batch
        )

    def network(self, hops: int) -> nn.Module:
        """The network from the inputs through this many hops, without the defense."""
        return nn.Sequential(self.client, *self.hops[:hops]) if hops else self.client

    def replica(self) -> "Deployed":
        """A copy without the private samples; what is done to it leaves the victim as it is."""
        own = {k: copy.deepcopy(v) for k, v in vars(self).items() if k != "samples"}
        return Deployed(**own, samples=self.samples[:0])


def settle(initial: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """A copy of `initial` with these weights, in evaluation mode, without gradients."""
    module = copy.deepcopy(initial)
    # opacus wraps a module as `_module`; what is deployed is the plain network
    module.load_state_dict({name.removeprefix("_module."): value for name, value in state.items()})
    return module.eval().requires_grad_(False)


def evidence(member: Deployed, x: Tensor, rng: Stream) -> dict[str, float]:
    """The defense's measurements of its own effect when deployed, on inputs (B, C, H, W)."""
    own = member.replica()
    with torch.no_grad():
        clean, sent = own.smash(x, rng.child("evidence"))
    return dict(own.defense.evidence(clean[None], sent[None]))
