"""What did a program ask of its disk, byte for byte?

It is run under strace; its calls below one folder become `Op`s. What it writes to the file of marks stands among them,
so it is known what it had promised before each of its writes.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.disk import Op

_CALLS = (
    "openat creat open close dup dup2 dup3 write pwrite64 writev pwritev lseek ftruncate truncate fallocate"
    " copy_file_range sendfile rename renameat renameat2 link linkat symlink symlinkat unlink unlinkat"
    " mkdir mkdirat rmdir fsync fdatasync sync syncfs sync_file_range"
)
_LINE = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')


class TraceError(Exception):
    """The trace holds something whose effect on the disk is not known here."""


@dataclass(slots=True)
class _Open:
    file: int | None  # None: a folder, or the file of marks
    path: str
    at: int = 0
    append: bool = False


@dataclass(slots=True)
class _Reader:
    """Turns lines into operations. ``root`` and ``marks`` are absolute."""

    root: str
    marks: str
    open: dict[int, _Open] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    made: int = 0

    def read(self, line: str) -> Iterator[Op]:
        found = _LINE.match(line)
        if found is None or found[3].startswith("-"):
            return
        call, result = found[1], int(found[3])
        texts = [bytes.fromhex(text.replace("\\x", "")) for text, _cut in _TEXT.findall(found[2])]
        if any(cut for _text, cut in _TEXT.findall(found[2])):
            raise TraceError(f"cut short: {line[:80]}")
        args = [arg.strip() for arg in _TEXT.sub("", found[2]).split(",")]
        yield from self._call(call, texts, args, result)

    def _call(self, call: str, texts: list[bytes], args: list[str], result: int) -> Iterator[Op]:
        match call:
            case "openat" | "open" | "creat":
                yield from self._opened(texts[0].decode(), " ".join(args), result)
            case "close":
                self.open.pop(int(args[0]), None)
            case "dup" | "dup2" | "dup3":
                if int(args[0]) in self.open:
                    self.open[result] = self.open[int(args[0])]
            case "unlink" | "unlinkat" | "rename" | "renameat" | "renameat2" | "mkdir" | "mkdirat":
                yield from self._named(call, [text.decode() for text in texts])
            case _ if args[0].isdigit() and int(args[0]) in self.open:
                yield from self._on(self.open[int(args[0])], call, texts, args, result)
            case "sync" | "link" | "linkat" | "symlink" | "symlinkat" | "truncate" | "rmdir":
                if any(self._below(text.decode()) is not None for text in texts) or call == "sync":
                    raise TraceError(call)

    def _opened(self, path: str, flags: str, fd: int) -> Iterator[Op]:
        below = self._below(path)
        if path == self.marks:
            self.open[fd] = _Open(None, "")
        elif below is not None and "O_DIRECTORY" not in flags and (below in self.numbers or "O_CREAT" in flags):
            if below not in self.numbers:
                self.made += 1
                self.numbers[below], self.sizes[self.made] = self.made, 0
                yield Op(kind="make", path=below, file=self.made)
            file = self.numbers[below]
            self.open[fd] = _Open(file, below, append="O_APPEND" in flags)
            if "O_TRUNC" in flags:
                self.sizes[file] = 0
                yield Op(kind="truncate", file=file, offset=0)
        elif below is not None:
            self.open[fd] = _Open(None, below)

    def _named(self, call: str, paths: list[str]) -> Iterator[Op]:
        below = [self._below(path) for path in paths]
        if below[0] is None:
            return
        if call.startswith("mkdir"):
            yield Op(kind="folder", path=below[0])
        elif call.startswith("unlink"):
            self.numbers.pop(below[0], None)
            yield Op(kind="unlink", path=below[0])
        elif below[1] is not None and below[0].rpartition("/")[0] == below[1].rpartition("/")[0]:
            self.numbers[below[1]] = self.numbers.pop(below[0])
            yield Op(kind="rename", path=below[0], to=below[1])
        else:
            raise TraceError(f"{call} from folder to folder")

    def _on(self, of: _Open, call: str, texts: list[bytes], args: list[str], result: int) -> Iterator[Op]:
        if of.file is None:
            if call == "write":
                yield Op(kind="mark", data=texts[0])
            elif call in ("fsync", "fdatasync"):
                yield Op(kind="sync_folder", path=of.path)
            return
        match call:
            case "pwrite64":
                yield self._wrote(of.file, int(args[-1]), texts[0][:result])
            case "write":
                at = self.sizes[of.file] if of.append else of.at
                of.at = at + result
                yield self._wrote(of.file, at, texts[0][:result])
            case "lseek":
                of.at = result
            case "ftruncate":
                self.sizes[of.file] = int(args[1])
                yield Op(kind="truncate", file=of.file, offset=int(args[1]))
            case "fsync" | "fdatasync":
                yield Op(kind="sync", file=of.file)
            case _:
                raise TraceError(call)

    def _wrote(self, file: int, offset: int, data: bytes) -> Op:
        self.sizes[file] = max(self.sizes[file], offset + len(data))
        return Op(kind="write", file=file, offset=offset, data=data)

    def _below(self, path: str) -> str | None:
        """Below the root; None elsewhere, and for an -shm file: it is made anew after a power cut."""
        if path == self.root:
            return ""
        return path[len(self.root) + 1 :] if path.startswith(f"{self.root}/") and not path.endswith("-shm") else None


def run(command: Sequence[str], root: Path, marks: Path, cwd: Path) -> list[Op]:
    """Runs a program of one thread to its end under strace; what it asked of the disk below ``root``."""
    trace = marks.with_name("trace")
    calls = ",".join(f"?{call}" for call in _CALLS.split())
    strace = ["strace", "-o", str(trace), "-xx", "-s", "16777216", "-e", f"trace={calls}", "-e", "signal=none"]
    done = subprocess.run([*strace, *command], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise TraceError(f"{command} ended with {done.returncode}: {done.stderr[-2000:]}")
    reader = _Reader(str(root), str(marks))
    with trace.open(encoding="ascii") as lines:
        return [op for line in lines for op in reader.read(line)]
