"""`torchrun --nproc-per-node 3 -m sltoolkit.serve spec.toml --out DIR`: one process."""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from sltoolkit.bench.spec import load_spec
from sltoolkit.errors import DataError, SLToolkitError, SpecError, ThreatModelError
from sltoolkit.serve.process import Process, run_process, this_process
from sltoolkit.serve.recipe import plan_of, recipe_of, seated

_USER_ERRORS = (SpecError, DataError, ThreatModelError)


def serve(
    spec: Annotated[Path, typer.Argument(help="The experiment, a TOML file of a single run.")],
    out: Annotated[Path, typer.Option(help="Folder for checkpoints and results.")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last epoch that every process stored.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=1.0, help="Seconds of silence after which a process is at fault.")
    ] = 60.0,
) -> None:
    """Train with every party in its own process: rank 0 is the server, rank k is client k - 1.

    Start it with torchrun, once per host, with as many processes as there are clients, plus one.

    Example: torchrun --nproc-per-node 3 -m sltoolkit.serve spec.toml --out runs/served
    """
    recipe = recipe_of(load_spec(spec))
    out.mkdir(parents=True, exist_ok=True)
    process = this_process(timeout)
    signal.signal(signal.SIGTERM, lambda *_: setattr(process.liveness, "stop_asked", True))
    process, device = placed(process, recipe["device"])
    run, epochs = seated(recipe | {"device": str(device)}, device=device)
    run_process(process, run, epochs=epochs, out=out, plan=plan_of(recipe), resume=resume)


def placed(process: Process, device: str) -> tuple[Process, torch.device]:
    """The process and its device; where a host has too few GPUs, several processes share one."""
    gpus = torch.cuda.device_count() if device == "cuda" else 0
    if gpus == 0:
        return process, torch.device(device)
    mine = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % gpus)
    torch.cuda.set_device(mine)
    own = gpus >= int(os.environ.get("LOCAL_WORLD_SIZE", process.size))
    return replace(process, gpu=own), mine


_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_app.command()(serve)


def main() -> None:
    """Run one process; a failure is one sentence and an exit code."""
    code = 0
    try:
        _app(standalone_mode=False)
    except SLToolkitError as error:
        typer.echo(f"error: {error}", err=True)
        code = 2 if isinstance(error, _USER_ERRORS) else 1
    if code:
        sys.stderr.flush()
        os._exit(code)  # a thread may be in a receive that never ends


if __name__ == "__main__":
    main()
