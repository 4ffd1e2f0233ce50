"""A guarantee for one example is given only to clients that treat every example alone."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from support.situations import AttentionAcrossTokens, parted
from support.toys import differences, module_state, split, victim
from torch import Tensor, nn

import sltoolkit as sl
from sltoolkit.contracts.defense import Defense, NoDefense
from sltoolkit.data.samples import Samples
from sltoolkit.errors import SpecError
from sltoolkit.privacy import Guarantee
from sltoolkit.streams import Stream
from sltoolkit.training.mixing import refuse_mixing, refuse_shared_noise
from sltoolkit.wire.turn import Turn

MIXES = "mixes the examples of a batch"


class Across(nn.Module):
    """A function of a whole batch, as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.function(x)
        return out


class Gated(nn.Module):
    """x + gate * mean over the batch, with a gate that starts closed."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gate * x.mean(0, keepdim=True)


class Unseeded(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        generator = torch.Generator()
        generator.seed()
        return x + torch.rand(x.shape, generator=generator).to(x)


def normalized(x: Tensor) -> Tensor:
    return (x - x.mean(0)) / (x.std(0) + 1)


def neighbor(x: Tensor) -> Tensor:
    """Only the last two rows of a batch meet."""
    return torch.cat([x[:-1], x[-1:] + x[-2:-1]]) if len(x) > 1 else x


def attention(*, batch_first: bool) -> nn.Module:
    return AttentionAcrossTokens(width=16, batch_first=batch_first)


IN_EVERY_MODE = {
    "attention along the batch": attention(batch_first=False),
    "batch normalization by hand": Across(normalized),
    "scaled by the batch's maximum": Across(lambda x: x / (x.amax() + 1e-6)),
    "one pair of rows": Across(neighbor),
    "batch statistics only": nn.BatchNorm2d(1, track_running_stats=False),
    "ranked within the batch": Across(lambda x: x.argsort(0).argsort(0).to(x)),
}
ALONE = {
    "linear": nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Dropout(0.5)),
    "convolution": nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.MaxPool2d(2)),
    "attention within an example": attention(batch_first=True),
    "layer normalization": nn.LayerNorm(8),
    "nothing to learn": nn.Flatten(),
}


def check(
    client: nn.Module, *, learns: bool = True, samples: Samples | None = None,
    defense: Defense | None = None,
) -> None:  # fmt: skip
    given = split().private_train if samples is None else samples
    refuse_mixing(defense or sl.DPActivations(), client, given, learns=learns)


@pytest.mark.parametrize("learns", [True, False], ids=["trained", "frozen"])
@pytest.mark.parametrize("client", IN_EVERY_MODE.values(), ids=IN_EVERY_MODE.keys())
def test_a_client_that_always_mixes_is_refused(client: nn.Module, learns: bool) -> None:
    with pytest.raises(SpecError, match=MIXES):
        check(client, learns=learns)


@pytest.mark.parametrize("held", [1, 2, 5])
def test_a_few_samples_are_enough_to_measure(held: int) -> None:
    with pytest.raises(SpecError, match=MIXES):
        check(Across(normalized), samples=split().private_train[:held])


@pytest.mark.parametrize("learns", [True, False], ids=["trained", "frozen"])
@pytest.mark.parametrize("client", ALONE.values(), ids=ALONE.keys())
def test_a_client_that_treats_examples_alone_is_accepted(client: nn.Module, learns: bool) -> None:
    check(client, learns=learns)
    check(client, learns=learns, samples=split().private_train[:1])


def test_numbers_of_double_precision_are_measured_alike() -> None:
    given = split().private_train
    double = Samples(**{**vars(given), "x": given.x.double()})
    check(nn.Conv2d(1, 2, 3).double(), samples=double)
    with pytest.raises(SpecError, match=MIXES):
        check(attention(batch_first=False).double(), samples=double)


def test_batch_norm_mixes_only_while_it_trains() -> None:
    client = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))

    with pytest.raises(SpecError, match=r"in training mode.*GroupNorm"):
        check(client)
    check(client, learns=False)


def test_a_path_through_the_batch_that_opens_later_is_found() -> None:
    with pytest.raises(SpecError, match=MIXES):
        check(Gated())


def test_a_client_that_is_not_reproducible_cannot_be_measured() -> None:
    with pytest.raises(SpecError, match="two different outputs"):
        check(Unseeded())


def test_without_a_guarantee_nothing_is_refused() -> None:
    check(Across(normalized), defense=NoDefense())


def test_the_measurement_changes_neither_network_nor_random_state() -> None:
    client = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Dropout(0.5))
    before, state = module_state(client), torch.get_rng_state()

    check(client)

    assert differences(before, module_state(client)) == []
    assert torch.equal(torch.get_rng_state(), state)


def test_a_network_of_another_process_is_measured_there() -> None:
    check(nn.BatchNorm2d(1, device="meta"))


@dataclass(kw_only=True, eq=False)
class ClippedTogether(Defense):
    """Scales a whole batch by its largest example, and claims a guarantee for each."""

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        longest: Tensor = torch.linalg.vector_norm(z.flatten(1), dim=1).max()
        return z / longest

    def guarantee(self, *, releases: int, delta: float) -> Guarantee | None:
        return sl.DPActivations().guarantee(releases=releases, delta=delta)


class CenteredTogether(Defense):
    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        return z - z.mean(0, keepdim=True)


def test_a_defense_that_mixes_is_refused() -> None:
    with pytest.raises(SpecError, match=MIXES):
        check(nn.Flatten(), defense=ClippedTogether())
    with pytest.raises(SpecError, match=MIXES):
        check(nn.Flatten(), defense=sl.Chain(CenteredTogether(), sl.DPActivations()))


def test_mixing_behind_the_noise_is_post_processing() -> None:
    class Centered(CenteredTogether):
        post_processes = True

    check(nn.Flatten(), defense=sl.Chain(sl.DPActivations(), Centered()))


def test_networks_that_were_trained_elsewhere_are_measured_too() -> None:
    client = nn.Sequential(attention(batch_first=False), nn.Flatten())

    with pytest.raises(SpecError, match=MIXES):
        sl.frozen(client, nn.Linear(128, 2), parted(), defense=sl.DPActivations())
    victim = sl.frozen(client, nn.Linear(128, 2), parted())
    assert victim.configured_defense.guarantee(releases=1, delta=1e-5) is None


@dataclass(kw_only=True, eq=False)
class Noisy(Defense):
    """Clips, and adds noise from a child of the turn's stream."""

    def noise(self, z: Tensor, turn: Turn) -> Tensor:
        return torch.randn(z.shape, generator=turn.rng.torch()).to(z)

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        return z.clamp(-1, 1) + self.noise(z, turn)

    def guarantee(self, *, releases: int, delta: float) -> Guarantee | None:
        return sl.DPActivations().guarantee(releases=releases, delta=delta)


