"""Every planted cheat with the check that catches it, and what that says.

from sltoolkit.testing.cheats.catalog import CHEATS

for cheat in CHEATS:
    print(cheat.caught())
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, final

from sltoolkit.protocols import Vanilla
from sltoolkit.testing import defenses, facts, outcomes, protocols, sources, toys, victims
from sltoolkit.testing import hijackers as hijacking
from sltoolkit.testing import listeners as listening
from sltoolkit.testing.cheats import attacks, hijackers, listeners
from sltoolkit.testing.cheats import defenses as broken
from sltoolkit.testing.cheats import protocols as scripts
from sltoolkit.training.victim import Victim


@final
@dataclass(frozen=True)
class Cheat:
    """A deliberately bad plug-in.

    Attributes:
        plugin: its class, or an instance with the parameters that make it bad.
        check: what catches it.
        says: what the check says, as a regular expression.
    """

    plugin: Any
    check: Callable[[Any], None]
    says: str

    @property
    def name(self) -> str:
        """Its class's name."""
        kind = self.plugin if isinstance(self.plugin, type) else type(self.plugin)
        return kind.__name__

    def caught(self) -> str:
        """What the check says of it.

        Raises:
            AssertionError: if the check lets it pass, or says something else.
        """
        said = facts.refusal_of(
            AssertionError, partial(self.check, self.plugin),
            otherwise=f"the suite lets {self.name} pass",
        )  # fmt: skip
        assert re.search(self.says, said), f"{self.name} is caught for another reason: {said}"
        return said


def _noisy() -> Victim:
    return victims.trained(victims.usual, defended=True)


def _interferes(kind: Any) -> None:
    outcomes.check_non_interference(kind(), _noisy())


def _interferes_with_memory(kind: Any) -> None:
    outcomes.check_non_interference(kind(), toys.victim(attacks.RememberedNoise()))


def _varies(kind: Any) -> None:
    outcomes.check_determinism(kind(), victims.trained(victims.usual, defended=False))


def _overhears(kind: Any) -> None:
    listening.check_alone_or_not(kind, kind())


def _acts(kind: Any) -> None:
    hijacking.check_acts_by_what_it_says(kind, Vanilla())


def _imports(kind: Any) -> None:
    for module, text in sources.sources_of(kind).items():
        sources.check_imports(text, module)


def _reads_privates(kind: Any) -> None:
    for module, text in sources.sources_of(kind).items():
        sources.check_own_privates(text, module)


UNGRANTED = "depends on what it was not granted"

ATTACKS: tuple[Cheat, ...] = (
    Cheat(attacks.ReadsTruthBehindOracle, _interferes, UNGRANTED),
    Cheat(attacks.FindsVictimInMemory, _interferes, UNGRANTED),
    Cheat(attacks.RebuildsVictimStream, _interferes, UNGRANTED),
    Cheat(attacks.DrawsFromVictimStream, _interferes, UNGRANTED),
    Cheat(attacks.ReadsLiveDefense, _interferes_with_memory, UNGRANTED),
    Cheat(attacks.SeedsItself, _varies, "two outcomes"),
    Cheat(attacks.Remembers, _varies, "keeps something"),
    Cheat(
        attacks.AsksForTruth(), facts.check_frozen_view, "frozen dataclass"
    ),
    Cheat(attacks.HearsNothing(), facts.check_refusal, "needs no grant"),
    Cheat(attacks.CitesNobody(), facts.check_citation, "cites no paper"),
    Cheat(attacks.Loose, facts.check_default_constructible, "not frozen"),
    Cheat(attacks.Honest, _imports, "imports gc, which an attack must not"),
    Cheat(attacks.Honest, _reads_privates, "none of its business"),
)  # fmt: skip
"""Attacks after the fact; what is wrong with `Honest` is the company that it keeps in its file."""

