"""Every planted cheat, with the check that catches it and the text of the error.

from sltoolkit.testing.cheats.catalog import CHEATS

for cheat in CHEATS:
    print(cheat.caught())
"""

import re
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any, final

from sltoolkit.contracts.defense import Defense
from sltoolkit.protocols import Protocol, Vanilla
from sltoolkit.testing import attacks as whole_suite
from sltoolkit.testing import (
    check_attack,
    check_defense,
    check_protocol,
    defenses,
    evenhanded,
    facts,
    guarantees,
    judging,
    outcomes,
    protocols,
    sources,
    toys,
    victims,
)
from sltoolkit.testing import hijackers as hijacking
from sltoolkit.testing import listeners as listening
from sltoolkit.testing.cheats import attacks, hijackers, listeners, sleepers
from sltoolkit.testing.cheats import defenses as broken
from sltoolkit.testing.cheats import private_defenses as private
from sltoolkit.testing.cheats import protocols as scripts
from sltoolkit.training.victim import Victim


@final
@dataclass(frozen=True)
class Cheat:
    """A deliberately bad plug-in.

    Attributes:
        plugin: its class, or an instance with the parameters that make it bad.
        check: the single check that should catch it.
        says: a regular expression for that check's error.
        first_says: a regular expression for the whole suite's error, if an earlier check catches
            the cheat first.
        victim: makes the victim on which an attack cheats; None leaves the choice to the suite.
    """

    plugin: Any
    check: Callable[[Any], None]
    says: str
    _: KW_ONLY
    first_says: str = ""
    victim: Callable[[], Victim] | None = None

    @property
    def kind(self) -> type:
        """The plug-in's class."""
        return self.plugin if isinstance(self.plugin, type) else type(self.plugin)

    def caught(self) -> str:
        """The error of the cheat's own check.

        Raises:
            AssertionError: if the check lets the cheat pass, or says something else.
        """
        return self._said(self.check, self.says)

    def caught_by_suite(self) -> str:
        """The error of `check_attack`, `check_defense` or `check_protocol`.

        Raises:
            AssertionError: if the suite lets the cheat pass, or says something else.
        """
        if issubclass(self.kind, Defense):
            return self._said(check_defense, self.first_says or self.says)
        if issubclass(self.kind, Protocol):
            return self._said(check_protocol, self.first_says or self.says)
        on = [] if self.victim is None else [self.victim()]
        check = partial(check_attack, victims=on, protocols=[Vanilla()])
        return self._said(check, self.first_says or self.says)

    def _said(self, check: Callable[[Any], None], expected: str) -> str:
        name = self.kind.__name__
        said = facts.refusal_of(
            AssertionError, partial(check, self.plugin), otherwise=f"the suite lets {name} pass"
        )
        assert re.search(expected, said), f"{name} is caught for another reason: {said}"
        return said


def _noisy() -> Victim:
    return victims.trained(victims.usual, defended=True)


def _interferes(kind: Any) -> None:
    outcomes.check_non_interference(kind(), _noisy())


def _remembering() -> Victim:
    return toys.victim(attacks.RememberedNoise())


def _interferes_with_memory(kind: Any) -> None:
    outcomes.check_non_interference(kind(), _remembering())


def _wakes(kind: Any) -> None:
    whole_suite.check_awake(kind(), victims.usual)


def _wakes_in_training(kind: Any) -> None:
    listening.check_passive(kind, size=toys.LARGE)


def _varies(kind: Any) -> None:
    outcomes.check_determinism(kind(), victims.trained(victims.usual, defended=False))


def _tampers(kind: Any) -> None:
    judging.check_leaves_referee(kind(), victims.trained(victims.usual, defended=False))


def _overhears(kind: Any) -> None:
    listening.check_alone_or_not(kind, kind())


def _acts(kind: Any) -> None:
    hijacking.check_acts_by_what_it_says(kind, Vanilla())


def _imports(kind: Any) -> None:
    for module, text in sources.sources_of(kind).items():
        sources.check_imports(text, module)


UNGRANTED = "depends on what it was not granted"

ATTACKS: tuple[Cheat, ...] = (
    Cheat(attacks.ReadsTruthBehindOracle, _interferes, UNGRANTED),
    Cheat(attacks.FindsVictimInMemory, _interferes, UNGRANTED),
    Cheat(attacks.RebuildsVictimStream, _interferes, UNGRANTED),
    Cheat(attacks.DrawsFromVictimStream, _interferes, UNGRANTED),
    Cheat(attacks.ReadsLiveDefense, _interferes_with_memory, UNGRANTED, victim=_remembering),
    Cheat(sleepers.AsleepBelowTenTargets, _wakes, UNGRANTED),
    Cheat(sleepers.AsleepOnTinyImages, _wakes, UNGRANTED),
    Cheat(sleepers.AsleepWithFewSamples, _wakes, UNGRANTED),
    Cheat(attacks.PatchesRegistry, _tampers, r"void: .*METRICS\.mse of the referee changed"),
    Cheat(attacks.TurnsMetric, _tampers, r"void: .*higher_is_more_leak of the referee changed"),
    Cheat(attacks.PatchesReferee, _tampers, r"void: .*judge\.score of the referee changed"),
    Cheat(attacks.SeedsItself, _varies, "two outcomes"),
    Cheat(attacks.Remembers, _varies, "keeps something"),
    Cheat(
        attacks.AsksForTruth(), facts.check_frozen_view, "frozen dataclass"
    ),
    Cheat(attacks.HearsNothing(), facts.check_refusal, "needs no grant"),
    Cheat(attacks.CitesNobody(), facts.check_citation, "cites no paper"),
    Cheat(attacks.Loose, facts.check_default_constructible, "not frozen"),
    Cheat(attacks.GuessesSeed, _imports, r"makes a stream of its own, Stream\(seed\)"),
    Cheat(attacks.LooksAround, _imports, "imports gc, which an attack must not"),
)  # fmt: skip
"""Attacks after the fact."""

