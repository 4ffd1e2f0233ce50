"""A page per plug-in: its facts and its docstring."""

from sltoolkit.attacks import ATTACKS
from sltoolkit.cli.plugin_pages import attack_page, defense_page, index, metric_page, protocol_page
from sltoolkit.parameters.parameter import declared


def test_an_attack_says_what_it_needs_and_what_it_can_use() -> None:
    page = attack_page("whitebox")
    assert "| needs | `smashed`, `client_weights` |" in page
    assert "| can use | `labels`, `aux`, `release`, `mechanism` |" in page
    assert "| `client_weights` | yes | a copy of the client network" in page
    assert "```text\nmin over x in [0, 1]" in page  # its equation
    assert "`sl.attack(victim, sl.WhiteBox())`" in page


def test_every_parameter_has_a_line_with_its_range_and_default() -> None:
    page = attack_page("decoder")
    for parameter in declared(ATTACKS["decoder"]):
        assert f"| `{parameter.name}` | {parameter.expected} | " in page
    assert "| `steps` | a whole number" in page
    assert "| `64` |" in page


def test_listeners_and_hijackers_are_used_while_training() -> None:
    assert "`sl.train(..., listeners=[attack])`" in attack_page("sdar")
    assert "`sl.train(..., active=attack)`" in attack_page("fsha")


def test_a_defense_says_where_it_acts() -> None:
    assert "| acts on | the client's loss |" in defense_page("nopeek")
    page = defense_page("dp_activations")
    assert "| acts on | smashed data |" in page
    assert "| formal guarantee | yes |" in page
    assert '"defense.dp_activations.epsilon" = [...]' in page


def test_no_defense_has_its_class_for_a_page_and_nothing_to_sweep() -> None:
    page = defense_page("none")
    assert "| acts on | - |" in page
    assert "To sweep it" not in page
    assert "parameter" not in page


def test_a_protocol_draws_its_seats_and_its_messages() -> None:
    page = protocol_page("splitfed_v1")
    assert "server▶client" in page
    assert "smashed      B × 16" in page
    assert "| cuts | 1 |" in page


def test_a_metric_says_what_it_judges_and_its_range() -> None:
    page = metric_page("ssim")
    assert "| judges | reconstruction |" in page
    assert "| range | -1 to 1 |" in page
    assert "| inputs | images with sides of at least 11 pixels |" in page
    assert "| leaks more | the lower it is |" in metric_page("mse")


def test_an_index_has_a_line_per_plugin_with_the_columns_asked_for() -> None:
    lines = index("attacks", {"needs": "needs", "family": "family"}).splitlines()
    assert lines[0] == "| name | what it is | needs | family |"
    assert len(lines) == 2 + len(ATTACKS)
    assert all(line.count(" | ") == 3 for line in lines)
