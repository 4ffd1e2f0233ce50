"""How a defense refuses impossible hyper-parameters."""

from sltoolkit.contracts.defense import Defense
from sltoolkit.errors import SpecError


def require(defense: Defense, name: str, holds: bool, expected: str) -> None:
    """Refuse the value of the hyper-parameter `name` unless it `holds`.

    Raises:
        SpecError: naming the defense, the hyper-parameter, what was expected and what was given.
    """
    if not holds:
        given = getattr(defense, name)
        raise SpecError(f"{type(defense).__name__}: {name} must be {expected}, got {given}")
