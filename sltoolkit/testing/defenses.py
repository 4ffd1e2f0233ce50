"""The checks of every defense; each raises an `AssertionError` that is a sentence.

from sltoolkit.testing import check_defense

check_defense(MyDefense)             # at its smallest setting
check_defense(MyDefense(std=0.5))    # with these parameters
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from sltoolkit.contracts.defense import Defense
from sltoolkit.protocols import Vanilla
from sltoolkit.rows.names import parameters_json
from sltoolkit.streams import Stream
from sltoolkit.testing import facts
from sltoolkit.testing.at_work import accepted
from sltoolkit.testing.evenhanded import (
    check_protects_unseen_records,
    check_stays_on,
    check_writes_no_labels,
)
from sltoolkit.testing.guarantees import check_guarantee_holds, check_noise_is_fresh
from sltoolkit.testing.runs import Witnessed, seated, witness
from sltoolkit.testing.sources import DEFENSES, source_checks
from sltoolkit.testing.states import differences, module_state
from sltoolkit.testing.toys import split
from sltoolkit.training.guarded import Guarded
from sltoolkit.training.phases import deploy
from sltoolkit.wire.turn import Turn


def check_defense(defense: type[Defense] | Defense) -> None:
    """Run every check of a defense.

    Args:
        defense: a class, which is checked at its smallest setting (`smoke`), or an instance.

    Raises:
        AssertionError: with a sentence that says what is wrong.
    """
    for check in defense_checks(defense).values():
        check()


def defense_checks(defense: type[Defense] | Defense) -> dict[str, Callable[[], None]]:
    """Every check of a defense, by name."""
    kind = defense if isinstance(defense, type) else type(defense)
    one = facts.smallest(defense)
    return {
        "default_constructible": partial(facts.check_default_constructible, kind),
        "strength_is_field": partial(check_strength_is_field, kind),
        "citation": partial(facts.check_citation, one),
        **{check.__name__.removeprefix("check_"): partial(check, one) for check in CHECKS},
        **source_checks(kind, DEFENSES),
    }


def check_strength_is_field(kind: type[Defense]) -> None:
    """`strength` names a number among the defense's parameters, so that sweeps can change it."""
    names = {f.name for f in fields(kind) if f.init}  # type: ignore[arg-type]
    assert kind.strength in names, (
        f"{kind.__name__}.strength is {kind.strength!r}, none of its parameters {sorted(names)}"
    )
    value = getattr(kind(), kind.strength)
    assert isinstance(value, int | float), f"{kind.__name__}.{kind.strength} is no number"


def messages(seen: Witnessed) -> dict[str, Tensor]:
    """Everything that crossed the wire, and the client's weights and buffers."""
    found: dict[str, Any] = {f"{i}.{m.kind}": m.payload for i, m in enumerate(seen.heard)}
    return found | {f"client.{n}": v for n, v in module_state(seen.client).items()}


@cache
def _undefended() -> dict[str, Any]:
    return messages(witness(seated()))


def check_acts(defense: Defense) -> None:
    """With the same seeds, the defense changes the messages or the client's network."""
    assert differences(_undefended(), messages(witness(seated(defense)))), (
        f"{type(defense).__name__} is inert: messages and client are those without it"
    )


def check_strength_acts(defense: Defense) -> None:
    """Halving the strength changes something."""
    values = {f.name: getattr(defense, f.name) for f in fields(defense) if f.init}  # type: ignore[arg-type]
    full = values[defense.strength]
    values[defense.strength] = full // 2 if isinstance(full, int) else full / 2
    weaker = type(defense)(**values)
    runs = (messages(witness(seated(d))) for d in (defense, weaker))
    assert differences(*runs), f"{type(defense).__name__} ignores its {defense.strength}"


def check_release_path_uses_it(defense: Defense) -> None:
    """A defense that changes the first batch in training also changes what is released later."""
    name = type(defense).__name__
    first = [witness(seated(d), epochs=1).payloads("smashed")[0] for d in (None, defense)]
    clean, sent = released(defense)
    if not torch.equal(*first):
        rms = float((sent - clean).square().mean().sqrt())
        assert rms > 0, f"{name} changes what is sent in training, but not what is released"
        found = defense.evidence(clean[None], sent[None])
        assert any(v > 0 for v in found.values()), f"{name} shows no evidence of what it does"


