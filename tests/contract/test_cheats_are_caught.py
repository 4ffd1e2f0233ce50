"""Planted cheats: the contract suite catches each of them, and lets honest plug-ins pass."""

from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, cast, final

import pytest
import torch
from support.toys import CLASSES, QUICK, TARGETS, differences, split, victim_state
from support.toys import victim as trained
from torch import Tensor, nn

from contract import attack_checks as checks
from contract import cheats
from contract import source_checks as sources
from contract.worlds import selected
from sltoolkit.api import train
from sltoolkit.contracts.attack import Attack
from sltoolkit.contracts.defense import Defense
from sltoolkit.referee.mount import mount_in
from sltoolkit.referee.sources import knowledge_sources, trained_sources
from sltoolkit.referee.truth import asked_about
from sltoolkit.streams import Stream
from sltoolkit.training.victim import Victim
from sltoolkit.wire.turn import Turn


@final
@dataclass(kw_only=True, eq=False)
class RememberedNoise(Defense):
    """Noise that the live object remembers; its public parameters don't tell it."""

    citation: ClassVar[str] = "nobody 2026"
    strength: ClassVar[str] = "std"
    std: float = 0.3

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        """Fresh noise."""
        self.last = torch.randn(z.shape, generator=turn.rng.torch())
        return z + self.std * self.last


def test_an_honest_attack_passes_every_check(victim: Victim, noisy_victim: Victim) -> None:
    for whom in (victim, noisy_victim):
        checks.check_determinism(cheats.Honest(), whom)
        checks.check_non_interference(cheats.Honest(), whom)
        checks.check_leaves_victim(cheats.Honest(), whom)
    checks.check_refusal(cheats.Honest())
    checks.check_frozen_view(cheats.Honest())
    checks.check_default_constructible(cheats.Honest)
    checks.check_citation(cheats.Honest())


def test_the_two_worlds_leave_the_victim_as_it_was(victim: Victim) -> None:
    before = victim_state(victim)
    checks.check_non_interference(cheats.Honest(), victim)
    assert differences(before, victim_state(victim)) == []


@pytest.mark.parametrize(
    "cheat",
    [
        cheats.ReadsTruthBehindOracle(), cheats.FindsVictimInMemory(),
        cheats.RebuildsVictimStream(), cheats.DrawsFromVictimStream(),
    ],
    ids=lambda cheat: type(cheat).__name__,
)  # fmt: skip
def test_non_interference_catches(cheat: Attack[Any], noisy_victim: Victim) -> None:
    with pytest.raises(AssertionError, match="depends on what it was not granted"):
        checks.check_non_interference(cheat, noisy_victim)


def test_non_interference_catches_who_takes_the_live_defenses_noise() -> None:
    victim = trained(RememberedNoise())
    with pytest.raises(AssertionError, match="depends on what it was not granted"):
        checks.check_non_interference(cheats.ReadsLiveDefense(), victim)


@pytest.mark.parametrize(
    ("cheat", "said"),
    [(cheats.SeedsItself(), "two outcomes"), (cheats.Remembers(), "keeps something")],
)
def test_determinism_catches(cheat: Attack[Any], said: str, victim: Victim) -> None:
    with pytest.raises(AssertionError, match=said):
        checks.check_determinism(cheat, victim)


@pytest.mark.parametrize("kind", [cheats.LeavesGradients, cheats.OverwritesView])
def test_touching_the_servers_network_is_harmless_on_a_view(
    kind: type[Attack[Any]], victim: Victim
) -> None:
    checks.check_leaves_victim(kind(), victim)


@pytest.mark.parametrize("kind", [cheats.LeavesGradients, cheats.OverwritesView])
def test_touching_the_live_servers_network_is_caught(
    kind: type[Attack[Any]], victim: Victim
) -> None:
    own = checks.duplicate(victim)
    view = checks.view_for(kind(), own, selected(own), Stream(0))
    live = replace(view, server_weights=own.server)
    with pytest.raises(AssertionError, match=r"changes the victim.*server"):
        checks.check_leaves_victim(kind(), own, live)


def test_every_grant_is_a_copy(victim: Victim) -> None:
    before = victim_state(victim)
    mount = mount_in(victim.protocol, "server")
    asked = asked_about(victim, TARGETS, "reconstruction")
    sources = trained_sources(victim, asked, mount, Stream(0))
    for name in ("aux", "smashed", "smashed_grad", "labels", "hints", "prior", "client_weights",
                 "server_weights"):  # fmt: skip
        checks.overwrite(sources[name]())
    assert differences(before, victim_state(victim)) == []


