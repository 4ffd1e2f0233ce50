"""The part of a file that belongs to a plug-in's class.

A file may hold more than its plug-in: a test, a call of the contract suite, the next plug-in. Only
what the class can reach by name runs as the plug-in, so the rest of the file is left out.
"""

import ast
from collections.abc import Iterable, Iterator, Sequence


def reachable_source(source: str, qualname: str) -> str:
    """The text of a file without the parts that a class doesn't reach; lines keep their numbers.

    Args:
        source: the text of the file.
        qualname: the class's `__qualname__`; a class that was defined within a function reaches
            that function's names, too.
    """
    *functions, name = [part for part in qualname.split(".") if part != "<locals>"]
    bodies: list[Sequence[ast.stmt]] = [ast.parse(source).body]
    for function in functions:
        inner = [s for s in _definitions(bodies[-1]) if s.name == function]
        bodies += [inner[-1].body] if inner else []
    bound = {name: statement for body in bodies for name, statement in _bound(body)}
    reached, waiting = set[str](), [name]
    while waiting:
        word = waiting.pop()
        if word in bound and word not in reached:
            reached.add(word)
            waiting += _words(bound[word])
    return _kept(source, {id(bound[word]): bound[word] for word in reached}.values(), reached)


def _definitions(body: Sequence[ast.stmt]) -> list[ast.FunctionDef | ast.ClassDef]:
    return [s for s in body if isinstance(s, ast.FunctionDef | ast.ClassDef)]


def _bound(body: Sequence[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """The names that statements bind, also within `if`, `try` and `with`, and the statements."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield statement.name, statement
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield from ((_bound_by(alias), node) for alias in node.names)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id, statement


def _bound_by(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]


def _words(statement: ast.stmt) -> list[str]:
    """The names that a statement uses; an import uses none."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return []
    names = [n.id for n in ast.walk(statement) if isinstance(n, ast.Name)]
    texts = [n.value for n in ast.walk(statement) if isinstance(n, ast.Constant)]
    return names + [t for t in texts if isinstance(t, str) and t.isidentifier()]


def _kept(source: str, statements: Iterable[ast.stmt], reached: set[str]) -> str:
    lines = source.splitlines()
    kept = [""] * len(lines)
    for statement in statements:
        decorators = getattr(statement, "decorator_list", [])
        first = min([statement.lineno, *(d.lineno for d in decorators)]) - 1
        if isinstance(statement, ast.Import | ast.ImportFrom):
            statement.names = [a for a in statement.names if _bound_by(a) in reached]
            kept[first] = ast.unparse(statement)
        else:  # statements of a function are moved to the left margin
            end, indent = statement.end_lineno or statement.lineno, statement.col_offset
            kept[first:end] = [line[indent:] for line in lines[first:end]]
    return "\n".join(kept)
