"""Checks of an attack's or a defense's source text."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ALLOWED_LIBRARIES = frozenset({
    "torch", "numpy", "scipy", "math", "abc", "collections", "contextlib", "copy", "dataclasses",
    "enum", "functools", "itertools", "operator", "typing", "types",
})  # fmt: skip
"""The rest of the standard library is for looking around (gc, inspect, sys) or for files."""

ALLOWED_CORE = frozenset({
    "contracts", "adversary", "networks", "attacks", "wire.message", "parties.stages",
    "parties.honest", "parameters", "streams", "errors", "shapes", "progress", "metrics.image",
    "metrics.correlation", "metrics.discrepancy",
})  # fmt: skip
"""What an attack may know of the toolkit: contracts, models, and metrics that need no truth."""

FORBIDDEN_NAMES = frozenset({
    "eval", "exec", "globals", "compile", "open", "print", "__import__", "vars",
})  # fmt: skip
"""Built-in functions for looking around, or for speaking to somebody else than the referee."""

FORBIDDEN_ATTRIBUTES = frozenset({
    "__closure__", "__globals__", "cell_contents", "__subclasses__", "f_back", "__dict__",
    "manual_seed",
})  # fmt: skip

FACTORIES = frozenset({
    "zeros", "ones", "empty", "full", "rand", "randn", "randint", "randperm", "arange", "eye",
    "linspace", "logspace", "tensor", "normal", "Generator", "as_tensor",
})  # fmt: skip
DEVICE_LITERAL = re.compile(r"(cuda|cpu|mps)(:\d+)?")


def check_imports(source: str, name: str) -> None:
    """An attack imports contracts, models and truth-free metrics; nothing that holds the truth."""
    tree = ast.parse(source)
    for module in _imported(tree):
        top, _, rest = module.partition(".")
        if top == "sltoolkit":
            legal = any(rest == a or rest.startswith(f"{a}.") for a in ALLOWED_CORE)
        else:
            legal = top in ALLOWED_LIBRARIES
        assert legal, f"{name} imports {module}, which an attack must not know"
    for node in ast.walk(tree):
        word = ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""
        attribute = node.attr if isinstance(node, ast.Attribute) else ""
        assert word not in FORBIDDEN_NAMES, f"{name} uses {word}, which an attack must not"
        assert attribute not in FORBIDDEN_ATTRIBUTES, f"{name} uses {word}: an attack must not"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr":
            private = isinstance(node.args[1], ast.Constant) and str(node.args[1].value)[:1] == "_"
            assert not private, f"{name} uses {ast.unparse(node)}, which an attack must not"


def check_own_privates(source: str, name: str) -> None:
    """Private attributes are read of oneself alone, or where the same file made them."""
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
    """No device by name, and every new tensor is put where the inputs are."""
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
    """Whether it draws from a CPU generator on purpose: `generator=rng.torch()`."""
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
            if module in ("sltoolkit", "sltoolkit.metrics"):
                yield from (f"{module}.{alias.name}" for alias in node.names)
            else:
                yield module


def sources_below(folder: Path) -> dict[str, str]:
    """Every Python file below a folder, by its path from there."""
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*.py"))}


def source_of(kind: type) -> str:
    """The text of the file that defines a class."""
    return Path(str(sys.modules[kind.__module__].__file__)).read_text()
