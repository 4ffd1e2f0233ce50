"""Audits of what a defense guarantees, on releases of canaries.

    from sltoolkit.testing.guarantees import check_guarantee_holds

    check_guarantee_holds(MyDefense(epsilon=1.0))

Two records, whose smashed data are antipodal and far longer than what a client sends, are released
many times. What tells their releases apart bounds epsilon from below (`sltoolkit.privacy.audit`).
"""

from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from sltoolkit.contracts.defense import Defense
from sltoolkit.data.samples import Samples
from sltoolkit.privacy.audit import Scores, epsilon_by_counts, epsilon_of_gaussian, shared_noise
from sltoolkit.privacy.guarantee import Guarantee
from sltoolkit.streams import Stream
from sltoolkit.testing.at_work import AtWork, in_training, when_deployed
from sltoolkit.testing.toys import split

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
class Canaries:
    """Two records with antipodal smashed data, and the test that tells their releases apart.

    Attributes:
        work: the defense that releases them.
        z: the smashed data of the second record, (1, ...); the first one's are the negative.
        records: the two records.
    """

    work: AtWork
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
        record = self.records[world > 0][torch.zeros(ROWS, dtype=torch.int64)]
        return self.work.sent(z, record, step=step).flatten(1).double()


def check_noise_is_fresh(defense: Defense) -> None:
    """A defense with a guarantee never releases the same twice, in two batches or in one."""
    name = type(defense).__name__
    if defense.guarantee(releases=1, delta=DELTA) is None:
        return
    for work in (in_training(defense), when_deployed(defense)):
        twice = split().private_holdout[torch.tensor([0, 0])]
        z = work.smashed(twice[:1])
        both = torch.cat([z, z])
        first, second = (work.sent(both, twice, step=step) for step in range(2))
        _require_fresh(name, "two releases of one record", torch.equal(first, second))
        _require_fresh(name, "two releases in one batch", torch.equal(first[0], first[1]))
        canaries = Canaries(work=work, z=z, records=(twice[:1], twice[:1]))
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
    for work in (in_training(defense), when_deployed(defense)):
        z = work.smashed(holdout)
        typical = float(z.flatten(1).norm(dim=1).mean())
        direction = torch.randn(1, *z.shape[1:], generator=g)
        for norm in NORMS if work.phase == "release" else NORMS[-1:]:
            canaries = Canaries(
                work=work, z=direction * (norm * typical / direction.norm()),
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
