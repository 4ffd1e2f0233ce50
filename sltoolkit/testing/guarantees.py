"""Audits of what a defense guarantees, on releases of canaries.

    from sltoolkit.testing.guarantees import check_guarantee_holds

    check_guarantee_holds(MyDefense(epsilon=1.0))

Two records, whose smashed data are antipodal and far longer than what a client sends, are released
many times. What tells their releases apart bounds epsilon from below (`sltoolkit.privacy.audit`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from sltoolkit.contracts.defense import Defense
from sltoolkit.data.samples import Samples
from sltoolkit.privacy.audit import Scores, epsilon_by_counts, epsilon_of_gaussian, shared_noise
from sltoolkit.privacy.guarantee import Guarantee
from sltoolkit.streams import Stream
from sltoolkit.testing.runs import seated, witness
from sltoolkit.testing.toys import split
from sltoolkit.training.phases import deploy
from sltoolkit.wire.turn import Turn

DELTA = 1e-5
BATCHES, ROWS = 100, 200
"""Releases of either canary: so many batches of so many copies."""

COMPOSED = (1, 10)
"""Numbers of releases whose guarantee is audited."""

FEW = 20
"""Batches that tell whether noise is shared."""

NORMS = (1.0, 1e2, 1e4)
"""Norms of the canaries, in norms of what the client sends, so that a clip must act.

In training only the last one is audited, because a clip and noise hold in every phase.
"""

World = Literal[-1, 0, 1]

ERROR = 1e-3
"""The probability with which a sound defense is accused, at most, over all bounds of an audit."""

BY_CHANCE = 1e-6
"""How unlikely shared noise must be by chance, before it is called shared."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Releases:
    """A defense at work, in training or deployed.

    Attributes:
        defense: the client's own copy, begun.
        phase: the phase of its releases.
        rng: the stream that it draws from.
    """

    defense: Defense
    phase: Literal["train", "release"]
    rng: Stream

    def of(self, z: Tensor, record: Samples, *, step: int = 0) -> Tensor:
        """What is sent for one record in one batch.

        Args:
            z: its smashed data once for each copy in the batch, (B, ...).
            record: the one record.
            step: the number of the batch.
        """
        trains, copies = self.phase == "train", torch.zeros(len(z), dtype=torch.int64)
        turn = Turn(
            ids=record.ids[copies] if trains else copies - 1, x=record.x[copies],
            y=record.y[copies] if trains else None, step=step, epoch=step, phase=self.phase,
            rng=self.rng,
        )  # fmt: skip
        with torch.no_grad(), self.rng.scope():
            return self.defense.smash(z.clone(), turn).flatten(1)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Canaries:
    """Two records with antipodal smashed data, and the test that tells their releases apart.

    Attributes:
        releases: the defense that releases them.
        z: the smashed data of the second record, (1, ...); the first one's are the negative.
        records: the two records.
    """

    releases: Releases
    z: Tensor
    records: tuple[Samples, Samples]

    def scores(self) -> tuple[Scores, Scores]:
        """The scores of all releases, (BATCHES, ROWS) for the first record and for the second."""
        test = self._test()
        return self._scores(-1, test, BATCHES), self._scores(1, test, BATCHES)

    def scores_at_zero(self) -> Scores:
        """The scores of some releases of smashed data that are zero, (FEW, ROWS).

        At zero, what masks a whole batch behind the noise changes no mean.
        """
        return self._scores(0, self._test(), FEW)

    def _test(self) -> Tensor:
        """The direction between the two, each number in units of its own noise; (numbers,).

        Further releases tell the noise. This linear test is optimal for Gaussian noise.
        """
        noise = self._batch(-1, BATCHES).var(0)
        largest = float(noise.max())
        scale = noise.clamp(min=1e-6 * largest) if largest > 0 else torch.ones_like(noise)
        test: Tensor = self.z.flatten().double() / self.z.norm().double() / scale
        return test

    def _scores(self, world: World, test: Tensor, batches: int) -> Scores:
        found: Scores = torch.stack([self._batch(world, i) @ test for i in range(batches)]).numpy()
        return found

    def _batch(self, world: World, step: int) -> Tensor:
        z = (world * self.z).expand(ROWS, *self.z.shape[1:])
        return self.releases.of(z, self.records[world > 0], step=step).double()


