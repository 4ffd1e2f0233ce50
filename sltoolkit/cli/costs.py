"""The command `costs`: what a protocol sends, and how long an epoch takes."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sltoolkit.errors import SpecError, lookup

if TYPE_CHECKING:  # loaded by the command, so that the command line answers at once
    from sltoolkit.costs import SplitCost
    from sltoolkit.costs.records import Machines, Record


def costs(
    model: Annotated[str, typer.Option(help="A model's name; see `sltoolkit list models`.")],
    data: Annotated[
        str, typer.Option(help="A data set's name (no files needed), or an .npz file.")
    ],
    clients: Annotated[str, typer.Option(help="Numbers of clients to compare.")] = "1,10,100,1000",
    cut: Annotated[
        str | None, typer.Option(help="Block to cut after; by default the model's default cut.")
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="Training samples in all; by default the whole training part."),
    ] = None,
    rate: Annotated[
        str | None, typer.Option(help="Rate of the link that clients share, such as 10Mbit.")
    ] = None,
    client_gflops: Annotated[
        float | None, typer.Option(help="Speed of one client, in GFLOP/s.")
    ] = None,
    server_gflops: Annotated[
        float | None, typer.Option(help="Speed of the server, in GFLOP/s.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("runs/costs"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, for other programs.")
    ] = False,
) -> None:
    """Compare what protocols send in one epoch and, for given speeds, how long it takes.

    Example: sltoolkit costs --model resnet18 --data cifar10 --rate 10Mbit --client-gflops 5
    --server-gflops 1000
    """
    from sltoolkit.costs import records, registered_costs
    from sltoolkit.costs.units import client_counts
    from sltoolkit.data.registry import facts
    from sltoolkit.models import MODELS

    counts = client_counts(clients)
    machines = _machines(rate, client_gflops, server_gflops)
    default_cut = lookup(MODELS, model, "model").cut
    shape, classes, all_samples = facts(data)
    splits = {s.at: s for s in registered_costs(model, shape, classes=classes)}
    split = lookup(splits, cut or default_cut, f"cut of {model}")
    asked = samples or all_samples
    answer: Record = {
        "model": model,
        "data": data,
        **records.setting(split, asked),
        "communication": records.communication(split, counts, asked),
        "break_even": records.break_even(split, asked),
        "machines": machines.text if machines else None,
        "latency": records.latencies(splits, counts, asked, machines) if machines else [],
    }
    answer["figures"] = _draw(answer, split, out)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        from sltoolkit.cli.costs_tables import show_costs

        show_costs(answer)


def _machines(
    rate: str | None, client_gflops: float | None, server_gflops: float | None
) -> "Machines | None":
    """The speeds that latencies are computed from; None if none of them is given."""
    from sltoolkit.costs import SCALAR_BYTES
    from sltoolkit.costs.records import Machines
    from sltoolkit.costs.units import bits_per_second, flops_per_second

    if rate is None and client_gflops is None and server_gflops is None:
        return None
    if rate is None or client_gflops is None or server_gflops is None:
        given = {
            "--rate": rate, "--client-gflops": client_gflops, "--server-gflops": server_gflops
        }  # fmt: skip
        missing = " and ".join(name for name, value in given.items() if value is None)
        raise SpecError(f"latencies need {', '.join(given)}; also give {missing}, or none of them")
    return Machines(
        text=f"{rate} shared by all, {client_gflops:g} GFLOP/s per client, "
        f"server {server_gflops:g} GFLOP/s",
        rate=bits_per_second(rate) / (8 * SCALAR_BYTES),
        client_flops=flops_per_second(client_gflops, "--client-gflops"),
        server_flops=flops_per_second(server_gflops, "--server-gflops"),
    )


def _draw(answer: "Record", split: "SplitCost", out: Path) -> list[str]:
    """Write the figures; returns their paths."""
    from sltoolkit.costs.records import nested
    from sltoolkit.report.costs import communication_figure, latency_figure

    counts = list(dict.fromkeys(x["clients"] for x in answer["communication"]))
    named = f"{answer['model']} on {answer['data']}, {answer['samples']:,} samples"
    work = split.workload(clients=1, samples=answer["samples"])
    title = f"{named}, cut after {split.at}"
    figures = {"communication.png": communication_figure(work, counts, title=title)}
    if answer["latency"]:
        times, federated = nested(answer["latency"])
        title = f"{named}\n{answer['machines']}"
        figures["latency.png"] = latency_figure(times, federated, title=title)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            figure.savefig(out / name)
    except OSError as error:
        raise SpecError(f"can't write figures to {out}: {error}; name a folder by --out") from error
    return [str(out / name) for name in figures]
