"""Names and parameters of plug-ins, as rows contain them."""

import json
from dataclasses import dataclass

import pytest

from sltoolkit.contracts.chain import Chain
from sltoolkit.data.partition import PARTITIONS, DirichletLabels
from sltoolkit.defenses import DEFENSES, GaussianNoise, NoPeek
from sltoolkit.errors import SpecError
from sltoolkit.protocols import PROTOCOLS, SplitFedV1, Vanilla
from sltoolkit.rows.names import described, name_of, named, parameters_json


@dataclass(kw_only=True)
class HTTPNoise2D:
    std: float = 1.0
    sizes: tuple[int, ...] = (1, 2)
    inner: object = None


def test_a_plugin_is_called_as_it_is_registered() -> None:
    for name, kind in DEFENSES.items():
        assert name_of(kind(), DEFENSES) == name


def test_one_that_is_not_registered_is_called_by_its_class() -> None:
    assert name_of(HTTPNoise2D(), DEFENSES) == "httpnoise2_d"
    assert name_of(GaussianNoise(), {}) == "gaussian_noise"


def test_a_chain_names_its_links_in_order() -> None:
    chain = Chain(GaussianNoise(), HTTPNoise2D(), NoPeek())  # type: ignore[arg-type]

    assert name_of(chain, DEFENSES) == "gaussian_noise+httpnoise2_d+nopeek"


def test_a_name_stands_for_the_plugin_at_its_defaults_and_a_plugin_for_itself() -> None:
    given = SplitFedV1(clients=4)

    assert named(given, PROTOCOLS, "protocol") is given
    assert named("vanilla", PROTOCOLS, "protocol") == Vanilla()
    with pytest.raises(SpecError, match="no protocol is called 'vanila'; did you mean 'vanilla'"):
        named("vanila", PROTOCOLS, "protocol")


def test_what_is_described_can_be_written_so() -> None:
    assert described(DirichletLabels(alpha=0.5), PARTITIONS).startswith("dirichlet(alpha=0.5")


def test_lists_left_at_their_default_are_not_described() -> None:
    assert described(HTTPNoise2D(), {}) == "httpnoise2_d(std=1.0, inner=None)"
    assert "sizes=(3,)" in described(HTTPNoise2D(sizes=(3,)), {})


def test_parameters_are_canonical_json() -> None:
    text = parameters_json(HTTPNoise2D(inner=HTTPNoise2D(std=2.0)))

    assert json.loads(text) == {
        "std": 1.0,
        "sizes": [1, 2],
        "inner": {"std": 2.0, "sizes": [1, 2], "inner": None},
    }
    assert text == json.dumps(json.loads(text), sort_keys=True)


def test_what_json_has_no_word_for_is_written_as_python_does() -> None:
    assert json.loads(parameters_json(HTTPNoise2D(inner=range(3))))["inner"] == "range(0, 3)"


def test_a_chains_parameters_are_a_list_link_by_link() -> None:
    chain = Chain(GaussianNoise(std=0.5), GaussianNoise(std=2.0))

    assert [link["std"] for link in json.loads(parameters_json(chain))] == [0.5, 2.0]
