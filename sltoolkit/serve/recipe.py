"""The one run that an experiment spec describes, seated."""

from importlib.metadata import version
from typing import Any

import torch

from sltoolkit import models
from sltoolkit.bench import recipes
from sltoolkit.bench.spec import Spec, Table
from sltoolkit.data import check_disjoint
from sltoolkit.errors import SpecError
from sltoolkit.training.run import Run, seat_parties, with_format
from sltoolkit.training.secret import victim_stream
from sltoolkit.wire.codec import Reducer
from sltoolkit.wire.wire import Wire


def recipe_of(spec: Spec) -> Table:
    """The only victim of a spec, with its defense and its first seed.

    Raises:
        SpecError: if the spec describes several victims, or a model that is trained already.
    """
    if spec.sweep:
        raise SpecError(
            f"sweep: one run can be served at a time, and this sweeps {', '.join(spec.sweep)}"
        )
    if len(spec.defense) > 1:
        raise SpecError(f"defense: one run can be served at a time, got {len(spec.defense)}")
    if spec.checkpoint is not None:
        raise SpecError("checkpoint: the model is trained already; there is nothing to serve")
    own = (
        "data", "model", "protocol", "partition", "reducer", "training", "targets", "device",
        "salt",
    )  # fmt: skip
    table = spec.model_dump()
    return {key: table[key] for key in own} | {"defense": spec.defense[0], "seed": spec.seeds[0]}


def plan_of(recipe: Table) -> Table:
    """The plan of the run, which must be the same in all processes."""
    return {"recipe": recipe, "torch": torch.__version__, "sltoolkit": version("sltoolkit")}


def seated(recipe: Table, *, device: torch.device) -> tuple[Run, int]:
    """The run of a recipe with all parties seated, and its number of epochs.

    Raises:
        SpecError: if the recipe is wrong, or its protocol trains nothing.
        DataError: if the data are missing or too small, or aux holds private records.
        ProtocolError: if the parties don't fit together.
    """
    given: dict[str, Any] = recipes.arguments(recipe)
    recipes.forget_data()  # a process keeps no samples but its own
    protocol, training = given["protocol"], given["training"]
    if not protocol.learns:
        raise SpecError(f"protocol: {recipe['protocol']['name']} trains nothing")
    rng = victim_stream(given["seed"], given["data"], salt=given["salt"])
    with rng.child("init").scope():
        whole = given["model"]()
    check_disjoint(given["data"])
    parts = models.verified_cut(whole, given["cut"], given["data"].private_train.x)
    parts = tuple(part.to(device) for part in parts)
    data = with_format(parts, given["data"].to(device), training)
    reducer: Reducer | None = given["reducer"]
    run = seat_parties(
        parts, data, protocol=protocol, defense=given["defense"], training=training, rng=rng,
        partition=given["partition"], wire=Wire(codec=reducer.begin() if reducer else None),
    )  # fmt: skip
    return run, training.epochs
