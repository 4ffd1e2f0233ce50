"""A figure of how many samples of each class every client holds."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from torch import Tensor

from sltoolkit.data.partition import mean_distance
from sltoolkit.errors import SpecError
from sltoolkit.report.canvas import Figure

_COLOR = "#0072B2"  # Okabe and Ito's blue, as in the trade-off figure
_MARGINS = (1.3, 1.9)  # inches: width for class names, height for titles and bars
_TICKS = 25  # labels along an axis at most; with more, only every n-th is written


def class_histograms(counts: Tensor, classes: Sequence[str]) -> Figure:
    """Draw a bubble per client (across) and class (up), whose area is the number of samples.

    Bars on top show how many samples each client holds. The form is that of Lin et al. 2020,
    Ensemble distillation for robust model fusion in federated learning (NeurIPS). The title gives
    the mean total-variation distance.

    Args:
        counts: samples per client and class, (K, C), from `class_counts`.
        classes: the C class names.

    Raises:
        SpecError: if the counts don't have one column per class name.
        DataError: if a client has no samples.
    """
    if counts.ndim != 2 or counts.shape[1] != len(classes):
        raise SpecError(
            f"class histograms need counts of shape (clients, {len(classes)}), one column per "
            f"class name; got {tuple(counts.shape)}"
        )
    counts = counts.cpu()
    clients = len(counts)
    wide, high = _span(clients, 12.0), _span(len(classes), 8.0)
    figure = Figure(figsize=(wide + _MARGINS[0], high + _MARGINS[1]), dpi=120, layout="constrained")
    sizes, bubbles = figure.subplots(2, 1, sharex=True, height_ratios=[0.8, high])
    _bars(sizes, counts)
    _bubbles(bubbles, counts, 72 * min(wide / clients, high / len(classes)))
    bubbles.set_yticks(_every(len(classes)), [classes[c] for c in _every(len(classes))])
    bubbles.set_xticks(_every(clients))
    sizes.set_title(
        f"{int(counts.sum())} samples at {clients} client{'s' * (clients > 1)}\n"
        f"mean total-variation distance {mean_distance(counts):.3f}",
        fontsize=10,
    )
    return figure


def _span(cells: int, most: float) -> float:
    """Inches for this many cells along an axis, at most `most`."""
    return min(most, max(2.6, 0.42 * cells))


def _every(cells: int) -> range:
    steps = (step * 10**power for power in range(9) for step in (1, 2, 5))
    return range(0, cells, next(step for step in steps if cells <= _TICKS * step))


def _bars(axis: Axes, counts: Tensor) -> None:
    axis.bar(range(len(counts)), counts.sum(1).tolist(), width=0.8, color="0.6")
    axis.set_ylabel("samples")
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(axis="x", length=0)


def _bubbles(axis: Axes, counts: Tensor, cell: float) -> None:
    """Draw one bubble per client and class that occurs; `cell` is its room, in points."""
    client, label = counts.nonzero(as_tuple=True)
    held, most = counts[client, label], int(counts.max())
    area = (0.9 * cell) ** 2 * held.double() / most  # matplotlib's sizes are squared diameters
    axis.scatter(client.tolist(), label.tolist(), s=area.tolist(), c=_COLOR, linewidths=0)
    axis.set_xlim(-0.7, len(counts) - 0.3)
    axis.set_ylim(-0.7, counts.shape[1] - 0.3)
    axis.set_xlabel(f"client\n(area: samples; the largest bubble is {most})")
    axis.set_ylabel("class")
    axis.grid(color="0.93")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