def released(defense: Defense, *, seed: int = 11) -> tuple[Tensor, Tensor]:
    """Smashed data before and after the defense, from the deployed client."""
    run = seated(defense)
    witness(run, epochs=1)
    member = deploy(run)[0][0]
    with torch.no_grad():
        return member.replica().smash(split().private_holdout.x, Stream(seed))


def check_masks_are_exact(defense: Defense) -> None:
    """If a fraction of zeroed channels is claimed, these channels are exactly zero when sent."""
    run = seated(defense)
    witness(run, epochs=1)
    member = deploy(run)[0][0]
    with torch.no_grad():
        clean, sent = member.replica().smash(split().private_holdout.x, Stream(11))
    claimed = member.defense.evidence(clean[None], sent[None]).get("zero_channels")
    if claimed is None:
        return
    exact = float((sent.flatten(2) == 0).all(2).double().mean())
    before = float((clean.flatten(2) == 0).all(2).double().mean())
    name = type(defense).__name__
    assert math.isclose(claimed, exact), f"{name} claims {claimed} zeroed channels, {exact} are"
    assert exact > before, f"{name} zeroes no channel"


def check_deterministic_per_stream(defense: Defense) -> None:
    """One seed gives one run and one release, whatever state the global generators have."""
    seen = []
    for i in range(2):
        with Stream(100 + i).scope():
            clean, sent = released(defense)
            seen.append(messages(witness(seated(defense))) | {"clean": clean, "sent": sent})
    wrong = differences(*seen)
    assert not wrong, f"{type(defense).__name__} with one seed gives two runs: {wrong[:3]} differ"


def check_says_whether_a_batch_shares_its_draws(defense: Defense) -> None:
    """`per_batch` tells whether the examples of one query share the defense's random draws."""
    run = seated(defense)
    witness(run, epochs=1)
    member = deploy(run)[0][0].replica()
    x, rng = split().private_holdout.x[:1].repeat(12, 1, 1, 1), Stream(11)
    with torch.no_grad():
        first, second = (member.smash(x, rng)[1] for _ in range(2))
    random = not torch.allclose(first, second)
    shared = random and torch.allclose(first, first[:1].expand_as(first))
    name = type(defense).__name__
    assert shared == member.defense.per_batch, (
        f"{name}.per_batch is {member.defense.per_batch}, but the examples of a batch "
        f"{'share' if shared else 'do not share'} what it draws"
    )


def check_parties_share_no_state(defense: Defense) -> None:
    """Two clients, the server and the configured defense share no object that can change."""
    name = type(defense).__name__
    untouched = parameters_json(defense), sorted(map(repr, vars(defense)))
    run = seated(defense, protocol=Vanilla(clients=2, handover="none"))
    witness(run)
    copies = [m.defense for m in run.cast.clients] + [run.cast.server.defense]
    held = [
        dict(_mutables(c.inner if isinstance(c, Guarded) else c)) for c in [*copies, run.defense]
    ]
    for i, mine in enumerate(held):
        for theirs in held[i + 1 :]:
            shared = mine.keys() & theirs.keys()
            assert not shared, f"{name}: two parties share {[mine[k] for k in shared][:2]}"
    now = parameters_json(defense), sorted(map(repr, vars(defense)))
    assert now == untouched, f"{name}: a run changed the defense as configured"
    on_class = {
        k: v for k, v in vars(type(defense)).items()
        if isinstance(v, Tensor | list | dict | set | torch.Generator) and not k.startswith("__")
    }  # fmt: skip
    assert not on_class, f"{name} keeps state on its class, where parties meet: {list(on_class)}"