def test_a_granted_architecture_carries_nothing_that_was_learned() -> None:
    class Scaled(nn.Module):
        """With a weight of its own, which no layer knows how to draw anew."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(1, 4, 3, padding=1)
            self.norm = nn.BatchNorm2d(4)
            self.scale = nn.Parameter(torch.ones(4, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            return cast(Tensor, self.norm(self.layer(x))) * self.scale

    def make() -> nn.Module:
        head = nn.Sequential(nn.Flatten(), nn.Linear(256, CLASSES))
        return nn.Sequential(OrderedDict([("client", Scaled()), ("server", head)]))

    built = []
    for seed in (0, 1):
        trained = train(make, split(), cut="client", seed=seed, training=QUICK, targets=TARGETS)
        sources = knowledge_sources(
            trained.data,
            trained.task,
            trained.client.client,
            trained.configured_defense,
            trained.rng,
        )
        built.append(sources["client_arch"]()(Stream(3)).state_dict())
    assert differences(*built) == []


@pytest.mark.parametrize("count", [1, 10])
def test_honest_listeners_are_passive(count: int) -> None:
    checks.check_passive(cheats.Cheating, count=count)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (cheats.ListenerLeavesGradients, r"server#1\..*\.grad"),
        (cheats.ListenerMovesBuffers, r"running_mean|message"),
        (cheats.ListenerSharesStream, r"message|client#0|losses"),
        (cheats.ListenerAnswers, r"message|client#0"),
    ],
)
def test_passivity_catches(kind: type[cheats.Cheating], said: str) -> None:
    with pytest.raises(AssertionError, match=rf"is not passive.*({said})"):
        checks.check_passive(kind)


@pytest.mark.parametrize(
    "line",
    [
        "from sltoolkit.referee.judge import score", "import sltoolkit.api",
        "from sltoolkit import train", "x = getattr(release, '_ask')",
        "from sltoolkit.training.victim import Victim", "from sltoolkit.referee.truth import Truth",
        "from sltoolkit.metrics import leak_auc", "from sltoolkit.metrics.labels import accuracy",
        "from sltoolkit.data.targets import image_targets", "import gc", "import inspect",
        "import sys",
        "from pathlib import Path", "import sltoolkit",
        "from sltoolkit.parties.settings import Training",
        "from sltoolkit.data.samples import Split",
        "x = release._ask.__closure__", "y = __import__('gc')",
        "import torch; torch.manual_seed(0)",
    ],
)  # fmt: skip
def test_the_import_rule_catches(line: str) -> None:
    with pytest.raises(AssertionError, match="an attack must not"):
        sources.check_imports(line, "cheat.py")


def test_the_import_rule_catches_the_planted_cheats() -> None:
    with pytest.raises(AssertionError, match="must not"):
        sources.check_imports(sources.source_of(cheats.Honest), "cheats.py")


def test_reading_others_private_attributes_is_caught() -> None:
    text = Path(str(cheats.__file__)).read_text()
    with pytest.raises(AssertionError, match="none of its business"):
        sources.check_own_privates(text, "cheats.py")
    sources.check_own_privates(
        "class A:\n    def f(self):\n        self._x = 1\n        return self._x", "a"
    )


@pytest.mark.parametrize(
    "line",
    [
        "x = y.cuda()", "x = y.to('cuda:0')", "d = torch.device('cpu')", "x = torch.zeros(3)",
        "x = torch.randn(3, device=y.device, generator=rng.torch())", "x = y.cpu()",
    ],
)  # fmt: skip
def test_a_fixed_device_is_caught(line: str) -> None:
    with pytest.raises(AssertionError, match=r"a\.py:1"):
        sources.check_device_agnostic(line, "a.py")


@pytest.mark.parametrize(
    "line",
    [
        "x = torch.zeros(3, device=y.device)", "x = torch.zeros(3).to(y)",
        "x = torch.randn(3, device=y.device, generator=rng.torch(y.device))",
        "i = torch.randperm(3, generator=rng.torch()).split(2)",
    ],
)  # fmt: skip
def test_following_the_inputs_device_is_not(line: str) -> None:
    sources.check_device_agnostic(line, "a.py")


def test_an_attack_without_grants_or_freezing_or_citation_is_caught() -> None:
    @dataclass(kw_only=True)
    class Truth:
        truth: Tensor

    @dataclass(frozen=True, kw_only=True)
    class Nothing:
        task: Any

    class Odd(cheats.Toy):
        view = Truth
        citation = "somebody, some time"

    class Deaf(cheats.Toy):
        view = Nothing

    @dataclass(kw_only=True)
    class Loose:
        sharpness: float = 1.0

    with pytest.raises(AssertionError, match="frozen dataclass"):
        checks.check_frozen_view(Odd())
    with pytest.raises(AssertionError, match="not frozen"):
        checks.check_default_constructible(Loose)
    with pytest.raises(AssertionError, match="cites no paper"):
        checks.check_citation(Odd())
    with pytest.raises(AssertionError, match="needs no grant"):
        checks.check_refusal(Deaf())
