"""Cutting a module whose `forward` is arbitrary code, through its torch.fx graph.

A cut falls where a submodule has just returned. It is legal where what the submodule returned is
the only value that later operations need: a skip connection across the cut, the input used twice
or a size computed early would be a second one.
"""

import copy
import inspect
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor, fx, nn

from sltoolkit.errors import SpecError
from sltoolkit.models.changes import changes, state_of
from sltoolkit.streams import Stream

# Errors that tracing arbitrary code was seen to raise; for most, fx has no error of its own.
FAILURES = (
    fx.proxy.TraceError,
    AttributeError,
    IndexError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)
ADVICE = "pass the two halves as two nn.Modules (client, server) instead"


@final
@dataclass(frozen=True, kw_only=True)
class Return:
    """Where a submodule returned.

    Attributes:
        position: number of graph nodes that were computed by then.
        value: what it returned; None if that is not one value of the graph.
    """

    position: int
    value: fx.Node | None


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Traced:
    """The graph of one module.

    Attributes:
        root: the module.
        nodes: its operations in the order of execution, the input first; no output node.
        output: the node whose value is returned.
        returns: submodule -> where each of its calls returned.
        constants: tensors that tracing found in the code.
    """

    root: nn.Module
    nodes: list[fx.Node]
    output: fx.Node
    returns: dict[str, list[Return]]
    constants: dict[str, Tensor]

    def cut_points(self) -> list[str]:
        """The submodules after which a legal cut falls, one (the outermost) per place, in order."""
        names: dict[int, str] = {}
        for name in sorted(self.returns, key=lambda name: name.count(".")):
            if self.obstacle(name) is None:
                names.setdefault(self.returns[name][0].position, name)
        return [names[position] for position in sorted(names) if position < len(self.nodes)]

    def obstacle(self, name: str) -> str | None:
        """Why there is no cut after submodule `name`; None if there is one."""
        calls = self.returns.get(name, [])
        if len(calls) != 1:
            return f"the forward pass calls {name!r} {len(calls)} times, not once"
        position, value = calls[0].position, calls[0].value
        if value is None or value.op == "placeholder":
            return f"{name!r} does not return one newly computed value"
        crossing = [node for node in self._crossing(position) if node is not value]
        if crossing:
            values = ", ".join(_describe(node) for node in crossing)
            return f"besides the output of {name!r} other values would cross the cut: {values}"
        return None

    def _crossing(self, position: int) -> list[fx.Node]:
        needed = {used for node in self.nodes[position:] for used in node.all_input_nodes}
        needed.add(self.output)
        return [node for node in self.nodes[:position] if node in needed and node.op != "get_attr"]

    def split(self, names: Sequence[str]) -> list[nn.Module]:
        """The parts between cuts after `names`, which are legal; in order of execution.

        A part without operations is an empty `nn.Sequential`.
        """
        cuts = sorted((self.returns[name][0] for name in names), key=lambda cut: cut.position)
        positions = [cut.position for cut in cuts]
        values = [cut.value for cut in cuts if cut.value is not None]
        starts, ends = [1, *positions], [*positions, len(self.nodes)]
        sources, targets = [self.nodes[0], *values], [*values, self.output]
        return [
            self._part(self.nodes[start:end], source, target)
            for start, end, source, target in zip(starts, ends, sources, targets, strict=True)
        ]

    def _part(self, nodes: list[fx.Node], source: fx.Node, target: fx.Node) -> nn.Module:
        if source is target:
            return nn.Sequential()
        graph = fx.Graph()
        copies = {source: graph.placeholder("x")}

        def copied(node: fx.Node) -> fx.Node:
            if node not in copies:  # only parameters may come from outside `nodes`
                copies[node] = graph.node_copy(node, copied)
            return copies[node]

        for node in nodes:
            if node.op != "get_attr":
                copied(node)
        graph.output(copied(target))
        attributes = {str(node.target) for node in graph.nodes if node.op in _NAMED}
        return fx.GraphModule({name: self._attribute(name) for name in attributes}, graph)

    def _attribute(self, name: str) -> Any:
        if name in self.constants:
            return self.constants[name]
        owner, _, field = name.rpartition(".")
        return getattr(self.root.get_submodule(owner), field)


