"""States of networks, runs and victims, to be compared bit for bit."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from sltoolkit.contracts.outcomes import Outcome
from sltoolkit.data.samples import Samples
from sltoolkit.streams import Stream
from sltoolkit.testing.runs import Witnessed
from sltoolkit.training.victim import Victim


def module_state(module: nn.Module) -> dict[str, Any]:
    """Everything a network can carry: weights, buffers, gradients, modes."""
    state: dict[str, Any] = {n: t.detach().clone() for n, t in module.state_dict().items()}
    for name, parameter in module.named_parameters():
        grad = parameter.grad
        state[f"{name}.grad"] = None if grad is None else grad.detach().clone()
        state[f"{name}.requires_grad"] = parameter.requires_grad
    for name, layer in module.named_modules():
        state[f"{name}.training"] = layer.training
    return state


def next_draws(stream: Stream) -> dict[str, Tensor]:
    """The next draws of a stream's generators, in its scope and by name; they are used up."""
    with stream.scope():
        scoped = torch.rand(2)
    return {"scope": scoped, "named": torch.rand(2, generator=stream.torch())}


def run_state(seen: Witnessed) -> dict[str, Any]:
    """The state that listeners must not change: networks, gradients, streams, losses, messages."""
    cast = seen.run.cast
    state: dict[str, Any] = {"losses": seen.losses, "global": torch.get_rng_state()}
    streams = {"server": cast.server.rng, "root": seen.run.rng}
    for k, member in enumerate(cast.clients):
        streams |= {f"order{k}": member.order, f"defense{k}": member.rng}
    for i, (seat, party, _) in enumerate(cast.networks()):
        name = f"{seat}#{i}"
        state |= {f"{name}.{n}": v for n, v in module_state(party.module).items()}
        streams[f"{name}.net"] = party.rng
    for name, stream in streams.items():
        state |= {f"stream.{name}.{n}": v for n, v in next_draws(stream).items()}
    return state | {f"message{i}.{m.kind}": m.payload for i, m in enumerate(seen.heard)}


def victim_state(victim: Victim) -> dict[str, Any]:
    """The state of a trained victim that an attack must not change."""
    state: dict[str, Any] = {"utility": victim.utility, "losses": victim.losses}
    modules = {"server": victim.server}
    for k, member in enumerate(victim.deployed):
        modules[f"client{k}"] = member.client
        modules |= {f"learned{k}.{n}": m for n, m in member.defense.learned().items()}
    for name, module in modules.items():
        state |= {f"{name}.{n}": v for n, v in module_state(module).items()}
    for part in ("private_train", "private_holdout", "aux"):
        held: Samples = getattr(victim.data, part)
        state |= {f"{part}.x": held.x.clone(), f"{part}.y": held.y.clone()}
    for link in victim.transcript.links():
        state[f"heard {link}"] = victim.transcript.record(link).rows
    return state | {"global": torch.get_rng_state()}


def tensors_of(outcome: Outcome) -> dict[str, Any]:
    """Everything an outcome holds, by name."""
    found: dict[str, Any] = {}
    for f in fields(outcome):
        value = getattr(outcome, f.name)
        if isinstance(value, nn.Module):
            found |= {f"{f.name}.{n}": t for n, t in value.state_dict().items()}
        elif f.name == "trace":
            found |= {f"trace.{step}": images for step, images in value.items()}
        else:
            found[f.name] = dict(value) if isinstance(value, Mapping) else value
    return found


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """The names under which two states are not bit-identical."""
    return sorted(n for n in a.keys() | b.keys() if not _same(a.get(n), b.get(n)))


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and _bytes(a) == _bytes(b)
    return type(a) is type(b) and bool(a == b)


def _bytes(t: Tensor) -> bytes:
    # bytes are compared: -0.0 differs from 0.0, and a NaN equals itself
    return t.detach().cpu().contiguous().numpy().tobytes()
