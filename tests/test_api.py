"""The functions that a notebook calls: train, frozen, attack, table."""

from collections import OrderedDict
from typing import Any

import pandas as pd
import pytest
import torch
from contract.example_listener import PseudoClient
from matplotlib.figure import Figure
from support.toys import CUT, QUICK, TARGETS, differences, module_state, network, split
from torch import Tensor, nn

import sltoolkit as sl
from sltoolkit.contracts.knowledge import Hints
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.data.targets import label_targets
from sltoolkit.errors import ProtocolError, SpecError, ThreatModelError
from sltoolkit.testing.careless import Careless
from sltoolkit.wire.message import Link
from sltoolkit.wire.transcript import rows_of

SETTINGS: dict[str, Any] = {"training": QUICK, "targets": TARGETS}
HINTED = ("aux", "release", "prior", "hints")
PRIVATE = sl.Vanilla(labels_at="server")  # there are labels to steal
COLUMNS = {
    "victim_seed", "attacker_seed", "protocol", "protocol_params", "model", "cut", "dataset",
    "split", "defense", "defense_params", "attack", "attack_params", "family", "tuned", "role",
    "knowledge", "target_set", "checkpoint", "metric", "value", "ci_low", "ci_high", "n",
    "baseline", "baseline_name", "gain", "retrieval", "utility", "epsilon", "delta", "releases",
    "seconds", "train_seconds", "peak_mb", "sltoolkit", "torch", "python",
}  # fmt: skip


@pytest.fixture(scope="module")
def victim() -> sl.Victim:
    """One victim for tests that only look."""
    return sl.train(network, split(), cut=CUT, **SETTINGS)


def test_an_own_module_in_a_few_lines() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 3))
    before = module_state(model)
    victim = sl.train(model, split(), cut=1, seed=0, **SETTINGS)
    result = sl.attack(victim, sl.Decoder.smoke(), seed=0)
    assert isinstance(result.outcome, Reconstruction)
    assert differences(before, module_state(model)) == []  # a copy was trained
    trained = {**victim.client.client.state_dict(), **victim.server.state_dict()}
    assert differences({k: v for k, v in before.items() if k in trained}, trained) != []
    assert victim.recipe.model == "Sequential"


def test_an_own_module_starts_from_its_weights_and_a_function_from_the_seed() -> None:
    still = sl.Training(epochs=0)
    model = network()
    given = [sl.train(model, split(), cut=CUT, seed=s, training=still).client for s in (0, 1)]
    made = [sl.train(network, split(), cut=CUT, seed=s, training=still).client for s in (0, 1)]
    for member in given:
        assert torch.equal(
            member.client.state_dict()["conv.weight"], model.state_dict()["conv.weight"]
        )
    assert differences(*(m.client.state_dict() for m in made)) != []


def test_an_own_module_keeps_its_memory_format() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 3))
    fast = sl.Training(epochs=1, channels_last=True)
    sl.train(model, split(), cut=1, training=fast, targets=TARGETS)
    assert model.state_dict()["1.weight"].is_contiguous()


def test_a_function_that_makes_no_module_is_refused() -> None:
    with pytest.raises(SpecError, match="returned dict, expected"):
        sl.train(dict, split(), cut=0)  # type: ignore[arg-type]


def test_a_registered_model_by_name() -> None:
    victim = sl.train("mlp", split(), cut="relu1", **SETTINGS)
    assert victim.recipe.model == "mlp"
    assert len(victim.task.smashed_shape) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "lenett"}, "did you mean 'lenet'"),
        ({"cut": "dropp"}, "did you mean 'drop'"),
        ({"protocol": "vanila"}, "did you mean 'vanilla'"),
        ({"defense": "gaussian"}, "did you mean 'gaussian_noise'"),
    ],
)
def test_a_misspelled_name_is_refused_with_the_nearest(change: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"model": network, "data": split(), "cut": CUT} | change
    with pytest.raises(SpecError, match=said):
        sl.train(**given)


def test_two_cuts_for_a_u_shaped_network() -> None:
    victim = sl.train(network, split(), cut=[CUT, "flatten"], protocol="u_shaped", **SETTINGS)
    assert victim.client.tail is not None
    assert victim.recipe.cut == "drop+flatten"
    assert {k.kind for k in victim.bytes} == {"smashed", "smashed_grad"}  # no label travels
    result = sl.attack(victim, sl.Direction(), grants=HINTED)
    assert result.verdict.role == "server"
    with pytest.raises(ProtocolError, match="give 2 cut"):
        sl.train(network, split(), cut=CUT, protocol="u_shaped", **SETTINGS)