LISTENERS: tuple[Cheat, ...] = (
    Cheat(
        listeners.LeavesGradients, listening.check_passive,
        r"is not passive.*server#1\..*\.grad",
    ),
    Cheat(
        listeners.MovesBuffers, listening.check_passive,
        r"is not passive.*(running_mean|message)",
    ),
    Cheat(
        listeners.SharesStream, listening.check_passive,
        r"is not passive.*(message|client#0|losses)",
    ),
    Cheat(
        listeners.Answers, listening.check_passive,
        r"is not passive.*(message|client#0)",
    ),
    Cheat(listeners.Peeks, listening.check_non_interference, "was not granted"),
    Cheat(listeners.Drifts, listening.check_determinism, "two outcomes"),
    Cheat(listeners.Wearies, listening.check_determinism, "asked again"),
    Cheat(listeners.Overhears, _overhears, "who else listens"),
)  # fmt: skip

HIJACKERS: tuple[Cheat, ...] = (
    Cheat(hijackers.DrawsFromGlobals, _acts, "acts by more than it says"),
)

PROTOCOLS: tuple[Cheat, ...] = (
    Cheat(scripts.CitesNobody(), facts.check_citation, "cites no paper"),
    Cheat(
        scripts.HearsSilence(clients=2), protocols.check_seats_hear_what_travels,
        "hears labels from server to client, where nothing travels",
    ),
    Cheat(
        scripts.InventsGrants(clients=2), protocols.check_seats_hear_what_travels,
        r"\['truth'\], which are no grants",
    ),
    Cheat(
        scripts.OnlyTalksOfLearning(clients=2), protocols.check_learns_as_it_says,
        "learns is True, but its weights stay where they are",
    ),
    Cheat(
        scripts.Unseeded(clients=2), protocols.check_reproducible,
        "with one seed gives two victims",
    ),
    Cheat(
        scripts.NoticesEars(clients=2), protocols.check_deaf_to_ears,
        "another victim when somebody listens",
    ),
    Cheat(
        scripts.NoticesDefenses(clients=2), protocols.check_seamless_defense_is_none,
        "another victim with a defense that does nothing",
    ),
)  # fmt: skip


DEFENSES: tuple[Cheat, ...] = (
    Cheat(broken.DoesNothing(), defenses.check_acts, "is inert"),
    Cheat(broken.NoiseOnACopy(), defenses.check_acts, "is inert"),
    Cheat(broken.OnlyAZeroLoss(), defenses.check_acts, "is inert"),
    Cheat(
        broken.NoiseOnlyInTraining(), defenses.check_release_path_uses_it, "not what is released"
    ),
    Cheat(broken.NoEvidence(), defenses.check_release_path_uses_it, "no evidence"),
    Cheat(broken.ZeroGradientLoss(), defenses.check_loss_has_gradient, "gradient is zero"),
    Cheat(broken.DetachedLoss(), defenses.check_loss_has_gradient, "nothing can learn"),
    Cheat(broken.SoftMask(), defenses.check_masks_are_exact, r"claims 0\.25 zeroed channels, 0\.0"),
    Cheat(broken.IgnoresItsStrength(), defenses.check_strength_acts, "ignores its std"),
    Cheat(broken.Unseeded(), defenses.check_deterministic_per_stream, "two runs"),
    Cheat(broken.OneForAll(), defenses.check_parties_share_no_state, "two parties share"),
    Cheat(broken.MeetsOnItsClass(), defenses.check_parties_share_no_state, "on its class"),
    Cheat(
        broken.Promises(limits=" "), defenses.check_guarantee_complete, "doesn't state its limits"
    ),
    Cheat(broken.Promises(growth=0.0), defenses.check_guarantee_complete, "for the price of one"),
    Cheat(
        broken.Promises(base=float("inf")), defenses.check_guarantee_complete, "no finite epsilon"
    ),
    Cheat(broken.Misnamed, defenses.check_strength_is_field, "'sigma', none of its parameters"),
)

CHEATS: tuple[Cheat, ...] = (*ATTACKS, *LISTENERS, *HIJACKERS, *PROTOCOLS, *DEFENSES)