_NAMED = ("call_module", "get_attr")


class _Tracer(fx.Tracer):
    def __init__(self) -> None:
        super().__init__()
        self.returns: dict[str, list[Return]] = {}

    def call_module(
        self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        returned = super().call_module(m, forward, args, kwargs)
        node = returned.node if isinstance(returned, fx.Proxy) else None
        call = Return(position=len(self.graph.nodes), value=node)
        self.returns.setdefault(self.path_of_module(m), []).append(call)
        return returned


def is_leaf(module: nn.Module) -> bool:
    """Whether fx takes the module as one operation, as it does torch's own."""
    return _Tracer().is_leaf_module(module, "")


def trace(module: nn.Module) -> Traced:
    """The graph of `module`, which is left as it was: copies of it are traced.

    Raises:
        SpecError: if its computation depends on values, on the training flag outside submodules,
            or on random numbers drawn outside submodules, if it takes or returns several values, or
            changes its own tensors or numbers.
    """
    name = type(module).__name__
    traced = {}
    for training in (True, False):
        try:
            traced[training] = _trace(module, training=training)
        except FAILURES as error:
            raise SpecError(f"torch.fx can't trace {name}: {error}; {ADVICE}") from error
    if str(traced[True].output.graph) != str(traced[False].output.graph):
        raise SpecError(
            f"{name} computes something else in training mode outside its submodules (such as "
            f"F.dropout(x, training=self.training)); use modules (nn.Dropout), or {ADVICE}"
        )
    return traced[module.training]


def _trace(module: nn.Module, *, training: bool) -> Traced:
    tracer, replica = _Tracer(), copy.deepcopy(module)
    for m in replica.modules():
        m.training = training
    before, known = state_of(replica), set(vars(replica))
    with Stream(0).scope():  # restores the generators
        state = torch.get_rng_state().tolist(), random.getstate()
        graph = tracer.trace(replica, concrete_args=_defaults(replica))
        drawn = state != (torch.get_rng_state().tolist(), random.getstate())
    if drawn:
        raise ValueError("its forward draws random numbers that tracing would freeze")
    if changed := changes(before, replica):
        raise ValueError(
            f"its forward changes {', '.join(changed)} of the module itself, which tracing would "
            "freeze at one value"
        )
    constants = {key: getattr(replica, key) for key in set(vars(replica)) - known}
    *nodes, last = graph.nodes
    output = last.args[0]
    if not isinstance(output, fx.Node):
        raise TypeError("its forward does not return one tensor")
    checks = _checks(nodes)
    return Traced(
        root=module,
        nodes=[node for node in nodes if node not in checks],
        output=output,
        returns={
            name: [replace(call, position=call.position - len(checks)) for call in calls]
            for name, calls in tracer.returns.items()
        },
        constants=constants,
    )


def _defaults(module: nn.Module) -> dict[str, Any]:
    """The optional arguments of `forward`, which are traced at their defaults."""
    parameters = list(inspect.signature(module.forward).parameters.values())
    required = [p for p in parameters if p.default is p.empty]
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
        starred = ", ".join(map(str, parameters))
        raise TypeError(f"its forward({starred}) takes any number of inputs, not one: name them")
    if len(required) != 1 or required[0] is not parameters[0]:
        raise TypeError(f"its forward takes {len(required)} inputs, not one")
    return {p.name: p.default for p in parameters[1:]}


def _checks(nodes: list[fx.Node]) -> set[fx.Node]:
    """The placeholders of optional arguments and fx's assertions about them; all come first."""
    ignored = {node for node in nodes[1:] if node.op == "placeholder"}
    for node in nodes:
        if node.all_input_nodes and ignored.issuperset(node.all_input_nodes):
            ignored.add(node)
    return ignored


def _describe(node: fx.Node) -> str:
    if node.op == "placeholder":
        return f"{node.name} (the input)"
    if node.op == "call_module":
        return f"{node.name} (the output of {node.target!r})"
    return f"{node.name} (computed by {getattr(node.target, '__name__', node.target)})"
