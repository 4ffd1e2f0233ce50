"""A split in which the attacker owns private records is refused wherever it enters."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from support.toys import CUT, QUICK, TARGETS, network, split

import sltoolkit as sl
from sltoolkit.data.samples import Samples, Split
from sltoolkit.errors import DataError


def _train(data: Split) -> object:
    return sl.train(network, data, cut=CUT, training=QUICK, targets=TARGETS)


def _frozen(data: Split) -> object:
    client, server = sl.cut(network(), CUT)
    return sl.frozen(client, server, data, targets=TARGETS)


def _same_ids(own: Samples, private: Samples) -> Samples:
    return replace(own, ids=private.ids[:1].expand(len(own)))


def _same_groups(own: Samples, private: Samples) -> Samples:
    return replace(own, groups=private.groups[-1:].expand(len(own)))


def _same_rows(own: Samples, private: Samples) -> Samples:
    return replace(own, x=private.x.repeat(2, 1, 1, 1)[: len(own)])


def _one_row(own: Samples, private: Samples) -> Samples:
    return replace(own, x=torch.cat([own.x[:-1], private.x[5:6]]))


@pytest.mark.parametrize("enter", [_train, _frozen])
@pytest.mark.parametrize("part", ["private_train", "private_holdout"])
@pytest.mark.parametrize(
    ("owned", "message"),
    [
        (_same_ids, r"samples of \w+ share ids with aux"),
        (_same_groups, r"samples of \w+ share groups with aux"),
        (_same_rows, "30 of 30 samples of aux equal private ones.*take these rows out of aux"),
        (_one_row, "1 of 30 samples of aux equal private ones"),
    ],
)
def test_private_records_of_the_attacker_are_refused(
    enter: Callable[[Split], object],
    part: str,
    owned: Callable[[Samples, Samples], Samples],
    message: str,
) -> None:
    data = split()
    with pytest.raises(DataError, match=message):
        enter(replace(data, aux=owned(data.aux, getattr(data, part))))


def test_the_targets_themselves_are_refused_under_any_name() -> None:
    data = split()
    own = replace(data.private_train, ids=data.private_train.ids + 5000)
    own = replace(own, groups=own.groups + 5000)
    with pytest.raises(DataError, match="48 of 48 samples of aux equal private ones"):
        _train(replace(data, aux=own))
