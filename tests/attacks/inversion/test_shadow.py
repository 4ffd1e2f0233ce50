"""The shadow: its special case, its training, and how its success fades with depth."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from support.white_box_views import conv_client, digits, task_of
from torch import Tensor, nn
from torch.nn import functional

import sltoolkit as sl
from sltoolkit.attacks.inversion._observation import WhiteBoxView, released
from sltoolkit.attacks.inversion.shadow import InTurn, Shadow, ShadowView, fit
from sltoolkit.attacks.inversion.whitebox import WhiteBox
from sltoolkit.contracts.attack import Attack
from sltoolkit.contracts.defense import Defense
from sltoolkit.contracts.knowledge import Aux
from sltoolkit.contracts.outcomes import Reconstruction
from sltoolkit.errors import SpecError
from sltoolkit.parameters.grids import settled
from sltoolkit.referee.judge import Verdict
from sltoolkit.streams import Stream
from sltoolkit.wire.turn import Turn

pytestmark = pytest.mark.golden

FIXED = Shadow(
    epochs=2,
    least_steps=0,
    inversion=WhiteBox(steps=30, lr=0.1, tv_weight=1e-3, tv_beta=1, forward="client"),
)  # nothing to rehearse


def labeled(n: int) -> Aux:
    """Digits and their labels."""
    return Aux(x=digits(n), y=torch.tensor(load_digits().target[:n]))


def server_of(outputs: int = 10) -> nn.Sequential:
    with Stream(3).scope():
        return nn.Sequential(
            nn.ReLU(inplace=True), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.Flatten(),
            nn.Linear(512, outputs),
        )  # fmt: skip


def view_of(client: nn.Module, server: nn.Module, aux: Aux, **more: Any) -> ShadowView:
    x = digits(4)
    with torch.no_grad():
        smashed = client(x)[None]
    settings: dict[str, Any] = {
        "smashed": smashed, "server_weights": server, "aux": aux, "task": task_of(x, smashed),
        "client_arch": lambda _: copy.deepcopy(client).train().requires_grad_(True),
        "mechanism": None, **more,
    }  # fmt: skip
    return ShadowView(**settings)


def test_an_untrained_shadow_that_is_the_client_makes_it_the_white_box() -> None:
    client, aux = conv_client(), labeled(40)
    view = view_of(client, server_of(), aux)
    got = replace(FIXED, epochs=0).run(view, rng=Stream(0))
    whitebox = WhiteBox(steps=30, lr=0.1, tv_weight=1e-3, tv_beta=1)
    wanted = whitebox.run(
        WhiteBoxView(
            smashed=view.smashed, client_weights=client, task=view.task, aux=aux, release=None,
            mechanism=None,
        ),
        rng=Stream(0),
    )  # fmt: skip
    assert torch.equal(got.images, wanted.images)
    assert got.diagnostics["feature_loss"] == wanted.diagnostics["feature_loss"]


def test_the_servers_network_is_left_as_it_was() -> None:
    server = server_of().train()
    before = copy.deepcopy(server.state_dict())
    FIXED.run(view_of(conv_client(), server, labeled(40)), rng=Stream(0))
    assert all(torch.equal(v, before[k]) for k, v in server.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in server.parameters())
    assert all(layer.training for layer in server.modules())


def test_training_is_the_published_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    own, rates, settings = labeled(48), [], {}
    made = torch.optim.Adam

    class Watched(made):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            settings.update(self.defaults)

        def step(self, *args: Any, **options: Any) -> None:
            rates.append(self.param_groups[0]["lr"])
            super().step(*args, **options)

    monkeypatch.setattr(torch.optim, "Adam", Watched)
    client, server = conv_client().requires_grad_(True), server_of().requires_grad_(False)
    server[0] = nn.ReLU()
    whole = nn.Sequential(client, server)
    with Stream(0).scope():
        fit(whole, own, steps=50 * 3, lr=1e-3, batch_size=16)
    assert (settings["eps"], settings["amsgrad"]) == (1e-3, True)
    assert rates == [1e-3 * 0.5 ** (epoch // 5) for epoch in range(50) for _ in range(3)]
    assert client.training
    assert not server.training


def test_the_task_is_learned_through_a_frozen_server() -> None:
    own = labeled(64)
    client, server = conv_client().requires_grad_(True), server_of()
    server[0] = nn.ReLU()
    for weight in server[-1].parameters():  # an untrained server tells little
        weight.data.mul_(10)
    server.requires_grad_(False).eval()
    before = copy.deepcopy(server.state_dict())
    whole = nn.Sequential(client, server)

    def loss() -> float:
        with torch.no_grad():
            return float(functional.cross_entropy(whole.eval()(own.x), own.y))

    start = loss()
    with Stream(0).scope():
        fit(whole, own, steps=300, lr=1e-2, batch_size=16)
    assert loss() < 0.7 * start
    assert all(torch.equal(v, before[k]) for k, v in server.state_dict().items())


class Masked(Defense):
    """Withholds the first two channels."""

    def smash(self, z: Tensor, turn: Turn) -> Tensor:
        return torch.cat([torch.zeros_like(z[:, :2]), z[:, 2:]], 1)


def test_a_known_defense_is_rehearsed_with() -> None:
    client = conv_client()
    answer = released(client, lambda _: Masked(), Stream(0))(digits(3))[0]
    with torch.no_grad():
        clean = client(digits(3))
    assert answer[:, :2].abs().max() == 0
    assert torch.equal(answer[:, 2:], clean[:, 2:])
    plain = released(client, None, Stream(0))(digits(3))[0]
    assert torch.equal(plain, clean)


class Times(nn.Module):
    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        assert len(x)
        return self.factor * x


@pytest.mark.parametrize("rows", [1, 2, 3, 7])
def test_rivals_answer_in_turn(rows: int) -> None:
    x = torch.rand(rows, 2, 4, 4)
    by = torch.tensor([1, 2, 3]).repeat(3)[:rows].reshape(-1, 1, 1, 1)
    assert torch.equal(InTurn([Times(1), Times(2), Times(3)])(x), by * x)


def test_it_rehearses_against_three_rivals_and_inverts_none_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[WhiteBoxView] = []

    def noting(self: WhiteBox, view: WhiteBoxView, *, rng: Stream) -> Reconstruction:
        seen.append(view)
        return Reconstruction(images=digits(view.smashed.shape[1]))

    monkeypatch.setattr(WhiteBox, "run", noting)
    monkeypatch.setattr(WhiteBox, "settings_on", Attack.settings_on)  # by `run`
    view = view_of(conv_client(), server_of(), labeled(20))
    Shadow(epochs=1, least_steps=2).run(view, rng=Stream(0))
    same = digits(1).repeat(6, 1, 1, 1)
    last = seen[-1]  # after the calls of the rehearsal
    assert last.release is not None
    with torch.no_grad():
        answers, own = last.release(same)[0], last.client_weights(same[:1])
    assert torch.equal(answers[:3], answers[3:])
    assert len({a.numpy().tobytes() for a in [*answers[:3], own[0]]}) == 4


def test_own_samples_are_needed() -> None:
    with pytest.raises(SpecError, match="at least 3 aux samples"):
        FIXED.run(view_of(conv_client(), server_of(), labeled(2)), rng=Stream(0))


DATA: Callable[[], sl.data.Split] = partial(sl.data.load, "digits", train=600, holdout=100, aux=400)
LENET = partial(sl.models.build, "lenet", shape=(1, 8, 8), classes=10, padding=2)
GRANTS = {"aux", "client_arch"}
QUICK = Shadow(least_steps=400, epochs=1, inversion=WhiteBox(steps=50, lr=0.1))


def judged(victim: sl.Victim, attack: sl.Attack[Any] = QUICK) -> Verdict:
    return sl.attack(victim, attack, grants=GRANTS).verdict


def trained(cut: Any, **more: Any) -> sl.Victim:
    training = sl.Training(epochs=5, batch_size=32, lr=3e-3)
    return sl.train(
        LENET, DATA(), cut=cut, training=training, targets=sl.Targets(count=12), **more
    )  # fmt: skip


def test_it_works_behind_the_first_layer_and_fades_with_depth() -> None:
    found = {}
    attack = replace(
        FIXED, epochs=50, least_steps=1500, inversion=replace(FIXED.inversion, steps=100)
    )
    for cut in ("conv1", "relu2"):
        victim = trained(cut)
        verdict = judged(victim, attack)
        found[cut] = float(verdict.scores["mse"].mean())
        prior = min(verdict.baselines["mse"].values())
        assert verdict.outcome.diagnostics["shadow_accuracy"] > victim.utility - 0.15
    assert found["conv1"] < 0.6 * prior
    assert found["conv1"] < 0.7 * found["relu2"]


def test_noise_stops_it() -> None:
    verdict = judged(trained("conv1", defense=sl.GaussianNoise(std=30.0)))
    chosen: dict[str, Any] = dict(verdict.outcome.tuned)
    names = ("tv_weight", "tv_beta", "forward", "start", "pull")
    assert set(chosen) == {f"inversion.{name}" for name in names}
    assert chosen["inversion.start"] == "mean"  # queries go to the real client, not to the shadow
    assert not settled(QUICK, chosen).rehearses
    assert float(verdict.scores["mse"].mean()) > 0.9 * min(verdict.baselines["mse"].values())


def test_a_u_shape_gets_a_tail_of_ones_own() -> None:
    verdict = judged(
        trained(("conv1", "relu3"), protocol="u_shaped"), replace(FIXED, least_steps=400)
    )
    assert verdict.role == "server"
    assert "labels" not in verdict.knowledge
    assert verdict.outcome.diagnostics["shadow_accuracy"] > 0.3  # chance: 0.1
