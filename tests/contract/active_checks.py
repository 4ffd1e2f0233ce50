"""What every active attack must keep to, besides what all attacks must."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

from support.toys import CUT, TARGETS, AllEars, Witnessed, differences, run_state, seated, victim
from torch import Tensor

from contract.attack_checks import everything, tensors_of
from sltoolkit.api import attack
from sltoolkit.contracts.attack import (
    ActiveAttack,
    AnyAttack,
    Attack,
    BatchView,
    Family,
    ListenerState,
    Role,
)
from sltoolkit.contracts.defense import Defense
from sltoolkit.contracts.grants import needs
from sltoolkit.contracts.outcomes import Outcome
from sltoolkit.parties.stages import Middle, Server, Stage
from sltoolkit.protocols import Protocol
from sltoolkit.referee.listening import seize
from sltoolkit.streams import Stream
from sltoolkit.training.phases import run_phases
from sltoolkit.training.victim import AttachedListener, Victim
from sltoolkit.wire.message import Message
from sltoolkit.wire.wire import Wire


def hijacked(
    active: ActiveAttack[Any],
    protocol: Protocol,
    defense: Defense | None = None,
    *,
    norm: Literal["batch", "group"] = "batch",
) -> Victim:
    """A toy victim whose training it took part in."""
    cut = CUT if protocol.parts == 2 else (CUT, "flatten")
    return victim(
        defense, norm=norm, protocol=protocol, cut=cut, active=active, grants=granted(active)
    )


def granted(attack: AnyAttack) -> frozenset[str]:
    """All it can use, before and after the training."""
    required, usable = needs(getattr(attack, "setup", attack.view))
    return everything(attack) | required | usable


def check_reproducible(kind: type[ActiveAttack[Any]], protocol: Protocol) -> None:
    """One seed, one outcome, whatever the global generators hold; asked twice, it says the same."""
    outcomes = []
    for i in range(2):
        active = kind.smoke()
        with Stream(50 + i).scope():
            taken = hijacked(active, protocol)
            outcomes += [tensors_of(attack(taken, active).outcome) for _ in range(2)]
    for other, what in zip(outcomes[1:], ("asked twice", "run twice", "run twice"), strict=True):
        wrong = differences(outcomes[0], other)
        assert not wrong, f"{kind.__name__}, {what}, gives two outcomes: {wrong} differ"


def check_acts_by_what_it_says(kind: type[ActiveAttack[Any]], protocol: Protocol) -> None:
    """Whoever merely repeats its messages has the same effect on everybody: bit for bit.

    It changes nobody but by what it sends: no weights, no random states, no data.
    """
    live, heard = _played(kind.smoke(), protocol)
    said = tuple(message for message in heard if message.src.name == "server")
    repeated, _ = _played(Puppet(said=said), protocol)
    wrong = differences(live, repeated)
    assert not wrong, f"{kind.__name__} acts by more than it says: {wrong[:4]} differ"


def _played(active: ActiveAttack[Any], protocol: Protocol) -> tuple[dict[str, Any], list[Message]]:
    """All that can be seen of a run from outside, and its messages."""
    with Stream(9).scope():
        run, ears = seated(norm="batch", protocol=protocol), AllEars()
        _, ear = seize(active, run, seed=5, grants=granted(active))
        run.cast.wire = Wire([ears, ear])
        seen = Witnessed(run=run, heard=ears.heard, losses=run_phases(run, 2))
        return run_state(seen), ears.heard


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Nothing:
    """What a puppet needs."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Puppet(ActiveAttack[Nothing]):
    """Says what another server said.

    Attributes:
        said: its messages, in order.
    """

    roles: ClassVar[tuple[Role, ...]] = ("server",)
    family: ClassVar[Family] = "reconstruction"
    setup: ClassVar[type] = Nothing
    view: ClassVar[type] = Nothing
    citation: ClassVar[str] = "none"

    said: tuple[Message, ...]

    def seize(
        self, honest: Stage, setup: Nothing, first: Tensor, *, rng: Stream
    ) -> tuple[Stage, ListenerState]:
        """Sit where the other sat."""
        script = iter(self.said)
        kind = PuppetMiddle if isinstance(honest, Middle) else PuppetServer
        return kind(script), _Deaf()


class _Puppet:
    def __init__(self, script: Iterator[Message]) -> None:
        self._script = script

    def learn(self, learning: bool) -> None:
        """It can't."""

    def say(self) -> Tensor:
        """The next payload."""
        return next(self._script).payload.clone()


@final
class PuppetServer(_Puppet, Server):
    """Behind the cut."""

    def step(self, smashed: Tensor, labels: Tensor) -> Tensor:
        """The gradient that the other sent."""
        return self.say()


@final
class PuppetMiddle(_Puppet, Middle):
    """Between head and tail."""

    def forward(self, received: Tensor) -> Tensor:
        """The features that the other sent."""
        return self.say()

    def backward(self, grad: Tensor) -> Tensor:
        """The gradient that the other sent."""
        return self.say()


@final
class _Deaf(ListenerState):
    def hear(self, heard: BatchView) -> None:
        """Nothing."""

    def finish(self, view: Any) -> Outcome:
        """Nothing."""
        return Outcome()


def finishing(attached: AttachedListener) -> Attack[Any]:
    """What a listener state does at the end, as an attack after the fact, whose checks apply."""
    heard = attached.attack

    @dataclass(frozen=True, kw_only=True)
    class Finishing(Attack[Any]):
        roles: ClassVar[tuple[Role, ...]] = heard.roles
        family: ClassVar[Family] = heard.family
        view: ClassVar[type] = heard.view
        citation: ClassVar[str] = heard.citation

        def run(self, view: Any, *, rng: Stream) -> Outcome:
            return attached.listener_state.finish(view)

    Finishing.__name__ = type(heard).__name__
    return Finishing()


def check_well_formed(victim: Victim, attacker: AnyAttack) -> None:
    """The referee can judge it on the very targets that it was asked about."""
    result = attack(victim, attacker, targets=TARGETS, grants=granted(attacker))
    assert len(result.rows()), f"{type(attacker).__name__} can't be judged"
    for name, scores in result.verdict.scores.items():
        assert bool(scores.isfinite().all()), f"{type(attacker).__name__} has no finite {name}"
