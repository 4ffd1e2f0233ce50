"""Vertical split learning with absent parties, and the settings that it refuses."""

import pytest
import torch
from support.feature_blocks import MERGED, replay
from support.feature_networks import Monolith, weights
from support.tiny import ADAM, EPOCHS, MOMENTUM, SGD, close, data, flat
from torch import Tensor, nn

from sltoolkit.errors import ProtocolError, SpecError
from sltoolkit.protocols import Vertical
from sltoolkit.testing.ears import RecordingEar
from sltoolkit.training.merging import ImputeName, MergeName
from sltoolkit.training.run import Run

pytestmark = pytest.mark.golden


def oracle_with_absences(run: Run, log: RecordingEar, impute: str) -> tuple[Tensor, list[int]]:
    """The monolith trained with the parties that the log shows, and how often each was there."""
    whole = Monolith(run)
    optimizers = [MOMENTUM.optimizer_for(part) for part in (*whole.heads, whole.rest())]
    samples = data().private_train
    names = ["client", "partner1", "partner2"]
    there = {(m.src.name, m.turn.step) for m in log.messages if m.kind == "smashed"}
    sent: dict[int, list[Tensor]] = {0: [], 1: [], 2: []}
    for step, ids in enumerate(log.batches()):
        x, y = samples.x[ids - 1000], samples.y[ids - 1000]
        zs = []
        for k, block in enumerate(whole.blocks(x)):
            if (names[k], step) in there:
                zs.append(whole.heads[k](block))
                sent[k].append(zs[k].detach().clone())
                continue
            z = torch.zeros(len(ids), 2, 6, 2, dtype=torch.float64)
            zs.append(z + torch.cat(sent[k]).mean(0) if impute == "mean" and sent[k] else z)
        loss = nn.functional.cross_entropy(whole.rest()(torch.cat(zs, -1)), y)
        whole.zero_grad(set_to_none=True)
        loss.backward()
        for k, optimizer in enumerate(optimizers):
            if optimizer is not None and (k == 3 or (names[k], step) in there):
                optimizer.step()
    return whole.weights(), [len(s) for s in sent.values()]


@pytest.mark.parametrize("impute", ["zeros", "mean"])
def test_missing_parties_are_imputed_and_learn_nothing(impute: ImputeName) -> None:
    run, log = replay(Vertical(clients=3, absent=0.5, impute=impute), MOMENTUM)
    expected, counts = oracle_with_absences(run, log, impute)
    assert counts[0] == EPOCHS * 5
    assert all(0 < count < EPOCHS * 5 for count in counts[1:])
    close(weights(run), expected)
    for name in ("client", "partner1", "partner2"):
        answered = [m for m in log.sent("smashed_grad", "server") if m.dst.name == name]
        asked = log.sent("smashed", name)
        assert [m.turn.step for m in answered] == [m.turn.step for m in asked]


def test_imputations_differ_and_a_party_that_never_comes_never_changes() -> None:
    zeros, _ = replay(Vertical(clients=3, absent=0.5), SGD)
    means, _ = replay(Vertical(clients=3, absent=0.5, impute="mean"), SGD)
    assert not torch.allclose(weights(zeros), weights(means), atol=1e-6)
    away, log = replay(Vertical(clients=3, absent=1.0), MOMENTUM)
    assert {m.src.name for m in log.messages} == {"client", "server"}
    for k in (1, 2):
        start, end = away.cast.clients[k].initial[0], away.cast.clients[k].party.module
        assert torch.equal(flat(start), flat(end))
    assert bool(weights(away).isfinite().all())


@MERGED
def test_without_absences_the_draws_change_nothing(
    merge: MergeName, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = replay(Vertical(clients=3, merge=merge, impute="mean"), ADAM)
    monkeypatch.setattr(Vertical, "_present", lambda self, rng: range(self.clients))
    plain, _ = replay(Vertical(clients=3, merge=merge), ADAM)
    assert torch.equal(weights(run), weights(plain))


@pytest.mark.parametrize("merge", ["sum", "mean", "max", "mul"])
def test_unequal_blocks_can_only_be_concatenated(merge: MergeName) -> None:
    with pytest.raises(
        ProtocolError, match=r"merge='\w+' needs smashed data of one shape.*2, 2, 1"
    ):
        replay(Vertical(clients=4, merge=merge), SGD)


def test_settings_are_checked() -> None:
    for wrong in ({"merge": "min"}, {"impute": "median"}, {"absent": 1.5}, {"absent": -0.1}):
        with pytest.raises(SpecError, match=f"Vertical: {next(iter(wrong))} must be"):
            Vertical(**wrong)
