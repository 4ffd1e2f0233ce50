"""Attacks decode in evaluation mode, so neither other targets nor earlier decoding matter."""

from typing import Any

import pytest
import torch
from support import listeners as sim
from support.query_views import view_of
from support.white_box_views import conv_client, digits
from torch import Tensor, nn

from sltoolkit.attacks.inversion._query import LabeledQueryView
from sltoolkit.attacks.inversion.decoder import Decoder
from sltoolkit.attacks.listening._substitute import SubstituteView
from sltoolkit.attacks.listening.fora import FORA, Alignment, FORASetup, FORAView
from sltoolkit.attacks.listening.pcat import PCAT, PseudoClient
from sltoolkit.attacks.listening.sdar import SDAR, Simulation
from sltoolkit.contracts.attack import Listener
from sltoolkit.contracts.outcomes import Outcome, Reconstruction
from sltoolkit.streams import Stream

pytestmark = pytest.mark.golden

FORA_SETUP = FORASetup(aux=sim.own_samples(), task=sim.TASK, mechanism=None)


def images(outcome: Outcome) -> Tensor:
    assert isinstance(outcome, Reconstruction)
    return outcome.images


def test_the_decoder_attack() -> None:
    x, aux, client = digits(5), digits(60)[5:], conv_client()

    def run(some: Tensor) -> Tensor:
        view = view_of(LabeledQueryView, client, some, aux, labels=None)
        return Decoder(steps=4, width=4, budget=0).run(view, rng=Stream(0)).images

    torch.testing.assert_close(run(x), torch.cat([run(one[None]) for one in x]))


def decoder_of(tap: Any) -> nn.Module:
    """The network with which a listener state decodes."""
    if isinstance(tap, Alignment):
        return tap.aligned.decoder.network
    assert isinstance(tap, PseudoClient | Simulation)
    return tap.substitute.decoder.network


@pytest.mark.parametrize(
    ("attack", "setup", "view"),
    [(FORA.smoke(), FORA_SETUP, FORAView), (SDAR.smoke(), sim.before(), SubstituteView),
     (PCAT.smoke(), sim.before(), SubstituteView)],
    ids=["fora", "sdar", "pcat"],
)  # fmt: skip
def test_listeners(attack: Listener[Any], setup: Any, view: Any) -> None:
    batches = [sim.heard(sim.server(), seed=seed) for seed in range(3)]
    with Stream(2).scope():
        tap = attack.open(setup, batches[0], rng=Stream(3))
        for batch in batches:
            tap.hear(batch)
    network = decoder_of(tap)
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    assert any(name.endswith("running_mean") for name in before)
    z, y = batches[0].messages["smashed", "in"][:5], torch.arange(5) % sim.CLASSES

    def run(rows: slice) -> Tensor:
        held = {"smashed": z[None, rows]} | ({"labels": y[rows]} if view is SubstituteView else {})
        return images(tap.finish(view(**held)))

    together = run(slice(None))
    torch.testing.assert_close(together, torch.cat([run(slice(i, i + 1)) for i in range(5)]))
    for name, buffer in network.named_buffers():
        assert torch.equal(buffer, before[name]), name
