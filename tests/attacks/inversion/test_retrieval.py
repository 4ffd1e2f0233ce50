"""Retrieval against plain loops, and cases in which only one distance is right."""

import pytest
import torch
from support.query_views import noisy, view_of
from support.white_box_views import conv_client, digits, error, seeded
from torch import Tensor, nn

from sltoolkit.adversary.nearest import DISTANCES, nearest
from sltoolkit.adversary.rehearsal import rehearsed
from sltoolkit.attacks.inversion._query import QueryView
from sltoolkit.attacks.inversion.retrieval import Retrieval
from sltoolkit.contracts.knowledge import Release
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.data.samples import Samples
from sltoolkit.errors import SpecError
from sltoolkit.referee.baselines import nearest_aux
from sltoolkit.streams import Stream

pytestmark = pytest.mark.golden


def rand(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def by_loop(z: Tensor, own: Tensor, distance: str) -> list[int]:
    scale = own.flatten(1).std(0, correction=0)
    found = []
    for one in z.flatten(1):
        if distance == "cosine":
            angles = [float(one @ o / (one.norm() * o.norm())) for o in own.flatten(1)]
            found.append(max(range(len(own)), key=angles.__getitem__))
        else:
            by = scale if distance == "standardized" else 1
            far = [float(((one - o) / by).norm()) for o in own.flatten(1)]
            found.append(min(range(len(own)), key=far.__getitem__))
    return found


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_nearest_is_that_of_a_plain_loop(distance: str) -> None:
    z, own = rand(20, 3, 2, 2, seed=0), rand(50, 3, 2, 2, seed=1)
    own[:, 0] *= 10
    found, far = nearest(z, own, distance)
    assert found.tolist() == by_loop(z, own, distance)
    assert far.shape == (20,)


def test_a_unit_that_never_varies_does_not_break_the_standardized_distance() -> None:
    own = torch.tensor([[5.0, 0.0], [5.0, 1.0]])
    found, far = nearest(torch.tensor([[5.0, 0.9]]), own, "standardized")
    assert found.tolist() == [1]
    assert bool(far.isfinite().all())


def test_an_unknown_distance_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SpecError, match="euclidean"):
        nearest(rand(1, 2, seed=0), rand(2, 2, seed=1), "euclidian")


def test_own_copies_of_the_targets_are_found() -> None:
    x = digits(30)
    view = view_of(QueryView, conv_client(), x[10:15], x)
    assert torch.equal(Retrieval(distance="euclidean").run(view, rng=Stream(0)).images, x[10:15])


def test_averaging_releases_finds_what_averaged_squared_distances_find() -> None:
    client = noisy(nn.Identity(), 0.5)
    x, aux = digits(20), digits(120)[20:]
    view = view_of(QueryView, client, x, aux, repeats=4)
    own = Release(nn.Identity())
    view = QueryView(smashed=view.smashed, release=own, aux=view.aux, task=view.task)
    distances = (view.smashed[:, :, None] - aux).square().flatten(3).sum(3).mean(0)
    found = Retrieval(distance="euclidean").run(view, rng=Stream(0)).images
    assert torch.equal(found, aux[distances.argmin(1)])


def test_more_releases_help_against_noise() -> None:
    x, aux = digits(100), digits(900)[100:]

    def reached(repeats: int) -> float:
        view = view_of(QueryView, noisy(conv_client(), 0.5), x, aux, repeats=repeats)
        return error(Retrieval(distance="euclidean").run(view, rng=Stream(0)).images, x)

    assert reached(16) < 0.8 * reached(1)


def loud(x: Tensor) -> Tensor:
    """Sends the pixels and one unit of noise that is louder than all of them."""
    noise = 100 * torch.sin(1e4 * x.flatten(1).sum(1, keepdim=True))
    return torch.cat([x.flatten(1), noise], 1)


def test_rehearsal_chooses_a_distance_that_does_not_hear_the_loudest_unit_alone() -> None:
    x, aux = digits(50), digits(450)[50:]
    view = view_of(QueryView, loud, x, aux)
    outcome = rehearsed(Retrieval(), view, rng=Stream(0))
    assert isinstance(outcome, Reconstruction)
    assert outcome.tuned == {"distance": "standardized"}
    plain = Retrieval(distance="euclidean").run(view, rng=Stream(0))
    assert plain.tuned == {}
    assert error(outcome.images, x) < 0.7 * error(plain.images, x)


def test_the_reference_beside_the_baselines_is_this_attack_at_its_first_distance() -> None:
    x, aux, client = digits(40), digits(300)[40:], Release(conv_client())
    own = Samples(
        x=aux, y=torch.zeros(260, dtype=torch.int64), ids=torch.arange(260),
        groups=torch.arange(260),
    )  # fmt: skip
    view = view_of(QueryView, client, x, aux)
    outcome = Retrieval(distance="euclidean").run(view, rng=Stream(0))
    assert torch.equal(nearest_aux(client, view.smashed, own), outcome.images)
