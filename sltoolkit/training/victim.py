"""A trained victim: the deployed networks and defense, and what its training let out."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from typing import Any, final

import torch
from torch import nn

from sltoolkit.contracts.attack import ListenerState, Role
from sltoolkit.contracts.defense import Defense, Task
from sltoolkit.contracts.knowledge import Release
from sltoolkit.data.samples import Split
from sltoolkit.data.targets import Targets
from sltoolkit.streams import Stream
from sltoolkit.training.deployed import Deployed
from sltoolkit.training.measured import Measured
from sltoolkit.training.protocol import Protocol
from sltoolkit.training.recipe import Recipe
from sltoolkit.wire.message import Link, by_link
from sltoolkit.wire.transcript import Transcript

Baselines = tuple[dict[str, dict[str, list[float]]], dict[str, float]]
"""Metric -> prior-only baseline -> its score of each target (one number for a metric of the whole
set); and metric -> mean score of the retrieval attack."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class AttachedListener:
    """An attack that listened to the training, and its listener state.

    Attributes:
        attack: the attack that listened.
        role: the role in which it listened.
        grants: those that filled its views, before the training or at its end.
        listener_state: what it remembers of the run.
        rng: the attacker's stream.
    """

    attack: Any
    role: str
    grants: frozenset[str]
    listener_state: ListenerState
    rng: Stream


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Victim:
    """A trained victim, or one that was trained elsewhere (`frozen`).

    Attributes:
        recipe: how it was made: protocol, model, cut, data, defense, training, seed.
        data: the split it was trained on.
        protocol: the protocol with its parameters.
        deployed: its clients as deployed (one where they are alike).
        server: the server's network, in evaluation mode.
        task: shapes and classes.
        transcript: what was recorded of the training.
        utility: accuracy on `private_holdout`, through the defense.
        balanced_accuracy: mean over its classes of the accuracy on each, through the defense.
        losses: mean training loss of each epoch.
        costs: bytes on the wire and FLOPs, by party and epoch.
        configured_defense: the defense as configured, before any training: its public parameters.
        targets: which records attacks are asked about.
        attached: the attacks that listened.
        rng: the root of the victim's random streams.
        heterogeneity: mean total-variation distance of a client's class frequencies from all
            clients'; None for a victim that was trained elsewhere.
        reducer_error: relative squared error of the lossy codec on smashed data while training;
            None without a codec.
        releases_heard: role -> releases in training of the record that its seat heard most often.
        holdout_unseen: whether `private_holdout` is known to be new to the networks.
        baseline_cache: prior-only baselines, by targets, by whether labels are seen, and by hops.
    """

    recipe: Recipe
    data: Split
    protocol: Protocol
    deployed: tuple[Deployed, ...]
    server: nn.Module
    task: Task
    transcript: Transcript
    utility: float
    balanced_accuracy: float
    losses: tuple[float, ...]
    costs: Measured
    rng: Stream
    configured_defense: Defense
    targets: Targets
    attached: tuple[AttachedListener, ...] = ()
    heterogeneity: float | None = None
    reducer_error: float | None = None
    releases_heard: Mapping[Role, int] = field(default_factory=dict)
    holdout_unseen: bool = True
    baseline_cache: dict[tuple[Targets, bool, int], Baselines] = field(default_factory=dict)

    @property
    def bytes(self) -> Mapping[Link, int]:
        """Payload bytes by link."""
        return by_link(self.costs.tolls)

    @property
    def client(self) -> Deployed:
        """The client under attack: the first of the deployed ones."""
        return self.deployed[0]

    @cached_property
    def network(self) -> str:
        """A hash of the deployed weights, 16 hexadecimal digits; the same for the same networks."""
        h = hashlib.sha256()
        held = [module for m in self.deployed for module in (m.client, *m.hops, m.tail)]
        for module in (m for m in (*held, self.server) if m is not None):
            for name, value in module.state_dict().items():
                h.update(name.encode())
                plain = value.detach().cpu().contiguous().flatten().view(torch.uint8)
                h.update(plain.numpy().tobytes())
        return h.hexdigest()[:16]

    def release(self, rng: Stream, *, hops: int = 0) -> Release:
        """An oracle over a copy of the deployed client; its noise comes from `rng`."""
        return self.client.release(rng, hops=hops)

    def task_at(self, hops: int) -> Task:
        """Shapes and classes where smashed data have passed this many hops."""
        if not hops:
            return self.task
        with torch.no_grad():
            z = self.client.network(hops)(self.data.private_train.x[:1])
        return replace(self.task, smashed_shape=tuple(z.shape[1:]))

    def __repr__(self) -> str:
        """What it is and how well it works."""
        r = self.recipe
        return (
            f"Victim({r.protocol} {r.model} cut at {r.cut}, {r.dataset}, "
            f"defense {r.defense}, seed {r.seed}: accuracy {self.utility:.3f} (majority share "
            f"{self.data.private_holdout.majority_share:.3f}), balanced accuracy "
            f"{self.balanced_accuracy:.3f}"
            + ("" if self.holdout_unseen else ", maybe over training data")
            + ")"
        )

    def _repr_html_(self) -> str:
        """The same for a notebook, and what crossed the wire while it was trained."""
        r, held = self.recipe, self.data.private_holdout
        smashed = "×".join(map(str, self.task.smashed_shape))
        sent: Counter[str] = Counter()
        for link, count in self.bytes.items():
            sent[link.kind] += count
        shown = {
            "model": f"{r.model}, cut at {r.cut}: {smashed} per sample cross the cut",
            "protocol": r.protocol,
            "data": repr(self.data),
            "defense": r.defense,
            "seed": r.seed,
            "accuracy": f"{self.utility:.3f} on {len(held)} "
            + (
                "held-out samples" if self.holdout_unseen else "samples it may have been trained on"
            ),
            "majority share": f"{held.majority_share:.3f}",
            "balanced accuracy": f"{self.balanced_accuracy:.3f}",
            "on the wire": ", ".join(f"{k} {n / 1e6:.1f} MB" for k, n in sent.items()),
        }
        rows = (f"<tr><th>{k}</th><td>{escape(str(v))}</td></tr>" for k, v in shown.items())
        return f"<b>Victim</b><table>{''.join(rows)}</table>"
