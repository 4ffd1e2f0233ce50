"""Reading and writing rates, speeds and counts as text."""

import math
import re

from sltoolkit.errors import SpecError

_PREFIXES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_RATE = re.compile(r"(?P<number>[\d.]+(?:e[+-]?\d+)?)\s*(?P<prefix>[kmgt]?)(?:bit(?:/s)?|bps)")
_TIMES = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"))


def bits_per_second(text: str) -> float:
    """A rate such as `10Mbit`, `1 Gbit/s` or `500kbps`; prefixes are powers of 1000.

    Raises:
        SpecError: if it is anything else.
    """
    expected = f"a rate is a positive number of bits per second such as 10Mbit, got {text!r}"
    found = _RATE.fullmatch(text.strip().lower())
    if found is None or text.strip().endswith("B"):
        raise SpecError(expected)
    try:
        rate = float(found["number"]) * _PREFIXES[found["prefix"]]
    except ValueError:
        raise SpecError(expected) from None
    if not 0 < rate < math.inf:
        raise SpecError(expected)
    return rate


def flops_per_second(gflops: float, name: str) -> float:
    """A speed given in GFLOP/s.

    Raises:
        SpecError: if it is not a finite number above 0.
    """
    if not 0 < gflops < math.inf:
        raise SpecError(f"{name} must be a number of GFLOP/s above 0 such as 5, got {gflops}")
    return gflops * 1e9


def client_counts(text: str) -> list[int]:
    """Numbers of clients such as `1,10,100`, in ascending order, each once.

    Raises:
        SpecError: if one isn't a whole number of at least 1.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) for word in words):
        raise SpecError(
            f"numbers of clients are whole numbers of at least 1, separated by commas, such as "
            f"1,10,100; got {text!r}"
        )
    return sorted({int(word) for word in words})


def bytes_text(count: float) -> str:
    """Three digits and a decimal unit: `4.2 GB`."""
    return _scaled(count, "B")


def count_text(count: float) -> str:
    """Three digits and a prefix: `11.2 M`."""
    return _scaled(count, "").strip()


def seconds_text(seconds: float) -> str:
    """Two or three digits and the largest fitting unit: `3.2 min`."""
    size, unit = next((t for t in _TIMES if seconds >= t[0]), _TIMES[-1])
    return f"{_digits(seconds / size)} {unit}"


def _scaled(count: float, unit: str) -> str:
    for prefix in ("", "k", "M", "G", "T", "P"):
        if count < 999.5:
            return f"{_digits(count)} {prefix}{unit}"
        count /= 1000
    return f"{_digits(count)} E{unit}"


def _digits(value: float) -> str:
    """Three digits, without an exponent or trailing zeros: 4.2, 17.5, 1,234."""
    decimals = max(0, 2 - math.floor(math.log10(value))) if value >= 1e-3 else 3
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text