def check_noise_is_fresh(defense: Defense) -> None:
    """A defense with a guarantee never releases the same twice, in two batches or in one."""
    name = type(defense).__name__
    if defense.guarantee(releases=1, delta=DELTA) is None:
        return
    for releases, z in working(defense):
        record, both = split().private_holdout[:1], z[:1].expand(2, *z.shape[1:])
        first, second = (releases.of(both, record, step=step) for step in range(2))
        _require_fresh(name, "two releases of one record", torch.equal(first, second))
        _require_fresh(name, "two releases in one batch", torch.equal(first[0], first[1]))
        canaries = Canaries(releases=releases, z=z[:1], records=(record, record))
        within, along = shared_noise(canaries.scores_at_zero())
        _require_fresh(name, "the examples of a batch", within < BY_CHANCE)
        _require_fresh(name, "all batches, at one place in them,", along < BY_CHANCE)


def _require_fresh(name: str, sharers: str, share: bool) -> None:
    assert not share, (
        f"{name} states an epsilon per release, but {sharers} share noise: noise that is the same "
        "twice cancels out, so no epsilon holds"
    )


def check_guarantee_holds(defense: Defense) -> None:
    """No lower bound of epsilon, from releases of canaries, lies above what is guaranteed.

    The bound of Gaussian differential privacy is for mechanisms that call themselves Gaussian; the
    Clopper-Pearson bound is for all.
    """
    claims = [defense.guarantee(releases=k, delta=DELTA) for k in COMPOSED]
    if None in claims:
        return
    g = Stream(0).child("canaries").torch()
    holdout = split().private_holdout
    for releases, z in working(defense):
        typical = float(z.flatten(1).norm(dim=1).mean())
        direction = torch.randn(1, *z.shape[1:], generator=g)
        for norm in NORMS if releases.phase == "release" else NORMS[-1:]:
            canaries = Canaries(
                releases=releases, z=direction * (norm * typical / direction.norm()),
                records=(holdout[:1], holdout[1:2]),
            )  # fmt: skip
            scores = canaries.scores()
            for claim in claims:
                assert claim is not None
                _refute(type(defense).__name__, claim, scores, norm * typical)


def _refute(name: str, claim: Guarantee, scores: tuple[Scores, Scores], norm: float) -> None:
    shown = shown_epsilon(claim, scores)
    times = "1 release" if claim.releases == 1 else f"{claim.releases} releases"
    assert shown <= claim.epsilon, (
        f"{name} claims epsilon {claim.epsilon:.3g} after {times}, but an audit shows at least "
        f"{shown:.3g}, with canaries of norm {norm:.3g}: less noise is added than its guarantee "
        "needs, or what the noise covers isn't clipped"
    )


def shown_epsilon(claim: Guarantee, scores: tuple[Scores, Scores]) -> float:
    """The largest lower bound of epsilon that scores of single releases show about a claim.

    Args:
        claim: what is guaranteed after any number of releases; so many scores are averaged.
        scores: those of the first record and of the second, of any shape.
    """
    means = [each.reshape(-1, claim.releases).mean(1) for each in scores]
    bounds = (epsilon_by_counts, epsilon_of_gaussian) if claim.gaussian else (epsilon_by_counts,)
    confidence = 1 - ERROR / ((len(NORMS) + 1) * len(COMPOSED) * len(bounds))
    return max(b(*means, delta=claim.delta, confidence=confidence) for b in bounds)


def working(defense: Defense) -> Iterator[tuple[Releases, Tensor]]:
    """The defense in training and deployed, each with smashed data that it would meet."""
    run = seated(defense)
    own, x = run.cast.clients[0], split().private_holdout.x
    with torch.no_grad():
        z = own.party.module(x)
    yield Releases(defense=own.defense, phase="train", rng=own.rng), z
    run = seated(defense)
    witness(run, epochs=1)
    member = deploy(run)[0][0].replica()
    with torch.no_grad():
        z = member.client(x)
    yield Releases(defense=member.defense, phase="release", rng=Stream(11)), z
