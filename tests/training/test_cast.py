"""The clock hands out every sample once per epoch."""

import torch
from support.toys import seated, witness


def test_every_sample_is_sent_once_per_epoch_in_a_fresh_order() -> None:
    seen = witness(seated(), epochs=3)
    sent = [(m.turn.epoch, m.turn.ids) for m in seen.heard if m.kind == "smashed"]
    orders = [torch.cat([ids for epoch, ids in sent if epoch == e]) for e in range(3)]
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(48))
    assert not torch.equal(orders[0], orders[1])
    assert [m.turn.step for m in seen.heard if m.kind == "smashed"] == list(range(9))
