"""Partitions and reducers in use: in `train`, on the deployed path, in a spec."""

import pytest
import torch

import sltoolkit as sl
from sltoolkit.bench.plan import plan_of
from sltoolkit.bench.spec import load_spec
from sltoolkit.data.samples import Split
from sltoolkit.errors import SpecError
from sltoolkit.wire.message import Link

QUICK = sl.Training(epochs=1)


@pytest.fixture(scope="module")
def digits() -> Split:
    return sl.data.load("digits", train=200, holdout=40, aux=60)


def test_a_partition_says_which_client_holds_which_samples(digits: Split) -> None:
    protocol = sl.Vanilla(clients=5, handover="none")
    victim = sl.train(
        "mlp", digits, cut=1, protocol=protocol, partition=sl.Shards(per_client=2), training=QUICK
    )
    held = [member.samples.y.unique().numel() for member in victim.deployed]
    assert max(held) <= 4 < digits.private_train.y.unique().numel()
    assert victim.recipe.partition == "shards(per_client=2)"
    mixed = sl.heterogeneity([m.samples.y for m in victim.deployed], 10)
    assert victim.heterogeneity == mixed > 0.4
    assert sum(len(member.samples) for member in victim.deployed) == 200


@pytest.mark.parametrize(
    ("reducer", "bits"), [("half", 16), (sl.Quantized(bits=4), 4)], ids=["half", "quantized"]
)
def test_a_reducer_saves_bytes_and_reaches_the_attacked_path(
    digits: Split, reducer: sl.HalfPrecision | sl.Quantized | str, bits: int
) -> None:
    plain = sl.train("mlp", digits, cut=1, training=QUICK)
    reduced = sl.train("mlp", digits, cut=1, training=QUICK, reducer=reducer)
    up = Link("client", "server", "smashed")
    ranges = 0 if bits == 16 else 200 * 2 * 4  # least and greatest of every row
    assert reduced.bytes[up] - ranges == plain.bytes[up] * bits // 32
    x = digits.private_holdout.x
    sent = reduced.release(sl.Stream(0))(x)[0]
    clean = reduced.client.client(x)
    assert not torch.equal(sent, clean)
    wrong = ((sent - clean).square().sum() / clean.square().sum()).item()
    assert 0.2 * wrong < reduced.reducer_error < 5 * wrong  # while training, on other data
    assert plain.reducer_error is None
    step = (clean.amax(1) - clean.amin(1)) / (2**bits - 1) if bits < 16 else clean.abs().amax(1)
    assert bool(((sent - clean).abs().amax(1) <= step * (0.51 if bits < 16 else 2**-10)).all())


def test_a_spec_takes_both_and_checks_them() -> None:
    table = {
        "seeds": [0], "data": {"name": "digits"}, "model": {"name": "mlp"},
        "attack": [{"name": "decoder"}], "protocol": {"name": "vanilla", "clients": 4},
    }  # fmt: skip
    good = {"partition": {"name": "dirichlet", "alpha": 0.5}, "reducer": {"name": "top_k"}}
    assert load_spec({**table, **good}).reducer == {"name": "top_k"}
    with pytest.raises(SpecError, match=r"partition\.name.*dirichlet"):
        load_spec({**table, "partition": {"name": "dirichelt"}})
    with pytest.raises(SpecError, match=r"reducer\.bits must be .* 16, got 40"):
        load_spec({**table, "reducer": {"name": "quantize", "bits": 40}})


def test_a_spec_with_several_protocols_gives_each_its_cut_and_its_attacks() -> None:
    spec = load_spec({
        "seeds": [0], "data": {"name": "digits"}, "model": {"name": "mlp", "cut": "relu1"},
        "grants": ["aux", "hints", "prior", "release"],
        "protocol": [
            {"name": "vanilla"}, {"name": "u_shaped", "cut": ["relu1", "relu2"]},
            {"name": "fedavg", "clients": 2},
        ],
        "attack": [{"name": "decoder"}, {"name": "direction"}],
    })  # fmt: skip
    cells = plan_of(spec).cells.values()
    victims = plan_of(spec).victims
    found = {(victims[c.victim].recipe["protocol"]["name"], c.attack["name"]) for c in cells}
    assert found == {
        ("vanilla", "decoder"), ("u_shaped", "decoder"), ("u_shaped", "direction"),
        ("fedavg", "none"),
    }  # fmt: skip
    with pytest.raises(SpecError, match=r"protocol\[0\]\.cut: u_shaped needs 2 cuts, got 1"):
        load_spec({**spec.model_dump(), "protocol": [{"name": "u_shaped"}]})
