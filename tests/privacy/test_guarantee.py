"""A guarantee in a sentence states everything that must be stated along with its numbers."""

from dataclasses import replace

from sltoolkit.privacy.guarantee import Guarantee

GUARANTEE = Guarantee(
    mechanism="the Gaussian mechanism with sigma 2",
    released="its smashed data",
    unit="one example",
    neighbors="replacement of the example",
    epsilon=1.23456,
    delta=1e-5,
    releases=1,
    accountant="exact",
    limits="labels",
)


def test_the_sentence_says_all() -> None:
    assert str(GUARANTEE) == (
        "(1.23, 1e-05)-DP for one example under replacement of the example, over 1 release of its "
        "smashed data by the Gaussian mechanism with sigma 2 (exact); not protected: labels"
    )


def test_several_releases_are_counted() -> None:
    assert "over 12 releases of" in str(replace(GUARANTEE, releases=12))
