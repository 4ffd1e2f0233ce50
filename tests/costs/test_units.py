"""Quantities as people write and read them."""

import math

import pytest

from sltoolkit.costs.units import (
    bits_per_second,
    bytes_text,
    client_counts,
    count_text,
    flops_per_second,
    seconds_text,
)
from sltoolkit.errors import SpecError


@pytest.mark.parametrize(
    ("text", "rate"),
    [("1bit", 1), ("500kbps", 5e5), ("10Mbit", 1e7), (" 1 Gbit/s ", 1e9), ("2.5e3 bit/s", 2500),
     (".5Tbps", 5e11)],
)  # fmt: skip
def test_rates_are_bits_in_powers_of_a_thousand(text: str, rate: float) -> None:
    assert bits_per_second(text) == pytest.approx(rate)


@pytest.mark.parametrize(
    "text", ["", "10", "10MB", "10 Mbyte", "-1bit", "0bit", "1..2bit", ".bit", "1e999bit", "nanbit"]
)
def test_bytes_and_nonsense_are_no_rates(text: str) -> None:
    with pytest.raises(SpecError, match="such as 10Mbit"):
        bits_per_second(text)


@pytest.mark.parametrize("speed", [0, -1, math.nan, math.inf])
def test_a_speed_is_positive_and_finite(speed: float) -> None:
    assert flops_per_second(5, "client") == 5e9
    with pytest.raises(SpecError, match="client must be a number of GFLOP/s above 0"):
        flops_per_second(speed, "client")


def test_counts_of_clients_are_sorted_and_unique() -> None:
    assert client_counts("10, 1,100,10") == [1, 10, 100]


@pytest.mark.parametrize("text", ["", "0", "1,", "1.5", "-2", "ten"])
def test_what_is_no_count_of_clients_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="such as 1,10,100"):
        client_counts(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (999.6, "1 kB"), (1234, "1.23 kB"), (4.2e9, "4.2 GB"),
     (1e15, "1 PB"), (5e18, "5 EB"), (5e21, "5,000 EB")],
)  # fmt: skip
def test_bytes_have_three_digits_and_a_decimal_unit(count: float, text: str) -> None:
    assert bytes_text(count) == text


def test_counts_have_a_prefix_or_nothing() -> None:
    assert [count_text(c) for c in (7, 11_181_642)] == ["7", "11.2 M"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0005, "0.5 ms"), (0.25, "250 ms"), (1, "1 s"), (59.9, "59.9 s"), (192, "3.2 min"),
     (7200, "2 h"), (1e6, "11.6 d")],
)  # fmt: skip
def test_seconds_have_the_largest_unit_that_fits(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("text", "rate"),
    [("10Mbit", 1e7), ("1 Gbit/s", 1e9), ("2.5kbps", 2500), ("64bit", 64), ("1e3 mbit", 1e9)],
)
def test_rates_are_read(text: str, rate: float) -> None:
    assert bits_per_second(text) == rate


@pytest.mark.parametrize(
    "text", ["", "10", "Mbit", "0Mbit", "-1Mbit", "10MB", "1.2.3Mbit", "1e999bit", "10 Mbit x"]
)
def test_nonsense_is_no_rate(text: str) -> None:
    with pytest.raises(SpecError, match="bits per second such as 10Mbit"):
        bits_per_second(text)


def test_counts_and_speeds_are_read() -> None:
    assert client_counts("100, 1,10,1") == [1, 10, 100]
    assert flops_per_second(5, "speed") == 5e9
    with pytest.raises(SpecError, match="speed must be"):
        flops_per_second(math.inf, "speed")


def test_quantities_are_written_with_three_digits_and_a_unit() -> None:
    assert [bytes_text(n) for n in (0, 7, 999, 999.7, 1234, 5.5e7, 2e21)] == [
        "0 B", "7 B", "999 B", "1 kB", "1.23 kB", "55 MB", "2,000 EB",
    ]  # fmt: skip
    assert [count_text(n) for n in (1, 1500, 1e6)] == ["1", "1.5 k", "1 M"]
    assert [seconds_text(s) for s in (0.0123, 1, 90, 5400, 1e6)] == [
        "12.3 ms", "1 s", "1.5 min", "1.5 h", "11.6 d",
    ]  # fmt: skip
