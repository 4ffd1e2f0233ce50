"""Makes the recipe of a victim from the objects that the victim is made of."""

from collections.abc import Sequence

from sltoolkit.contracts.defense import Defense
from sltoolkit.data.partition import PARTITIONS, Dealt, Partition
from sltoolkit.defenses import DEFENSES
from sltoolkit.parties.settings import Training
from sltoolkit.protocols import PROTOCOLS, Protocol
from sltoolkit.rows.names import described, name_of, parameters_json
from sltoolkit.training.recipe import Recipe
from sltoolkit.training.secret import salt_digest
from sltoolkit.wire.codec import Reducer
from sltoolkit.wire.reducers import REDUCERS

Cut = str | int | Sequence[str | int]
"""The block after which the client's part ends, by name or number; a list for more parts."""


def recipe_of(
    *,
    model: str,
    dataset: str,
    split: str,
    cut: Cut,
    protocol: Protocol,
    defense: Defense,
    seed: int,
    training: Training | None,
    epochs: int,
    partition: Partition,
    reducer: Reducer | None,
    salt: str,
) -> Recipe:
    """The recipe of a victim.

    Args:
        model: the name of its model.
        dataset: the name of its data set.
        split: hashes of the parts of its data; empty if no data was read.
        cut: where the model is cut.
        protocol: its protocol.
        defense: its defense.
        seed: its seed.
        training: how its parties learn; None if it was trained elsewhere.
        epochs: how many epochs the protocol runs.
        partition: which client holds which samples.
        reducer: a lossy codec on the wire, if any.
        salt: what its random streams depend on besides its seed and data.
    """
    return Recipe(
        protocol=name_of(protocol, PROTOCOLS),
        protocol_params=parameters_json(protocol),
        model=model,
        cut=str(cut) if isinstance(cut, str | int) else "+".join(map(str, cut)),
        dataset=dataset,
        split=split,
        defense=name_of(defense, DEFENSES),
        defense_params=parameters_json(defense),
        seed=seed,
        training=training,
        epochs=epochs,
        partition="" if partition == Dealt() else described(partition, PARTITIONS),
        reducer="" if reducer is None else described(reducer, REDUCERS),
        salt=salt_digest(salt),
    )
