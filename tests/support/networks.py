"""All networks of a run."""

from typing import Any


def weights(run: Any) -> dict[str, Any]:
    """The weights of every network of a run."""
    modules = {f"client{k}": m.party.module for k, m in enumerate(run.cast.clients)}
    modules["server"] = run.cast.server.party.module
    return {f"{k}.{n}": v.clone() for k, m in modules.items() for n, v in m.state_dict().items()}