def test_private_clients_have_a_network_each_and_share_the_utility() -> None:
    protocol = sl.Vanilla(clients=2, handover="none", labels_at="server")
    victim = sl.train(network, split(), cut=CUT, protocol=protocol, **SETTINGS)
    assert len(victim.deployed) == 2
    assert len(victim.client.samples) == 24
    logits = [
        victim.server(m.client(victim.data.private_holdout.x)).argmax(1) for m in victim.deployed
    ]
    hits = [(guess == victim.data.private_holdout.y).float().mean() for guess in logits]
    assert victim.utility == pytest.approx(float(torch.stack(hits).mean()))
    verdict = sl.attack(victim, sl.Decoder.smoke()).verdict
    assert verdict.truth.ids.min() >= 1000
    labels = sl.attack(victim, sl.Direction(), grants=HINTED).verdict
    assert set(labels.truth.ids.tolist()) <= set(victim.client.samples.ids.tolist())


def test_listeners_ride_along_and_change_nothing(victim: sl.Victim) -> None:
    listener = PseudoClient.smoke()
    grants = ("aux", "release", "prior", "client_arch")
    heard = sl.train(
        network, split(), cut=CUT, listeners=[listener, Careless()], grants=grants, **SETTINGS
    )
    for name in ("member.client", "server"):
        a, b = (_at(v, name).state_dict() for v in (victim, heard))
        assert differences(a, b) == []
    result = sl.attack(heard, listener, grants=grants)
    assert result.identity["attack"] == "pseudo_client"


def _at(victim: sl.Victim, name: str) -> nn.Module:
    return victim.server if name == "server" else victim.client.client


def test_a_missing_grant_is_refused_before_any_training() -> None:
    epochs: list[int] = []
    with pytest.raises(ThreatModelError, match=r"PseudoClient needs .*; as server it holds"):
        sl.train(
            network, split(), cut=CUT, listeners=[PseudoClient()], grants=(),
            progress=lambda done, _: epochs.append(done), **SETTINGS,
        )  # fmt: skip
    assert epochs == []


def test_a_missing_grant_is_refused_in_a_sentence(victim: sl.Victim) -> None:
    with pytest.raises(
        ThreatModelError, match=r"Decoder needs .*grant it: grants=\(\.\.\., 'aux'\)"
    ):
        sl.attack(victim, sl.Decoder(), grants=())
    with pytest.raises(ThreatModelError, match="'smash' is no grant; did you mean 'smashed'"):
        sl.attack(victim, sl.Decoder(), grants=("aux", "release", "smash"))


def test_labels_that_everybody_holds_cannot_be_stolen(victim: sl.Victim) -> None:
    with pytest.raises(ThreatModelError, match=r"labels.*holds anyway.*labels_at='server'"):
        sl.attack(victim, sl.Direction(), grants=HINTED)


def test_rows_are_long_form_and_complete(victim: sl.Victim) -> None:
    result = sl.attack(victim, sl.Decoder.smoke(), seed=3)
    rows = result.rows()
    assert set(rows.columns) >= COLUMNS
    assert rows["metric"].is_unique
    assert {"mse", "psnr_db"} <= set(rows["metric"])
    assert set(rows["knowledge"]) == {"+".join(result.verdict.knowledge)}
    assert set(rows["attacker_seed"]) == {3}
    assert set(rows["attack"]) == {"decoder"}
    assert set(rows["n"]) == {TARGETS.count}
    assert rows[["value", "baseline", "gain", "utility", "seconds"]].notna().all().all()
    assert (rows["ci_low"] <= rows["value"]).all()
    assert (rows["value"] <= rows["ci_high"]).all()


def test_rows_name_the_defense_and_its_parameters() -> None:
    noisy = sl.train(
        network, split(), cut=CUT, protocol=PRIVATE, defense=sl.GaussianNoise(std=0.25), **SETTINGS
    )
    (row,) = sl.attack(noisy, sl.Direction(), grants=HINTED).rows()[:1].to_dict("records")
    assert row["defense"] == "gaussian_noise"
    assert row["defense_params"] == '{"std": 0.25}'
    assert row["knowledge"] == "hints+prior+smashed_grad"


def test_reprs_say_what_it_is(victim: sl.Victim) -> None:
    assert repr(victim).startswith("Victim(vanilla network cut at drop, toy, defense none, seed 0")
    assert f"accuracy {victim.utility:.3f}" in repr(victim)
    said = repr(sl.attack(victim, sl.Decoder.smoke()))
    assert said.startswith("decoder on toy/network@drop, defense none: ")
    assert "prior alone" in said
    assert repr(victim.data) == "Split(toy: 1x8x8, 3 classes, 48 train, 18 held out, 30 aux)"


