"""Checks of a plug-in's source text: its imports, the private attributes it reads, its devices.

An attack or a defense may import packages of the toolkit that hold nothing of the truth, and
libraries that only compute. The modules that it imports from its own package are checked in the
same way.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import final

from sltoolkit.testing.reachable import reachable_source

COMPUTING = frozenset({
    "torch", "numpy", "scipy", "math", "abc", "collections", "contextlib", "copy", "dataclasses",
    "enum", "functools", "itertools", "operator", "typing", "types",
})  # fmt: skip
"""Libraries that only compute; the rest of the standard library inspects the process or files."""

GROUND = frozenset({"errors", "parameters", "shapes", "streams"})


@final
@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a kind of plug-in may import.

    Attributes:
        what: the kind, for messages.
        rooms: packages and modules of the toolkit, with everything in them.
        libraries: other libraries.
    """

    what: str
    rooms: frozenset[str]
    libraries: frozenset[str] = COMPUTING

    def allow(self, module: str) -> bool:
        """Whether a module of the toolkit or of another library may be imported."""
        top, _, rest = module.partition(".")
        if top != "sltoolkit":
            return top in self.libraries
        return any(rest == room or rest.startswith(f"{room}.") for room in self.rooms)


ATTACKS = Rules(
    what="an attack",
    rooms=GROUND | {
        "contracts", "adversary", "networks", "attacks", "wire.message", "parties.stages",
        "parties.honest", "progress", "metrics.image", "metrics.correlation",
        "metrics.discrepancy", "metrics.losses",
    },
)  # fmt: skip

DEFENSES = Rules(
    what="a defense",
    rooms=GROUND | {
        "contracts", "networks", "defenses", "wire.turn", "parties.sampling", "privacy",
        "metrics.image", "metrics.correlation",
    },
    libraries=COMPUTING | {"opacus"},
)  # fmt: skip

FORBIDDEN_NAMES = frozenset({
    "eval", "exec", "globals", "compile", "open", "print", "__import__", "vars",
})  # fmt: skip
"""Built-in functions that inspect the process, or hand something to others than the referee."""

FORBIDDEN_ATTRIBUTES = frozenset({
    "__closure__", "__globals__", "cell_contents", "__subclasses__", "f_back", "__dict__",
    "manual_seed",
})  # fmt: skip

FACTORIES = frozenset({
    "zeros", "ones", "empty", "full", "rand", "randn", "randint", "randperm", "arange", "eye",
    "linspace", "logspace", "tensor", "normal", "Generator", "as_tensor",
})  # fmt: skip
DEVICE_LITERAL = re.compile(r"(cuda|cpu|mps)(:\d+)?")


def source_checks(kind: type, rules: Rules) -> dict[str, Callable[[], None]]:
    """The checks of the source of a plug-in's class, by name.

    There are none for a class that is not defined in a file, for example in a notebook.
    """
    checks: dict[str, Callable[[], None]] = {}
    own = kind.__module__.partition(".")[0]
    for module, text in sources_of(kind).items():
        checks |= {
            f"imports-{module}": partial(check_imports, text, module, rules, own=own),
            f"own_privates-{module}": partial(check_own_privates, text, module),
            f"device_agnostic-{module}": partial(check_device_agnostic, text, module),
        }
    return checks


