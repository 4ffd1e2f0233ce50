"""Lengths that no experiment can set, and that are shortened for canaries.

They are those of the baselines and of the rehearsals of listeners and hijackers. What they really
are is among a canary's settings, so that a change of a length isn't overlooked.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from sltoolkit.adversary import inverse_training, training_rehearsal
from sltoolkit.contracts.attack import ActiveAttack, AnyAttack, Listener
from sltoolkit.networks.fitting import BATCH
from sltoolkit.referee import baselines, constants

SHORT_BASELINES = 8
SHORT_REHEARSALS = {"VICTIMS": 2, "BATCHES": 6}


def full(attack: AnyAttack, *, samples: int) -> dict[str, int]:
    """The full lengths that a result of an attack depends on, by name.

    Args:
        attack: the attack.
        samples: how many samples the attacker has.
    """
    found = {
        "baselines.steps": inverse_training.steps_for(samples, BATCH),
        "baselines.constant_steps": constants.STEPS,
    }
    if attack.rehearses and isinstance(attack, Listener | ActiveAttack):
        found |= {f"rehearsal.{n}": getattr(training_rehearsal, n) for n in SHORT_REHEARSALS}
    return found


@contextmanager
def shortened() -> Iterator[None]:
    """Shorten baselines and rehearsals in the body."""
    with ExitStack() as stack:
        for name, short in SHORT_REHEARSALS.items():
            stack.enter_context(patch.object(training_rehearsal, name, short))
        stack.enter_context(patch.object(constants, "STEPS", SHORT_BASELINES))
        stack.enter_context(patch.object(baselines, "steps_for", lambda *_: SHORT_BASELINES))
        yield
