"""How a victim is made."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self, final

from sltoolkit.parties.settings import Training


@final
@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides how a victim is made, known before it is trained.

    Attributes:
        protocol: registered name of the protocol.
        protocol_params: its parameters as JSON.
        model: name of the model, with the parameters that were given for it.
        cut: the block after which the client's network ends; several are joined by `+`.
        dataset: name of the data set.
        split: hashes of its three parts, joined by `/`; empty as long as no data was read.
        defense: registered name of the defense; the links of a chain are joined by `+`.
        defense_params: its parameters as JSON (a list for a chain, link by link).
        seed: the victim's seed.
        training: how the parties learn; None for a victim that was trained elsewhere.
        epochs: epochs of the protocol that were, or will be, run.
        partition: how samples are dealt to clients, with parameters; empty for the usual way.
        reducer: the lossy codec on the wire, with parameters; empty for none.
        salt: short hash of the salt of its random streams; empty without a salt.
    """

    protocol: str
    protocol_params: str
    model: str
    cut: str
    dataset: str
    split: str
    defense: str
    defense_params: str
    seed: int
    training: Training | None
    epochs: int
    partition: str = ""
    reducer: str = ""
    salt: str = ""

    def record(self) -> dict[str, Any]:
        """The recipe as plain JSON."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The recipe that `record` wrote."""
        training = record["training"]
        return cls(**{**record, "training": None if training is None else Training(**training)})
