"""The utility of the deployed system: accuracy and balanced accuracy."""

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor, nn

from sltoolkit.contracts.defense import NoDefense
from sltoolkit.data.samples import Samples
from sltoolkit.streams import Stream
from sltoolkit.training.deployed import Deployed
from sltoolkit.training.utility import Utility, measure_utility


def samples(y: list[int]) -> Samples:
    """Samples whose inputs say nothing of their classes."""
    ids = torch.arange(len(y))
    x = torch.rand(len(y), 4, generator=torch.Generator().manual_seed(0))
    return Samples(x=x, y=torch.tensor(y), ids=ids, groups=ids)


def deployed(client: nn.Module, tail: nn.Module | None = None) -> Deployed:
    client = client.requires_grad_(False).eval()
    return Deployed(client=client, tail=tail, defense=NoDefense(), samples=samples([0]), hops=())


def always(k: int, classes: int = 3) -> nn.Module:
    """A network that says k whatever it sees."""
    layer = nn.Linear(4, classes)
    nn.init.zeros_(layer.weight)
    layer.bias.data = nn.functional.one_hot(torch.tensor(k), classes).float()
    return layer


def utility(members: list[Deployed], held: Samples, batch: int = 512) -> Utility:
    return measure_utility(members, nn.Identity(), held, Stream(0), batch)


@pytest.mark.parametrize("batch", [1, 4, 512])
def test_both_are_means_over_all_members(batch: int) -> None:
    members = [deployed(always(0)), deployed(always(1))]
    found = utility(members, samples([0, 0, 0, 1, 2, 2]), batch)
    assert found.accuracy == pytest.approx((3 / 6 + 1 / 6) / 2)
    assert found.balanced_accuracy == pytest.approx(1 / 3)


def test_a_constant_guess_gets_the_majority_share_and_one_over_the_classes() -> None:
    held = samples([0] * 19 + [1])
    assert utility([deployed(always(0))], held) == Utility(accuracy=0.95, balanced_accuracy=0.5)
    assert utility([deployed(always(1))], held) == Utility(accuracy=0.05, balanced_accuracy=0.5)
    assert held.majority_share == 0.95


def test_classes_that_do_not_occur_do_not_count() -> None:
    held = samples([0, 0, 2])
    assert utility([deployed(always(2))], held).balanced_accuracy == 0.5


def test_they_are_those_of_scikit_learn() -> None:
    torch.manual_seed(1)
    held, client = samples([0, 1, 1, 2, 2, 2, 2, 3, 3, 0, 1, 1]), nn.Linear(4, 4)
    said: Tensor = client(held.x).argmax(1)
    found = utility([deployed(client)], held)
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(held.y, said))
    assert found.accuracy == (said == held.y).double().mean()


def test_with_a_tail_the_server_answers_in_between() -> None:
    member = deployed(nn.Linear(4, 4), tail=always(2))
    assert utility([member], samples([0, 1, 2])).accuracy == pytest.approx(1 / 3)
