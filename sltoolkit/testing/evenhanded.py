"""Checks that a defense protects alike: in training and deployed, seen records and unseen ones."""

import copy

import torch
from torch import Tensor

from sltoolkit.contracts.defense import Defense
from sltoolkit.data.samples import Samples
from sltoolkit.streams import Stream
from sltoolkit.testing.at_work import AtWork, in_training, when_deployed
from sltoolkit.testing.toys import CLASSES, split

FAR_BELOW = 0.5
"""A change of what is sent is far below another one if it is smaller than this share of it."""


def check_stays_on(defense: Defense) -> None:
    """What is sent is changed about as much when deployed as in training, on equal smashed data."""
    records = split().private_train
    deployed = when_deployed(defense)
    z = deployed.smashed(records)
    training = in_training(defense)
    before, after = (_change(work, z, records) for work in (training, deployed))
    assert after >= FAR_BELOW * before, (
        f"{type(defense).__name__} is off when deployed: it changes what is sent by "
        f"{after:.3g} (root mean square), and by {before:.3g} in training"
    )


def check_protects_unseen_records(defense: Defense) -> None:
    """The deployed client changes records that it never saw as much as those it was trained on."""
    data, work = split(), when_deployed(defense)
    seen, unseen = (
        _change(work, work.smashed(part), part)
        for part in (data.private_train, data.private_holdout)
    )
    assert unseen >= FAR_BELOW * seen, (
        f"{type(defense).__name__} protects only the records that it was trained on: it changes "
        f"them by {seen:.3g} (root mean square), and unseen records by {unseen:.3g}"
    )


def _change(work: AtWork, z: Tensor, records: Samples) -> float:
    return float((work.sent(z, records) - z).square().mean().sqrt())


def check_writes_no_labels(defense: Defense) -> None:
    """Smashed data in training, and the same records' when deployed, don't depend on labels.

    Everything else is equal: inputs, ids, random state.
    """
    records, work = split().private_train[:16], in_training(defense)
    relabeled = Samples(**{**vars(records), "y": (records.y + 1) % CLASSES})
    z = work.smashed(records)
    true, other = (_heard(work, z, told) for told in (records, relabeled))
    same = all(torch.equal(a, b) for a, b in zip(true, other, strict=True))
    assert same, (
        f"{type(defense).__name__} writes labels into smashed data: with other labels, and all "
        "else equal, it sends something else"
    )


def _heard(work: AtWork, z: Tensor, records: Samples) -> list[Tensor]:
    """What a copy of the defense sends in two batches of its training, and then when deployed."""
    own = copy.deepcopy(work)
    found = []
    for step in range(2):
        with own.rng.scope():
            own.defense.labels(records.y, own.turn(records, step=step))
        found.append(own.sent(z, records, step=step))
    later = AtWork(defense=own.defense, client=own.client, phase="release", rng=Stream(11))
    return [*found, later.sent(z, records)]
