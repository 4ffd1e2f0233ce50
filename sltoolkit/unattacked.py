"""Nobody attacks: the victim alone."""

from dataclasses import dataclass
from typing import ClassVar, final

from sltoolkit.contracts import Attack, Family, Role, Task
from sltoolkit.outcomes import Outcome
from sltoolkit.streams import Stream


@final
@dataclass(frozen=True, kw_only=True)
class NoView:
    """Nothing but what everybody knows."""

    task: Task


@final
@dataclass(frozen=True, kw_only=True)
class NoAttack(Attack[NoView]):
    """Nobody attacks: only the victim's utility and costs are measured."""

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    view: ClassVar[type] = NoView
    family: ClassVar[Family] = "utility"
    citation: ClassVar[str] = "none: the victim alone"

    def run(self, view: NoView, *, rng: Stream) -> Outcome:
        """Nothing."""
        return Outcome()