LISTENERS: tuple[Cheat, ...] = (
    Cheat(
        listeners.LeavesGradients, listening.check_passive,
        r"is not passive.*server#1\..*\.grad",
    ),
    Cheat(
        listeners.AsleepInSmallBatches, _wakes_in_training,
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
    Cheat(
        listeners.Peeks, listening.check_non_interference, "was not granted",
        first_says="two outcomes",
    ),
    Cheat(listeners.Drifts, listening.check_determinism, "two outcomes"),
    Cheat(listeners.Wearies, listening.check_determinism, "asked again"),
    Cheat(listeners.Overhears, _overhears, "what else listens", first_says="two outcomes"),
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
    Cheat(broken.OnlyAZeroLoss(), defenses.check_acts, "is inert", first_says="gradient is zero"),
    Cheat(
        broken.NoiseOnlyInTraining(), defenses.check_release_path_uses_it, "not what is released"
    ),
    Cheat(broken.FaintWhenDeployed(), evenhanded.check_stays_on, "is off when deployed"),
    Cheat(
        broken.NoiseOnlyInTraining(),
        evenhanded.check_stays_on,
        "is off when deployed",
        first_says="not what is released",
    ),
    Cheat(
        broken.OnlyTrained(),
        evenhanded.check_protects_unseen_records,
        "protects only the records that it was trained on",
        first_says="not what is released",
    ),
    Cheat(broken.WritesLabels(), evenhanded.check_writes_no_labels, "writes labels"),
    Cheat(broken.RemembersLabels(), evenhanded.check_writes_no_labels, "writes labels"),
    Cheat(broken.NoEvidence(), defenses.check_release_path_uses_it, "no evidence"),
    Cheat(broken.ZeroGradientLoss(), defenses.check_loss_has_gradient, "gradient is zero"),
    Cheat(broken.DetachedLoss(), defenses.check_loss_has_gradient, "nothing can learn"),
    Cheat(
        broken.SoftMask(),
        defenses.check_masks_are_exact,
        r"claims 0\.25 zeroed channels, 0\.\d+ are",
    ),
    Cheat(broken.IgnoresItsStrength(), defenses.check_strength_acts, "ignores its std"),
    Cheat(broken.Unseeded(), defenses.check_deterministic_per_stream, "two runs"),
    Cheat(
        broken.NeverTrainsItsNoise(),
        defenses.check_own_networks_learn,
        "never trains its own scale",
    ),
    Cheat(broken.OneForAll(), defenses.check_parties_share_no_state, "two parties share"),
    Cheat(broken.MeetsOnItsClass(), defenses.check_parties_share_no_state, "on its class"),
    Cheat(
        broken.Promises(limits=" "), defenses.check_guarantee_complete, "doesn't state its limits"
    ),
    Cheat(broken.Promises(growth=0.0), defenses.check_guarantee_complete, "for the price of one"),
    Cheat(
        broken.Promises(base=float("inf")), defenses.check_guarantee_complete, "no finite epsilon"
    ),
    Cheat(
        private.TooLittleNoise(),
        guarantees.check_guarantee_holds,
        r"claims epsilon 0\.1 after 1 release, but an audit shows at least",
    ),
    Cheat(private.NoClip(), guarantees.check_guarantee_holds, "isn't clipped"),
    Cheat(private.ClipsNumbers(), guarantees.check_guarantee_holds, "isn't clipped"),
    Cheat(private.ForgetsComposition(), guarantees.check_guarantee_holds, "after 10 releases, but"),
    Cheat(
        private.FixedNoise(),
        defenses.check_accepted,
        "is refused: .* two releases of a record in two batches are equal",
    ),
    Cheat(
        private.SharedNoise(),
        defenses.check_accepted,
        "is refused: .* two releases of a record in one batch are equal",
    ),
    Cheat(
        private.ReusesNoise(),
        guarantees.check_noise_is_fresh,
        "two releases of one record share noise",
    ),
    Cheat(
        private.MostlySharedNoise(),
        guarantees.check_noise_is_fresh,
        "the examples of a batch share noise",
    ),
    Cheat(
        private.NoiseByPlace(),
        guarantees.check_noise_is_fresh,
        "all batches, at one place in them, share noise",
    ),
    Cheat(broken.Misnamed, defenses.check_strength_is_field, "'sigma', none of its parameters"),
)

CHEATS: tuple[Cheat, ...] = (*ATTACKS, *LISTENERS, *HIJACKERS, *PROTOCOLS, *DEFENSES)
