"""Messages that crossed the wire, kept for attacks after the fact."""

import shutil
import tempfile
import weakref
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sltoolkit.errors import ProtocolError
from sltoolkit.wire.message import Kind, Link, Message
from sltoolkit.wire.turn import Turn


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """What to record of a run: all messages of these kinds about these samples in these epochs.

    Attributes:
        kinds: the kinds of messages.
        ids: the samples' source ids; None for all samples.
        epochs: the epochs, counted from 0; None for all epochs.
    """

    kinds: frozenset[Kind]
    ids: Tensor | None = None
    epochs: frozenset[int] | None = None


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """All recorded rows of one link: row i is about sample ids[i] in batch steps[i]."""

    rows: Tensor
    ids: Tensor
    steps: Tensor


@final
class Transcript:
    """An ear that keeps what the recording asks for, on disk beyond a memory budget.

    The smashed data of one epoch behind a first convolution can be gigabytes. What doesn't fit the
    budget goes to a temporary folder, which is deleted with the transcript.

    Args:
        recording: what to keep.
        budget_bytes: the most bytes to hold in memory; beyond them, all go to disk.
    """

    def __init__(self, recording: Recording, *, budget_bytes: int = 256 * 2**20) -> None:
        self._recording = recording
        self._ids = None if recording.ids is None else frozenset(recording.ids.tolist())
        self._batch, self._rows = torch.empty(0), torch.empty(0)
        self._budget = budget_bytes
        self._held: dict[Link, list[tuple[Tensor, Tensor, int]]] = defaultdict(list)
        self._restored: dict[Link, Record] = {}
        self._held_bytes = 0
        self._spilled: dict[Link, list[Path]] = defaultdict(list)
        self._folder: Path | None = None

    def wants(self, message: Message) -> bool | Tensor:
        """The rows about recorded samples, if the kind and the epoch are recorded, too."""
        asked = self._recording
        if (
            message.kind not in asked.kinds
            or message.turn.phase != "train"
            or (asked.epochs is not None and message.turn.epoch not in asked.epochs)
        ):
            return False
        if self._ids is None:
            return True
        if message.turn.ids is not self._batch:  # otherwise another message is about this batch
            ids = message.turn.ids.tolist()
            rows = [row for row, i in enumerate(ids) if i in self._ids]
            self._batch = message.turn.ids
            self._rows = torch.tensor(rows, dtype=torch.int64, device=message.payload.device)
        return self._rows

    def note(self, message: Message) -> None:
        """Keep the rows that were asked for."""
        rows, ids = message.payload, message.turn.ids
        if message.rows is not None:
            ids = ids[message.rows.to(ids.device)]
        link = Link(message.src.name, message.dst.name, message.kind)
        # on the CPU, since parts from memory are joined with parts from disk
        self._held[link].append((rows.cpu(), ids.cpu(), message.turn.step))
        self._held_bytes += rows.nbytes
        if self._held_bytes > self._budget:
            self._spill()

    def close(self, turn: Turn) -> None:
        """Do nothing: the end of a batch matters to listeners only."""

    def links(self) -> set[Link]:
        """The links that have a record."""
        return set(self._held) | set(self._spilled) | set(self._restored)

    @property
    def spilled_files(self) -> int:
        """The number of parts on disk."""
        return sum(map(len, self._spilled.values()))

    def record(self, link: Link) -> Record:
        """All recorded rows of one link, in the order in which they were sent.

        Raises:
            ProtocolError: if there are none; the message names the links that have a record.
        """
        if link not in self.links():
            have = ", ".join(f"{k.kind} {k.src}->{k.dst}" for k in self.links()) or "nothing"
            raise ProtocolError(
                f"no {link.kind} from {link.src} to {link.dst} was recorded (recorded: {have}); "
                "train(..., targets=Targets(labels=..., hints=..., epoch=...)) says what to record"
            )
        if link in self._restored:
            return self._restored[link]
        parts = [load_file(path) for path in self._spilled.get(link, [])]
        parts += [_joined(self._held[link])] if link in self._held else []
        return Record(**{k: torch.cat([p[k] for p in parts]) for k in ("rows", "ids", "steps")})

    def restore(self, link: Link, record: Record) -> None:
        """Put a stored record back."""
        self._restored[link] = record

    def _spill(self) -> None:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="sltoolkit-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        for link, parts in self._held.items():
            path = self._folder / f"{self.spilled_files}.safetensors"
            save_file(_joined(parts), path)
            self._spilled[link].append(path)
        self._held.clear()
        self._held_bytes = 0


def _joined(parts: list[tuple[Tensor, Tensor, int]]) -> dict[str, Tensor]:
    steps = [torch.full_like(ids, step) for _, ids, step in parts]
    return {
        "rows": torch.cat([rows for rows, _, _ in parts]).contiguous(),
        "ids": torch.cat([ids for _, ids, _ in parts]),
        "steps": torch.cat(steps),
    }


def rows_of(record: Record, ids: Tensor) -> Tensor:
    """The last recorded row of each id, in the order of `ids`: (N, ...).

    Raises:
        ProtocolError: if an id was not recorded.
    """
    last = {int(i): row for row, i in enumerate(record.ids)}
    missing = [int(i) for i in ids if int(i) not in last]
    if missing:
        raise ProtocolError(
            f"{len(missing)} of {len(ids)} targets were not recorded (the first: {missing[0]}); "
            "record their ids while the victim trains"
        )
    return record.rows[[last[int(i)] for i in ids]]
