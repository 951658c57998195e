"""What can be on a disk when the power goes, given what was written to it and when it was synced?

Rule 1: a file's bytes and size are durable once fsync or fdatasync of it has returned; a name (made, renamed, removed)
once its folder was synced. Nothing else is, however long ago it was written.
Rule 2: of what is not durable, each sector holds what it held after one of the writes to it, chosen by itself: so a
write may be whole, absent or torn, and a later one may be there without an earlier one. The size is one of those that
the file had since. A file is shortened or it is not: that is one change of metadata.
Rule 3: bytes of a sector that no write touched do not change: SQLite assumes it too
(SQLITE_IOCAP_POWERSAFE_OVERWRITE), and no card that breaks it can hold a file system.
Rule 4: names that are not durable come back in order up to some moment, as after a journal's replay, or each by itself.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

SECTORS = (512, 4096)
FOLDER = -1  # stands for a file's number where a name is a folder's


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One call, in the order of the trace. ``path`` is below the root; ``file`` is the number that its opening gave."""

    kind: Literal["make", "folder", "write", "truncate", "sync", "sync_folder", "rename", "unlink", "mark"]
    path: str = ""
    to: str = ""
    file: int = 0
    offset: int = 0
    size: int = 0
    data: bytes = b""


@dataclass(slots=True)
class _File:
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Op] = field(default_factory=list)

    def sync(self) -> None:
        for op in self.pending:
            _apply(self.durable, op)
        self.pending.clear()


class Disk:
    """What was asked of it so far; `after_cut` draws what it can hold when the power goes now."""

    def __init__(self) -> None:
        self._files: dict[int, _File] = {}
        self._names: dict[str, int] = {}
        self._pending: list[Op] = []

    def do(self, op: Op) -> None:
        """The next call."""
        match op.kind:
            case "write" | "truncate":
                self._files[op.file].pending.append(op)
            case "sync":
                self._files[op.file].sync()
            case "sync_folder":
                mine = [waiting for waiting in self._pending if _parent(waiting.path) == op.path]
                self._pending = [waiting for waiting in self._pending if waiting not in mine]
                for waiting in mine:
                    _name(self._names, waiting)
            case "make" | "folder" | "rename" | "unlink":
                if op.kind == "make":
                    self._files.setdefault(op.file, _File())
                self._pending.append(op)
            case "mark":
                pass

    def everything(self) -> dict[str, bytes]:
        """All files as a process sees them: as if all had been synced."""
        names = dict(self._names)
        for op in self._pending:
            _name(names, op)
        return {path: bytes(self._whole(file)) for path, file in names.items() if file != FOLDER}

    def after_cut(self, rng: random.Random) -> Mapping[str, bytes | None]:
        """Files by path, folders as None."""
        names = dict(self._names)
        for op in self._surviving_names(rng):
            _name(names, op)
        sector, written = rng.choice(SECTORS), rng.choice((0.0, 0.2, 0.5, 0.8, 1.0))
        there = {path: file for path, file in names.items() if _parent(path) in {"", *names}}
        return {
            path: None if file == FOLDER else self._torn(self._files[file], rng, sector, written)
            for path, file in there.items()
        }

    def _surviving_names(self, rng: random.Random) -> list[Op]:
        if rng.random() < 0.5:
            return self._pending[: rng.randint(0, len(self._pending))]
        return [op for op in self._pending if rng.random() < 0.5]

    def _whole(self, number: int) -> bytearray:
        content = bytearray(self._files[number].durable)
        for op in self._files[number].pending:
            _apply(content, op)
        return content

    def _torn(self, file: _File, rng: random.Random, sector: int, written: float) -> bytes:
        """``written``: the share of sectors whose last write arrived; the others hold any earlier state."""
        shortenings = [index for index, op in enumerate(file.pending) if op.kind == "truncate"]
        starts = [0, *shortenings]
        chosen = rng.randint(0, len(shortenings))
        content = bytearray(file.durable)
        for start, end in list(zip(starts, [*shortenings, len(file.pending)], strict=True))[: chosen + 1]:
            ops = file.pending[start:end]
            for op in ops:
                if op.kind == "truncate":
                    _apply(content, op)
            content = _partly(content, [op for op in ops if op.kind == "write"], rng, sector, written)
        return bytes(content)


def _partly(content: bytearray, writes: Sequence[Op], rng: random.Random, sector: int, written: float) -> bytearray:
    sizes = [len(content)]
    touching: dict[int, list[Op]] = {}
    for op in writes:
        end = op.offset + len(op.data)
        sizes.append(max(sizes[-1], end))
        for number in range(op.offset // sector, -(-end // sector)):
            touching.setdefault(number, []).append(op)
    content = content + bytes(sizes[-1] - len(content))
    for number, ops in sorted(touching.items()):
        arrived = len(ops) if rng.random() < written else rng.randint(0, len(ops))
        for op in ops[:arrived]:
            low, high = max(number * sector, op.offset), min((number + 1) * sector, op.offset + len(op.data))
            content[low:high] = op.data[low - op.offset : high - op.offset]
    return content[: sizes[-1] if rng.random() < written else rng.choice(sizes)]


def _apply(content: bytearray, op: Op) -> None:
    if op.kind == "truncate":
        del content[op.offset :]
        content.extend(bytes(op.offset - len(content)))
    else:
        content.extend(bytes(max(0, op.offset - len(content))))
        content[op.offset : op.offset + len(op.data)] = op.data


def _name(names: dict[str, int], op: Op) -> None:
    """A change of a name; one that its folder cannot do any more (what it renames never arrived) is no change."""
    if op.kind == "make":
        names[op.path] = op.file
    elif op.kind == "folder":
        names[op.path] = FOLDER
    elif op.kind == "unlink":
        names.pop(op.path, None)
    elif op.path in names:
        names[op.to] = names.pop(op.path)


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def put(files: Mapping[str, bytes | None], root: Path) -> None:
    """Makes the files of a disk in an empty folder."""
    for path, content in sorted(files.items()):
        if content is None:
            (root / path).mkdir(parents=True, exist_ok=True)
        else:
            (root / path).write_bytes(content)