class Fixed(Noisy):
    def noise(self, z: Tensor, turn: Turn) -> Tensor:
        return torch.randn(z.shape, generator=torch.Generator().manual_seed(3))


class Restarted(Noisy):
    def noise(self, z: Tensor, turn: Turn) -> Tensor:
        return torch.randn(z.shape, generator=turn.rng.fresh("noise").torch())


class ByRecord(Noisy):
    def noise(self, z: Tensor, turn: Turn) -> Tensor:
        streams = [Stream(int(i)).torch() for i in turn.ids]
        return torch.stack([torch.randn(z.shape[1:], generator=g) for g in streams])


class OneForTheBatch(Noisy):
    def noise(self, z: Tensor, turn: Turn) -> Tensor:
        return super().noise(z[:1], turn).expand_as(z)


class OffWhenDeployed(Noisy):
    def noise(self, z: Tensor, turn: Turn) -> Tensor:
        return super().noise(z, turn) * float(turn.phase == "train")


STALE = {
    Fixed: "in two batches are equal", Restarted: "in two batches are equal",
    ByRecord: "in two batches are equal", OneForTheBatch: "in one batch are equal",
    OffWhenDeployed: "'release' two releases of a record in two batches are equal",
}  # fmt: skip


@pytest.mark.parametrize(("kind", "says"), STALE.items(), ids=lambda v: getattr(v, "__name__", ""))
@pytest.mark.parametrize("held", [1, 20])
def test_noise_that_is_the_same_twice_has_no_epsilon(
    kind: type[Defense], says: str, held: int
) -> None:
    samples = split().private_train[:held]

    with pytest.raises(SpecError, match=says):
        refuse_shared_noise(kind(), nn.Flatten(), samples, learns=True)
    refuse_shared_noise(Noisy(), nn.Flatten(), samples, learns=True)


@pytest.mark.parametrize("epsilon", [0.1, 10.0, 1e6])
def test_fresh_noise_is_accepted(epsilon: float) -> None:
    for post in (sl.RandomPruning(ratio=0.5), sl.GaussianNoise(std=0.1)):
        for defense in (sl.DPActivations(epsilon=epsilon), sl.Chain(sl.DPActivations(), post)):
            refuse_shared_noise(defense, nn.Conv2d(1, 4, 3), split().private_train, learns=True)


def test_noise_that_rounding_loses_is_no_noise() -> None:
    with pytest.raises(SpecError, match="large enough for the precision"):
        refuse_shared_noise(
            sl.DPActivations(epsilon=1e30), nn.Flatten(), split().private_train, learns=False
        )


def test_a_training_with_stale_noise_is_refused_and_so_is_a_given_network() -> None:
    with pytest.raises(SpecError, match="in two batches are equal"):
        victim(Fixed())
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    with pytest.raises(SpecError, match="in two batches are equal"):
        sl.frozen(network, nn.Linear(4, 3), split(), defense=Fixed())


def test_without_a_guarantee_noise_may_be_fixed() -> None:
    fixed = sl.Chain(Fixed(), CenteredTogether())
    assert fixed.guarantee(releases=1, delta=1e-5) is None
    refuse_shared_noise(fixed, nn.Flatten(), split().private_train, learns=True)
