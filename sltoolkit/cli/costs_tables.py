"""What the command `costs` prints."""

from collections.abc import Mapping, Sequence

import typer

from sltoolkit.cli.show import show_table
from sltoolkit.costs import latency
from sltoolkit.costs.records import Record, nested
from sltoolkit.costs.units import bytes_text, seconds_text
from sltoolkit.report.costs import METHOD_NAMES


def show_costs(answer: Record) -> None:
    """Print tables of what is sent and of how long it takes, and the figures' paths."""
    typer.echo(_heading(answer))
    for key, whose in (("total_bytes", "all clients together"), ("per_client_bytes", "one client")):
        typer.echo(f"\nsent in one epoch, both directions, {whose}:")
        show_table("", _sent(answer["communication"], key))
    typer.echo(_notes(answer))
    times, federated = nested(answer["latency"])
    for k, protocols in times.items():
        typer.echo(
            f"\none epoch with {k:,} client{'s' * (k > 1)}, by cut (* the best); "
            f"federated: {seconds_text(federated[k])}"
        )
        show_table("", _by_cut(protocols))
    if times:
        typer.echo(f"latencies: {answer['machines']}")
    for path in answer["figures"]:
        typer.echo(path)


def _by_cut(protocols: Mapping[str, Mapping[str, float]]) -> list[Record]:
    """A row per cut."""
    best = {name: latency.best(times) for name, times in protocols.items()}
    return [
        {"cut": at} | {
            METHOD_NAMES[name]: seconds_text(times[at]) + " *" * (best[name] == at)
            for name, times in protocols.items()
        }
        for at in next(iter(protocols.values()))
    ]  # fmt: skip


def _heading(answer: Record) -> str:
    share = answer["client_params"] / answer["params"]
    client, server = answer["client_training_flops"], answer["server_training_flops"]
    return (
        f"{answer['model']} on {answer['data']}, cut after {answer['cut']}: "
        f"{answer['cut_width']:,} numbers per sample cross it;\nthe client holds {share:.1%} "
        f"of {answer['params']:,} parameters and does {client / max(client + server, 1):.1%} of "
        f"the FLOPs.\n{answer['samples']:,} training samples, {answer['scalar_bytes']} bytes per "
        "number."
    )


def _sent(records: Sequence[Record], key: str) -> list[Record]:
    """A row per number of clients; methods of one paper with equal costs share a column."""
    columns = {
        ("singh", "split_shared"): "Singh: split, weights handed on",
        ("singh", "split_private"): "Singh: split, private weights",
        ("singh", "federated"): "Singh: federated",
        ("splitfed", "split"): "SplitFed: SL, V1, V2",
        ("splitfed", "federated"): "SplitFed: FL",
    }
    rows: dict[int, Record] = {}
    for (paper, method), head in columns.items():
        for x in records:
            if (x["paper"], x["method"]) == (paper, method):
                row = rows.setdefault(x["clients"], {"clients": f"{x['clients']:,}"})
                row[head] = bytes_text(x[key])
    return list(rows.values())


def _notes(answer: Record) -> str:
    names = {
        ("singh", "split_shared"): "Singh, weights handed on",
        ("singh", "split_private"): "Singh, private weights",
        ("splitfed", "split"): "SplitFed",
    }
    even = [
        f"  {names[x['paper'], x['method']]}: "
        + ("never" if x["clients"] is None else f"{x['clients']:,.1f}")
        for x in answer["break_even"]
    ]
    return "\n".join(
        [
            "Singh et al. count weights once per hand-over, SplitFed down and up: compare",
            "within a paper only. Split sends less than federated beyond this many clients:",
            *even,
            f"Not counted: {bytes_text(answer['label_bytes'])} of labels, all clients together.",
            *_buffers(answer["client_buffer_bytes"], answer["buffer_bytes"]),
        ]
    )


def _buffers(client: int, whole: int) -> list[str]:
    if not whole:
        return []
    return [
        "BatchNorm's statistics, sent with the weights, aren't counted either:\n"
        f"{bytes_text(client)} for the client's part, {bytes_text(whole)} for the whole model."
    ]
