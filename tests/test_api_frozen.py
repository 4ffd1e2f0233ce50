"""A victim that was trained elsewhere, whose weights stay as they are."""

import copy
from typing import Any

import pandas as pd
import pytest
import torch
from support.toys import CUT, QUICK, TARGETS, differences, module_state, network, split
from torch import Tensor, nn
from torch.nn import functional

import sltoolkit as sl
from sltoolkit.contracts.outcomes import LabelGuess
from sltoolkit.errors import ProtocolError
from sltoolkit.report.sentence import sentence
from sltoolkit.report.tables import summary
from sltoolkit.wire.message import Link

HINTED = ("aux", "release", "prior", "hints")


@pytest.fixture(scope="module")
def victim() -> sl.Victim:
    """A victim that is trained here, and handed over as if it had been trained elsewhere."""
    return sl.train(network, split(), cut=CUT, training=QUICK, targets=TARGETS)


def test_a_victim_trained_elsewhere_keeps_its_weights(victim: sl.Victim) -> None:
    client, server = copy.deepcopy(victim.client.client), copy.deepcopy(victim.server)
    before = [module_state(m) for m in (client, server)]
    again = sl.frozen(client, server, split(), targets=TARGETS)
    for module, state in zip((client, server), before, strict=True):
        assert differences(state, module_state(module)) == []
    assert differences(again.client.client.state_dict(), client.state_dict()) == []
    assert differences(again.server.state_dict(), server.state_dict()) == []
    assert again.utility == victim.utility
    assert sl.attack(again, sl.Decoder.smoke()).verdict.scores["mse"].shape == (6,)


def test_its_gradients_are_those_of_its_weights(victim: sl.Victim) -> None:
    again = sl.frozen(
        victim.client.client, victim.server, split(), targets=TARGETS,
        protocol=sl.Vanilla(labels_at="server"),
    )  # fmt: skip
    held = again.data.private_train
    record = again.transcript.record(Link("server", "client", "smashed_grad"))
    z = again.client.client(held.x).detach().requires_grad_()
    functional.cross_entropy(again.server(z), held.y, reduction="sum").backward()
    assert z.grad is not None
    # one pass in one batch of 48: each row is the gradient of the mean
    expected: Tensor = z.grad[record.ids] / 48
    torch.testing.assert_close(record.rows, expected, rtol=1e-4, atol=1e-7)
    result = sl.attack(again, sl.Direction(), grants=HINTED)
    assert isinstance(result.outcome, LabelGuess)
    assert float(result.verdict.scores["leak_auc"]) > 0.7


def test_the_mechanism_knows_that_a_frozen_client_does_not_train() -> None:
    """Private noise refuses BatchNorm only in training, also when an attacker rebuilds it."""
    client, server = sl.cut(network("batch"), CUT)
    victim = sl.frozen(client, server, split(), defense=sl.DPActivations(), targets=TARGETS)
    attack = sl.WhiteBox(steps=2, lr=0.1, tv_weight=0.0, tv_beta=1, start="mean")
    grants = {"aux", "client_weights", "mechanism", "release"}
    verdict = sl.attack(victim, attack, grants=grants).verdict
    assert "mechanism" in verdict.knowledge
    assert set(verdict.outcome.tuned) == {"forward"}


def test_a_u_shaped_one_and_a_defended_one_can_be_frozen() -> None:
    parts = sl.cut(network(), [CUT, "flatten"])
    shaped = sl.frozen(parts[0], parts[1], split(), tail=parts[2], targets=TARGETS)
    assert shaped.recipe.protocol == "u_shaped"
    assert sl.attack(shaped, sl.Direction(), grants=HINTED).verdict.role == "server"
    client, server = sl.cut(network(), CUT)
    noisy = sl.frozen(client, server, split(), defense="gaussian_noise", targets=TARGETS)
    clean, sent = noisy.client.replica().smash(split().aux.x, sl.Stream(0))
    assert float((sent - clean).std()) == pytest.approx(0.5, rel=0.05)


def test_its_protocol_must_fit_its_parts(victim: sl.Victim) -> None:
    with pytest.raises(ProtocolError, match="3 parts, got 2"):
        sl.frozen(victim.client.client, victim.server, split(), protocol="u_shaped")


def test_a_frozen_network_may_have_blocks_of_any_kind() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, ::2]

    victim = sl.frozen(Odd(), nn.Linear(32, 3), split(), targets=TARGETS)
    assert victim.task.smashed_shape == (32,)
    assert sl.attack(victim, sl.Decoder.smoke()).outcome is not None


def test_named_cuts_of_one_network_are_lines_of_one_table(victim: sl.Victim) -> None:
    whole, found = nn.Sequential(victim.client.client, victim.server), []
    for cut in ("0.conv", "1.conv2"):
        client, server = sl.cut(whole, cut)
        frozen = sl.frozen(client, server, split(), cut=cut, targets=TARGETS)
        found.append(sl.attack(frozen, sl.Decoder.smoke()))
    assert list(sl.table(found)["cut"]) == ["0.conv", "1.conv2"]


def _tables(data: sl.data.Split, **options: Any) -> tuple[sl.Victim, pd.DataFrame]:
    client, server = sl.cut(network(), CUT)
    victim = sl.frozen(client, server, data, targets=TARGETS, **options)
    return victim, sl.attack(victim, sl.Regression()).rows()


def test_accuracy_on_a_drawn_split_may_be_over_training_data_and_rows_say_so() -> None:
    given = split()
    pool = sl.data.from_arrays(
        torch.cat([given.private_train.x, given.private_holdout.x, given.aux.x]),
        torch.cat([given.private_train.y, given.private_holdout.y, given.aux.y]),
    )
    drawn = sl.data.split(pool, train=48, holdout=18, aux=30, duplicates="ignore")
    victim, rows = _tables(drawn)
    assert not victim.holdout_unseen
    assert "maybe over training data" in repr(victim)
    assert not rows["holdout_unseen"].any()
    said = "Accuracy may be over training data: nobody said what the network was trained on"
    assert said in sentence(summary(rows))

    known = sl.data.parts(train=drawn.private_train, holdout=drawn.private_holdout, aux=drawn.aux)
    victim, rows = _tables(known)
    assert victim.holdout_unseen
    assert "maybe" not in repr(victim)
    assert rows["holdout_unseen"].all()
    assert said not in sentence(summary(rows))
    trained = sl.train(network, drawn, cut=CUT, training=QUICK, targets=TARGETS)
    assert trained.holdout_unseen