def test_a_figure_shows_originals_and_reconstructions(victim: sl.Victim) -> None:
    figure = sl.attack(victim, sl.Decoder.smoke()).figure(4)
    assert isinstance(figure, Figure)
    assert sum(bool(axes.images) for axes in figure.axes) == 2 * 4
    private = sl.train(network, split(), cut=CUT, protocol=PRIVATE, **SETTINGS)
    with pytest.raises(TypeError, match="reconstructs nothing"):
        sl.attack(private, sl.Direction(), grants=HINTED).figure()


def test_a_table_has_a_line_per_defense() -> None:
    results = []
    for defense in (None, sl.GaussianNoise(std=1.0)):
        for seed in (0, 1):
            victim = sl.train(
                network, split(), cut=CUT, protocol=PRIVATE, defense=defense, seed=seed, **SETTINGS
            )
            results += [
                sl.attack(victim, sl.Decoder.smoke()),
                sl.attack(victim, sl.Direction(), grants=HINTED),
            ]
    table = sl.table(results)
    assert isinstance(table, pd.DataFrame)
    assert list(table["defense"]) == ["none", "gaussian_noise"]
    assert (table["seeds"] == 2).all()
    ends = [f"{f}_gain_{end}" for f in ("reconstruction", "labels") for end in ("low", "high")]
    assert table[["accuracy", *ends]].notna().all().all()
    assert set(table["interval_over"]) == {"victims"}
    one = sl.table([r for r in results if r.identity["victim_seed"] == 0])
    assert set(one["interval_over"]) == {"targets"}
    assert one[ends].notna().all().all()


def test_hints_are_gradients_and_labels_of_the_same_records(victim: sl.Victim) -> None:
    _, hinted = label_targets(victim.client.samples, TARGETS, seed=victim.recipe.seed)
    record = victim.transcript.record(Link("server", "client", "smashed_grad"))
    hints = Hints(smashed_grad=rows_of(record, hinted.ids), y=hinted.y)
    assert hints.smashed_grad.shape == (6, 4, 8, 8)
    assert hints.y.bincount().tolist() == [2, 2, 2]


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_the_device_is_an_argument(device: str | torch.device) -> None:
    victim = sl.train(network, split(), cut=CUT, device=device, **SETTINGS)
    assert {p.device.type for p in victim.server.parameters()} == {"cpu"}
    assert victim.data.aux.x.device.type == "cpu"


def test_the_same_call_gives_the_same_victim_whatever_ran_before(victim: sl.Victim) -> None:
    torch.rand(5)
    again = sl.train(network, split(), cut=CUT, **SETTINGS)
    assert differences(victim.client.client.state_dict(), again.client.client.state_dict()) == []
    assert victim.losses == again.losses


def test_attacking_does_not_touch_the_global_generators(victim: sl.Victim) -> None:
    before = torch.get_rng_state()
    sl.attack(victim, sl.Decoder.smoke())
    sl.train(network, split(), cut=CUT, **SETTINGS)
    assert torch.equal(before, torch.get_rng_state())


def test_utility_is_measured_through_the_defense() -> None:
    class Mute(sl.Defense):
        citation = "nobody 2026"

        def smash(self, z: Tensor, turn: Any) -> Tensor:
            return z if turn.phase == "train" else torch.zeros_like(z)

    long = sl.Training(epochs=12, batch_size=16, lr=0.05, optimizer="sgd", momentum=0.9)
    victim = sl.train(network, split(), cut=CUT, defense=Mute(), training=long, targets=TARGETS)
    assert victim.utility == pytest.approx(1 / 3)


def test_names_of_layers_survive_the_cut() -> None:
    layers = OrderedDict(a=nn.Flatten(), b=nn.Linear(64, 8), c=nn.Linear(8, 3))
    victim = sl.train(nn.Sequential(layers), split(), cut="b", **SETTINGS)
    assert set(victim.client.client.state_dict()) == {"b.weight", "b.bias"}
    assert set(victim.server.state_dict()) == {"c.weight", "c.bias"}


def test_victims_of_one_seed_share_their_targets_and_those_of_two_seeds_do_not() -> None:
    def asked(seed: int, **options: Any) -> list[int]:
        options = {"targets": TARGETS, **options}
        made = sl.train(network, split(), cut=CUT, seed=seed, training=QUICK, **options)
        ids: list[int] = sl.attack(made, sl.Regression.smoke()).verdict.truth.ids.tolist()
        return ids

    assert asked(1) == asked(1, defense=sl.GaussianNoise(std=0.5))
    assert asked(1) != asked(2)
    fixed = sl.Targets(count=6, labels=12, hints=2, draw=1)
    assert asked(2, targets=fixed) == asked(1)
