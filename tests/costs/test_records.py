"""Costs as records: every number is that of its formula."""

from math import isfinite

import pytest

from sltoolkit.costs import latency, singh, splitfed
from sltoolkit.costs.flops import SplitCost, registered_costs
from sltoolkit.costs.records import (
    LABEL_BYTES,
    Machines,
    break_even,
    communication,
    latencies,
    nested,
    setting,
)

SAMPLES, COUNTS = 600, (1, 5)
MACHINES = Machines(text="made up", rate=1e6, client_flops=1e9, server_flops=1e10)


@pytest.fixture(scope="module")
def splits() -> dict[str, SplitCost]:
    costs = registered_costs("lenet", (1, 16, 16), classes=10)
    return {split.at: split for split in costs}


@pytest.fixture
def lenet(splits: dict[str, SplitCost]) -> SplitCost:
    return splits["relu2"]


def test_the_setting_does_not_depend_on_the_protocol(lenet: SplitCost) -> None:
    facts = setting(lenet, SAMPLES)

    assert facts["cut"] == "relu2"
    assert facts["cut_width"] == 16 * 2 * 2
    assert facts["client_params"] == 8 * 25 + 8 + 16 * 8 * 25 + 16
    assert facts["params"] == lenet.whole.params
    assert facts["label_bytes"] == SAMPLES * LABEL_BYTES
    assert facts["buffer_bytes"] == 0


def test_every_formula_has_a_record_per_number_of_clients(lenet: SplitCost) -> None:
    found = communication(lenet, COUNTS, SAMPLES)

    assert len(found) == len(COUNTS) * (len(singh.FORMULAS) + len(splitfed.FORMULAS))
    for record in found:
        papers = {"singh": singh.FORMULAS, "splitfed": splitfed.FORMULAS}
        formula = papers[record["paper"]][record["method"]]
        work = lenet.workload(clients=record["clients"], samples=SAMPLES)
        assert record["total_bytes"] == 4 * formula(work).total
        assert record["per_client_bytes"] == 4 * formula(work).per_client


def test_at_the_break_even_both_send_as_much(lenet: SplitCost) -> None:
    private = {(r["paper"], r["method"]): r["clients"] for r in break_even(lenet, SAMPLES)}

    work = lenet.workload(clients=1, samples=SAMPLES)
    at = private["singh", "split_private"]
    assert 2 * work.samples * work.cut_width == pytest.approx(2 * at * work.params)


def test_a_break_even_that_never_comes_is_none(splits: dict[str, SplitCost]) -> None:
    *_, last = splits.values()
    everything = SplitCost(
        at="all", shape=last.shape, client=last.whole, server=type(last.server)(),
        auxiliary=last.auxiliary,
    )  # fmt: skip

    found = {(r["paper"], r["method"]): r["clients"] for r in break_even(everything, SAMPLES)}

    assert found["splitfed", "split"] is None
    assert isfinite(found["singh", "split_private"])


def test_latencies_leave_out_cuts_before_the_first_weights(splits: dict[str, SplitCost]) -> None:
    flat = {at: split for at, split in splits.items() if not split.client.params}
    found = latencies(splits, COUNTS, SAMPLES, MACHINES)

    cuts = {record["cut"] for record in found}
    assert cuts == {None, *splits} - set(flat)
    for record in found:
        chosen = [r for r in found if r["clients"] == record["clients"] and r["best"]]
        assert {r["protocol"] for r in chosen} == set(latency.SPLIT_PROTOCOLS)
        assert len(chosen) == len(latency.SPLIT_PROTOCOLS)


def test_nested_holds_the_same_numbers(splits: dict[str, SplitCost]) -> None:
    found = latencies(splits, COUNTS, SAMPLES, MACHINES)

    times, federated = nested(found)

    assert set(times) == set(federated) == set(COUNTS)
    for record in found:
        k, protocol, at = record["clients"], record["protocol"], record["cut"]
        expected = federated[k] if at is None else times[k][protocol][at]
        assert record["seconds"] == expected