def _mutables(root: Any, path: str = "", seen: set[int] | None = None) -> Iterator[tuple[int, str]]:
    """Everything within an object that can carry information: its identity and its path."""
    seen = set() if seen is None else seen
    if id(root) in seen:
        return
    seen.add(id(root))
    if isinstance(root, Tensor):
        if root.numel():
            yield root.data_ptr(), path
    elif isinstance(root, dict):
        for k, v in root.items():
            yield from _mutables(v, f"{path}[{k!r}]", seen)
    elif isinstance(root, list | tuple | set):
        yield from ((id(root), path),) if isinstance(root, list | set) else ()
        for i, v in enumerate(root):
            yield from _mutables(v, f"{path}[{i}]", seen)
    elif isinstance(root, Stream):
        yield id(root), path
    elif hasattr(root, "__dict__") and (not callable(root) or isinstance(root, nn.Module)):
        yield from _mutables(vars(root), f"{path}.{type(root).__name__}", seen)


def check_loss_has_gradient(defense: Defense) -> None:
    """A loss that the defense adds has a gradient for the smashed data or its own networks."""
    name = type(defense).__name__
    run = seated(defense)
    member = run.cast.clients[0]
    x = member.samples.x[:16].clone()
    turn = Turn(
        ids=member.samples.ids[:16], x=x, y=member.samples.y[:16], step=0, epoch=0, phase="train",
        rng=member.rng,
    )  # fmt: skip
    z = member.party.forward(x).detach().requires_grad_()
    sent = member.defense.smash(z, turn)
    loss = member.defense.client_loss(sent, turn)
    if loss is None:
        return
    assert loss.requires_grad, f"{name} adds a loss that nothing can learn from"
    own = [p for m in member.defense.learned().values() for p in m.parameters()]
    grads = torch.autograd.grad(loss, [z, *own], allow_unused=True)
    assert any(g is not None and bool(g.abs().sum() > 0) for g in grads), (
        f"{name} adds a loss whose gradient is zero"
    )


def check_own_networks_learn(defense: Defense) -> None:
    """Every trainable network of the defense's own is another one after a training."""
    run = seated(defense)
    own = run.cast.clients[0].defense
    start = {name: _trainable(network) for name, network in own.learned().items()}
    witness(run)
    for name, network in own.learned().items():
        before, now = start.get(name), _trainable(network)
        assert not now or before != now, (
            f"{type(defense).__name__} never trains its own {name}: give its weights to an "
            f"optimizer, and step it in `step`"
        )


def _trainable(network: nn.Module) -> dict[str, list[float]]:
    """The values of the weights that may be trained."""
    weights = network.named_parameters()
    return {n: p.detach().flatten().tolist() for n, p in weights if p.requires_grad}


def check_guarantee_complete(defense: Defense) -> None:
    """A guarantee states every field, has a finite epsilon, and weakens with more releases."""
    name = type(defense).__name__
    one, ten = (defense.guarantee(releases=n, delta=1e-5) for n in (1, 10))
    if one is None:
        assert ten is None, f"{name} guarantees ten releases but not one"
        return
    assert ten is not None, f"{name} guarantees one release but not ten"
    for f in fields(one):
        value = getattr(one, f.name)
        empty = isinstance(value, str) and not value.strip()
        assert not empty, f"the guarantee of {name} doesn't state its {f.name}"
    finite = all(0 < g.epsilon < math.inf for g in (one, ten))
    assert finite, f"the guarantee of {name} has no finite epsilon"
    assert (one.releases, ten.releases) == (1, 10), f"{name} states other releases than asked"
    assert ten.epsilon > one.epsilon, f"{name} gives ten releases away for the price of one"
    assert one.delta <= 1e-5, f"{name} states a larger delta than asked"


def check_accepted(defense: Defense) -> None:
    """The toolkit lets the defense into a training."""
    accepted(defense)


CHECKS: tuple[Callable[[Defense], None], ...] = (
    check_accepted,
    check_loss_has_gradient, check_acts, check_strength_acts, check_release_path_uses_it,
    check_masks_are_exact, check_deterministic_per_stream, check_parties_share_no_state,
    check_guarantee_complete, check_says_whether_a_batch_shares_its_draws, check_noise_is_fresh,
    check_guarantee_holds, check_stays_on, check_protects_unseen_records, check_writes_no_labels,
    check_own_networks_learn,
)  # fmt: skip
"""The checks of a defense at work."""
