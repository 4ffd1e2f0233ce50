"""How a victim looks in a notebook."""

import pytest
from support.toys import CUT, TARGETS, network, split

import sltoolkit as sl


@pytest.fixture(scope="module")
def victim() -> sl.Victim:
    """A victim after a short training, for tests that only look."""
    return sl.train(network, split(), cut=CUT, training=sl.Training(epochs=1), targets=TARGETS)


def test_a_victim_shows_what_crossed_the_wire(victim: sl.Victim) -> None:
    shown = victim._repr_html_()
    sent = sum(n for link, n in victim.bytes.items() if link.kind == "smashed")
    assert sent == 48 * 4 * 8 * 8 * 4  # samples x smashed data in float32
    assert f"smashed {sent / 1e6:.1f} MB" in shown
    assert "4×8×8 per sample" in shown
    assert f"{victim.utility:.3f} on 18 held-out samples" in shown
    assert "majority share</th><td>0.333<" in shown
    assert f"balanced accuracy</th><td>{victim.balanced_accuracy:.3f}<" in shown
