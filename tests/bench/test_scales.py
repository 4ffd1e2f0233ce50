"""How the settings of two scales of an experiment differ."""

from typing import Any

from sltoolkit.bench.scales import differences

PAPER: dict[str, Any] = {
    "name": "paper",
    "seeds": [0, 1, 2],
    "data": {"name": "mnist", "train": 50_000},
    "attack": [{"name": "sdar", "lr": 0.1}, {"name": "sdar", "lr": 0.2}, {"name": "fsha"}],
}


def changed(**changes: Any) -> list[str]:
    return differences({**PAPER, **changes}, PAPER)


def test_the_same_experiment_under_another_name_has_no_differences() -> None:
    assert changed(name="small") == []


def test_each_setting_stands_beside_what_it_is_there() -> None:
    assert changed(data={"name": "mnist", "train": 800}, seeds=[0]) == [
        "seeds = [0] ([0, 1, 2])",
        "data.train = 800 (50000)",
    ]


def test_what_only_one_of_them_sets_is_at_its_default_in_the_other() -> None:
    assert changed(training={"epochs": 2}) == ["training.epochs = 2 (default)"]
    assert changed(data={"name": "mnist"}) == ["data.train = default (50000)"]


def test_tables_of_a_list_are_compared_by_name_not_by_place() -> None:
    fsha, *both = reversed(PAPER["attack"])

    assert changed(attack=[fsha, *reversed(both)]) == []
    assert changed(attack=[*PAPER["attack"][:2], {"name": "fsha", "lr": 3}]) == [
        "attack.fsha.lr = 3 (default)"
    ]


def test_of_the_same_name_the_second_is_numbered() -> None:
    attacks = [{"name": "sdar", "lr": 0.1}, {"name": "sdar", "lr": 0.3}, {"name": "fsha"}]

    assert changed(attack=attacks) == ["attack.sdar#2.lr = 0.3 (0.2)"]


def test_a_scale_says_setting_by_setting_what_it_does_otherwise() -> None:
    paper = {"name": "a", "data": {"train": 9, "aux": 3}, "attack": [{"name": "x", "lr": 0.1}]}
    small = {
        "name": "b", "data": {"train": 5, "aux": 3}, "seeds": [0],
        "attack": [{"name": "x", "steps": 2}, {"name": "x", "steps": 4}],
    }  # fmt: skip
    assert differences(small, paper) == [
        "data.train = 5 (9)", "seeds = [0] (default)", "attack.x.steps = 2 (default)",
        "attack.x#2.name = x (default)", "attack.x#2.steps = 4 (default)",
        "attack.x.lr = default (0.1)",
    ]  # fmt: skip
    assert differences(paper, paper) == []
