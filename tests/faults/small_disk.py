"""How is a disk made so small that a test can fill it, and filled?"""

from __future__ import annotations

import contextlib
import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

FILLER = "filler"


@contextlib.contextmanager
def small_disk(path: Path, kb: int) -> Iterator[Path]:
    """A file system of that size at a folder, which is made; needs root."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kb}k", "balise-test", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(path: Path) -> None:
    """Leaves not one page of it free, whatever grows meanwhile."""
    with (path / FILLER).open("ab", buffering=0) as file:
        for size in (65_536, 4_096):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))


def is_full(path: Path) -> bool:
    """Whether nothing more can be written."""
    try:
        (path / "probe").write_bytes(bytes(4_096))
    except OSError as exc:
        return exc.errno == errno.ENOSPC
    finally:
        (path / "probe").unlink(missing_ok=True)
    return False


def make_room(path: Path) -> None:
    """Takes away what `fill` wrote."""
    (path / FILLER).unlink()