def check_imports(
    source: str,
    name: str,
    rules: Rules = ATTACKS,
    *,
    own: str = "",
    besides: frozenset[str] = frozenset(),
) -> None:
    """The source imports only what the rules allow, and nothing that holds the truth.

    Args:
        source: the text of a file.
        name: the file's name in messages.
        rules: the rules for the kind of plug-in.
        own: the plug-in's own top-level package, which it may import.
        besides: further modules that this file may import.
    """
    tree = ast.parse(source)
    for module in _imported(tree):
        mine = own not in ("", "sltoolkit") and module.partition(".")[0] == own
        legal = mine or module in besides or rules.allow(module)
        assert legal, f"{name} imports {module}, which {rules.what} must not know"
    for node in ast.walk(tree):
        word = ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""
        attribute = node.attr if isinstance(node, ast.Attribute) else ""
        assert word not in FORBIDDEN_NAMES, f"{name} uses {word}, which {rules.what} must not"
        assert attribute not in FORBIDDEN_ATTRIBUTES, f"{name} uses {word}: {rules.what} must not"
        made = ast.unparse(node) if isinstance(node, ast.Call) else ""
        assert not re.match(r"(\w+\.)*Stream\(", made), (
            f"{name} makes a stream of its own, {made}: all its randomness comes from the stream "
            "that it is given"
        )
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr":
            private = isinstance(node.args[1], ast.Constant) and str(node.args[1].value)[:1] == "_"
            assert not private, f"{name} uses {ast.unparse(node)}, which {rules.what} must not"


def check_own_privates(source: str, name: str) -> None:
    """The source reads private attributes only of `self`, or if the same file defines them."""
    tree = ast.parse(source)
    own = {"self", "cls", "super()", "torch", "nn.modules", "nn.modules.batchnorm"}
    made = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    made |= {
        n.target.id for n in ast.walk(tree)
        if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
    }  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr):
            mine = ast.unparse(node.value) in own or node.attr in made
            assert mine, f"{name} reads {ast.unparse(node)}, which is none of its business"


def check_device_agnostic(source: str, name: str) -> None:
    """The source names no device, and puts every new tensor on the device of the inputs."""
    tree = ast.parse(source)
    moved = {
        id(node.func.value) for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("to", "type_as")
    }  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            literal = DEVICE_LITERAL.fullmatch(node.value)
            assert not literal, f"{name}:{node.lineno} names the device {node.value!r}"
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        call = node.func
        where = f"{name}:{node.lineno}"
        assert call.attr not in ("cuda", "cpu"), f"{where} calls .{call.attr}()"
        if isinstance(call.value, ast.Name) and call.value.id == "torch":
            given = {k.arg for k in node.keywords}
            placed = "device" in given or id(node) in moved or _default_generator(node)
            placed = placed or (call.attr == "Generator" and bool(node.args))
            assert call.attr not in FACTORIES or placed, (
                f"{where} calls torch.{call.attr} without a device: it must follow its inputs'"
            )
            assert not ("device" in given and _default_generator(node)), (
                f"{where} draws on the inputs' device from a generator on another one"
            )


def _default_generator(call: ast.Call) -> bool:
    """Whether a call draws from a CPU generator on purpose, as `generator=rng.torch()` does."""
    for keyword in call.keywords:
        if keyword.arg == "generator" and isinstance(keyword.value, ast.Call):
            return not keyword.value.args and not keyword.value.keywords
    return False


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide what is imported"
            module = node.module or ""
            parts = [f"{module}.{alias.name}" for alias in node.names]
            if module in ("sltoolkit", "sltoolkit.metrics"):
                yield from parts
            else:
                yield module
                yield from (part for part in parts if part in sys.modules)


def sources_of(kind: type) -> dict[str, str]:
    """The source that belongs to a class, by module: its own file and modules of its package.

    The file's part is what the class reaches, so that the file may also hold a test or a call of
    this suite. For a plug-in of the toolkit, only its own file counts.
    """
    found: dict[str, str] = {}
    top = kind.__module__.partition(".")[0]
    waiting = [kind.__module__]
    while waiting:
        module = waiting.pop()
        path = getattr(sys.modules.get(module), "__file__", None)
        if module in found or path is None:
            continue
        text = Path(path).read_text()
        own_file = module == kind.__module__
        found[module] = reachable_source(text, kind.__qualname__) if own_file else text
        if top != "sltoolkit":
            waiting += [m for m in _imported(ast.parse(found[module])) if m.split(".")[0] == top]
    return found
