"""A registry: plug-in classes by the names of the files that define them."""

from collections.abc import Mapping
from typing import Any


def plugins_in(package: Mapping[str, Any]) -> dict[str, type[Any]]:
    """The plug-ins that a package's `__init__` imports from its files, by the files' names.

    So the import in `__init__` registers a plug-in.

    Args:
        package: the `__init__`'s `globals()`.
    """
    inside = f"{package['__name__']}."
    found = {
        kind.__module__.rpartition(".")[2]: kind
        for kind in package.values()
        if isinstance(kind, type) and kind.__module__.startswith(inside)
    }
    return dict(sorted(found.items()))
