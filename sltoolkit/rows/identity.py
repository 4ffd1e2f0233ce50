"""The columns that identify a row: what the victim is made of, and who attacked it."""

from collections.abc import Collection, Sequence
from typing import Any

from sltoolkit.attacks import ATTACKS
from sltoolkit.contracts.attack import AnyAttack, Attack, Listener
from sltoolkit.contracts.defense import Defense
from sltoolkit.data.samples import Split
from sltoolkit.data.targets import Targets
from sltoolkit.defenses import DEFENSES
from sltoolkit.models import Model
from sltoolkit.protocols import PROTOCOLS, Protocol
from sltoolkit.referee.judge import Verdict
from sltoolkit.rows.names import name_of, parameters_json
from sltoolkit.training.victim import Victim

Cut = str | int | Sequence[str | int]
"""The block after which the client ends, by name or number; several of them for more parts."""


def recipe_facts(
    model: Model, data: Split, cut: Cut, protocol: Protocol, defense: Defense, seed: int
) -> dict[str, Any]:
    """Of what a victim is made."""
    shown = model if isinstance(model, str) else getattr(model, "__name__", type(model).__name__)
    return {
        "protocol": name_of(protocol, PROTOCOLS),
        "protocol_params": parameters_json(protocol),
        "model": shown,
        "cut": str(cut) if isinstance(cut, str | int) else "+".join(map(str, cut)),
        "dataset": data.name,
        "split": "/".join(data.digests.values()),
        "defense": name_of(defense, DEFENSES),
        "defense_params": parameters_json(defense),
        "victim_seed": seed,
    }


def victim_facts(victim: Victim) -> dict[str, Any]:
    """The columns that identify a victim, its utility, and that of guessing among the classes."""
    chance = 1 / len(victim.data.classes)
    sent = sum(victim.bytes.values()) / max(1, len(victim.losses))
    return {**victim.facts, "utility": victim.utility, "chance": chance, "epoch_bytes": sent}


def attack_facts(
    victim: Victim, attack: AnyAttack, verdict: Verdict, *, seed: int, targets: Targets
) -> dict[str, Any]:
    """Of a judged attack, and of the victim it was mounted on; experiment and cell are blank."""
    guarantee = victim.configured_defense.guarantee(releases=verdict.releases, delta=1e-5)
    return {
        "experiment": "",
        "cell": "",
        **victim_facts(victim),
        "attack": name_of(attack, ATTACKS),
        "attack_params": parameters_json(attack),
        "family": attack.family,
        "attacker_seed": seed,
        "target_set": targets.part if attack.family == "reconstruction" else "private_train",
        "checkpoint": "final",
        "mounted": _mounted(attack),
        "adaptive": _adaptive(attack, verdict.knowledge),
        "epsilon": None if guarantee is None else guarantee.epsilon,
        "delta": None if guarantee is None else guarantee.delta,
    }


def _mounted(attack: AnyAttack) -> str:
    if isinstance(attack, Attack):
        return "afterwards"
    return "listening" if isinstance(attack, Listener) else "actively"


def _adaptive(attack: AnyAttack, knowledge: Collection[str]) -> bool:
    """Whether it knows the defense: learns from what crosses the wire, or holds its parameters."""
    learns = attack.family == "labels" or not isinstance(attack, Attack)
    return learns or bool({"release", "mechanism", "updates"} & set(knowledge))
