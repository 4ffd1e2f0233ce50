"""Types and options that commands share."""

from typing import Annotated, Any, Literal

import typer

Kind = Literal["attacks", "defenses", "protocols", "models", "data", "metrics"]
"""What `list` can list."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.")]
Workers = Annotated[
    int, typer.Option(min=1, help="How many processes to use; results don't depend on it.")
]


Record = dict[str, Any]
