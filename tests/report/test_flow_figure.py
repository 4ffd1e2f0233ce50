"""The figure of a flow."""

from support.flows import EVERY

from sltoolkit.protocols import PROTOCOLS
from sltoolkit.report.flow import size_text
from sltoolkit.report.flow_figure import flow_figure
from sltoolkit.report.message_flow import flow


@EVERY
def test_the_figure_writes_every_message_on_its_arrow(name: str) -> None:
    exchanges = flow(PROTOCOLS[name]())
    figure = flow_figure(exchanges, title=name)
    written = [text.get_text() for text in figure.axes[0].texts]
    steps = [step for exchange in exchanges for step in exchange.steps]
    labels = [f"{step.kind}, {size_text(step)}" for step in steps]
    assert [text for text in written if text in labels] == labels
