"""One rank of a run: seat everybody, keep one's own, train, and write down what came of it."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, final

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from sltoolkit.errors import ProtocolError, SpecError
from sltoolkit.parties.honest import HonestServer
from sltoolkit.serve.carrier import Distributed
from sltoolkit.serve.liveness import Liveness
from sltoolkit.serve.placeholders import homes_of, keep_local, name_samples
from sltoolkit.serve.state import Checkpoints, RankState, check_resumable, digest, write
from sltoolkit.serve.transport import GroupPost, connect
from sltoolkit.training.cast import Clock
from sltoolkit.training.phases import phase_of_epochs
from sltoolkit.training.run import Run
from sltoolkit.wire.message import Seat, tolls_record
from sltoolkit.wire.wire import Ear, Wire


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Rank:
    """This process among all others.

    Attributes:
        number: its rank; 0 is the server, k is client k - 1.
        size: how many there are.
        store: where they find each other.
        board: where they tell each other why they stop.
        gpu: whether it has a GPU of its own; if all have, tensors there go over nccl.
    """

    number: int
    size: int
    store: Store
    board: Liveness
    gpu: bool = False


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Finished:
    """What a rank has at the end.

    Attributes:
        state: its parties, and the bytes and losses of the whole run.
        facts: what its JSON file says.
    """

    state: RankState
    facts: dict[str, Any] = field(default_factory=dict)


def this_rank(timeout: float) -> Rank:
    """This process as `torchrun` (or RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT) says.

    Args:
        timeout: seconds after which a silent process is at fault.

    Raises:
        SpecError: if the environment doesn't say.
        ProtocolError: if there is nobody at that address.
    """
    try:
        meeting = rendezvous("env://", timeout=timedelta(seconds=timeout))
        store, number, size = next(iter(meeting))
    except ValueError as e:
        raise SpecError(f"start it with torchrun, or set what it would set ({e})") from None
    except RuntimeError as e:
        reason = str(e).splitlines()[0]
        raise ProtocolError(f"nobody answers at MASTER_ADDR and MASTER_PORT ({reason})") from None
    return rank_at(PrefixStore("sltoolkit", store), number, size, timeout)


def rank_at(store: Store, number: int, size: int, timeout: float) -> Rank:
    """This process among others that meet at a store; one store serves one run."""
    names = [f"rank {r}" for r in range(size)]
    own = PrefixStore("board", store).clone()  # type: ignore[attr-defined]  # a connection
    board = Liveness(own, number, names, timeout)
    return Rank(number=number, size=size, store=store, board=board)


def run_rank(
    rank: Rank,
    run: Run,
    *,
    epochs: int,
    out: Path,
    plan: Any,
    resume: bool = False,
    ears: Callable[[Run], Sequence[Ear]] = lambda run: (),
) -> Finished:
    """Train a seated run together with the other ranks, of which each calls this.

    Args:
        rank: this process.
        run: seated alike at every rank; only the samples of the parties that are here matter. All
            others become ghosts.
        epochs: of the training.
        out: folder for checkpoints and results.
        plan: plain JSON that identifies the run; must be the same everywhere.
        resume: go on from the last epoch of which all ranks have a checkpoint.
        ears: who hears what the parties here hear; called while all are still seated.

    Raises:
        ProtocolError: if a rank fails: which seat, and why. All others stop with the same reason.
        SpecError: if the number of processes doesn't fit, or something can't be done in several.
    """
    homes = homes_of(run.cast)
    _check_size(rank, homes)
    rank.board.names[:] = _names(homes, rank.size)
    here = [seat for seat, home in homes.items() if home == rank.number]
    if resume:
        check_resumable(run)
    heard = ears(run)
    device = next(_devices(run), torch.device("cpu"))
    keep_local(run, here)
    with _telling(rank.board):
        post = connect(rank.number, rank.size, rank.store, rank.board, gpu=rank.gpu)
        carrier = Distributed(post, homes, classes=run.task.classes, device=device)
        run.cast.wire = Wire(heard, codec=run.cast.wire.codec, carrier=carrier)
        return _train(post, run, carrier, epochs, out, plan, resume)


def _train(
    post: GroupPost, run: Run, carrier: Distributed, epochs: int, out: Path, plan: Any, resume: bool
) -> Finished:
    plan = digest(plan)
    _agree(post, plan)
    _introduce(post, run)
    state = RankState(run, Clock())
    kept = Checkpoints(out, post.rank, plan)
    done = post.least(max(kept.epochs(), default=0) if resume else 0)
    kept.forget(done)
    kept.load(state, done)
    start, cpu = time.perf_counter(), time.process_time()
    for phase in phase_of_epochs(run.defense, epochs)[done:]:
        run.cast.learn(phase == "train")
        run.protocol.epoch(run.cast, state.clock, phase)
        state.clock.epoch += 1
        state.losses.append(_loss(post, run))
        post.least(state.clock.epoch)
        kept.save(state)
    seconds = time.perf_counter() - start
    facts = {
        "rank": post.rank,
        "seats": [str(s) for s, home in homes_of(run.cast).items() if home == post.rank],
        "resumed_after": done,
        "epochs": state.clock.epoch,
        "losses": state.losses,
        "bytes": tolls_record(state.tolls),
        "seconds": seconds,
        "cpu_seconds": time.process_time() - cpu,
        "waiting_seconds": carrier.waiting,
        "wire_seconds": carrier.moving,
        "wire_share": carrier.moving / seconds if seconds else 0.0,
        "sent_bytes": carrier.sent,
        "plan": plan,
    }
    write(out / f"rank-{post.rank}.safetensors", state.weights(), {"seats": str(facts["seats"])})
    (out / f"rank-{post.rank}.json").write_text(json.dumps(facts, indent=1))
    post.least(0)  # nobody leaves before all have written
    return Finished(state=state, facts=facts)


@contextmanager
def _telling(board: Liveness) -> Iterator[None]:
    """Tell the others if this rank stops before its time."""
    try:
        yield
    except BaseException as e:
        board.fail(f"{board.name}: {type(e).__name__}: {e}")
        board.close(failed=True)
        raise
    board.close(failed=False)
    dist.destroy_process_group()


def _check_size(rank: Rank, homes: dict[Seat, int]) -> None:
    needed = max(homes.values()) + 1
    if rank.size != needed:
        seats = ", ".join(_names(homes, needed))
        raise SpecError(
            f"this protocol needs {needed} processes, one for each of {seats}, got {rank.size}: "
            f"start it with torchrun --nproc-per-node {needed}"
        )


def _names(homes: dict[Seat, int], size: int) -> list[str]:
    first = {home: str(seat) for seat, home in reversed(homes.items())}
    return [first[r] for r in range(size)]


def _agree(post: GroupPost, plan: str) -> None:
    """All ranks must be about to run the same."""
    words = torch.tensor([int(plan[i : i + 15], 16) for i in range(0, 60, 15)])
    for r, theirs in enumerate(post.gathered(words)):
        if not torch.equal(theirs, words):
            raise post.fail(
                f"{post.board.names[r]}: runs another experiment, or other versions, than "
                f"{post.board.name}"
            )


def _introduce(post: GroupPost, run: Run) -> None:
    """Tell the others how many samples one's clients hold, and their ids; nothing else."""
    homes = homes_of(run.cast)
    for member in run.cast.clients:
        mine = homes[member.seat] == post.rank
        ids = member.samples.ids if mine else torch.empty(0, dtype=torch.int64)
        told = post.gathered(ids)[homes[member.seat]]
        if not mine:
            name_samples(member, told)


def _loss(post: GroupPost, run: Run) -> float:
    """The epoch's mean loss, of the losses that are computed here; NaN where none is."""
    tails = [m.tail for m in run.cast.clients if m.tail is not None]
    hosts = [h.party for h in run.cast.servers if isinstance(h.party, HonestServer)]
    taken = [party.take_losses() for party in (hosts or tails)]
    batches = [losses.cpu() for losses in taken if not losses.is_meta and len(losses)]
    if not batches:
        return 0.0
    mean = torch.cat(batches).mean()
    if not bool(mean.isfinite()):
        raise post.fail(
            f"{post.board.name}: the training diverged (the loss is not a finite "
            "number): lower the learning rate or the defense's strength"
        )
    return float(mean)


def _devices(run: Run) -> Iterator[torch.device]:
    """Of all weights; while everybody is seated they are where this process computes."""
    for network in RankState(run, Clock()).networks().values():
        for weight in network.parameters():
            yield weight.device
