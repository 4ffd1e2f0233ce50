"""What all figures share: colors, sizes, plain axes, and their display in notebooks."""

from io import BytesIO

from matplotlib import figure
from matplotlib.axes import Axes

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito's palette, whose colors can be told apart with any color vision."""

COLUMN, PAGE = 3.35, 6.9
"""Inches: the width of a column and of a page in the usual two-column templates."""

SMALL, NORMAL = 7.0, 8.0
"""Points: readable at that width without scaling."""


def tidy(axis: Axes) -> None:
    """Draw a pale grid behind the data, and no frame at the top and on the right."""
    axis.grid(color="0.93")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


class Figure(figure.Figure):
    """A `matplotlib.figure.Figure` that needs neither pyplot nor `%matplotlib inline`.

    Notebooks show matplotlib's own figures only after pyplot was imported. If it was, pyplot's
    formatter comes first, so no figure is shown twice.
    """

    def _repr_png_(self) -> bytes:
        """The figure as IPython displays it."""
        buffer = BytesIO()
        self.savefig(buffer, format="png", bbox_inches="tight")
        return buffer.getvalue()
