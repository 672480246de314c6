"""Temporary folders that say whether their owner still lives, so that the next start can remove those of dead ones.

A process that is killed removes nothing. So each folder holds a file that its owner keeps locked, with all processes
that inherit it. Whoever gets the lock knows that nobody is left, whatever the process ids or their namespaces say.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARK = "maskserve-"
_OWNER = ".owner"


@dataclass(frozen=True, slots=True)
class OwnedFolder:
    """A temporary folder.

    Attributes:
        path: where it is.
        descriptor: the locked file in it, for child processes that shall count as owners, too.
    """

    path: Path
    descriptor: int


@contextmanager
def owned_folder(kind: str = "", where: str | Path | None = None, *, hidden: bool = False) -> Iterator[OwnedFolder]:
    """Make a temporary folder, and remove it at the end.

    Args:
        kind: what its name says of it.
        where: the folder to make it in; None for the system's folder of temporary files.
        hidden: whether its name begins with a dot, as it must beside what users and servers list.

    Raises:
        OSError: it cannot be made.
    """
    mark = _mark(hidden)
    owned = _make(f"{mark}{kind}-" if kind else mark, where)
    try:
        yield owned
    finally:
        shutil.rmtree(owned.path, ignore_errors=True)
        os.close(owned.descriptor)


def remove_stale(where: str | Path | None = None, *, hidden: bool = False) -> None:
    """Remove the folders whose owners are all gone.

    Args:
        where: see `owned_folder`.
        hidden: see `owned_folder`.
    """
    for file in Path(where or tempfile.gettempdir()).glob(f"{_mark(hidden)}*/{_OWNER}"):
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:  # gone meanwhile, or another user's
            continue
        try:
            if os.fstat(descriptor).st_uid == os.geteuid() and _lock(descriptor):
                shutil.rmtree(file.parent, ignore_errors=True)
        finally:
            os.close(descriptor)


def _mark(hidden: bool) -> str:
    return f".{_MARK}" if hidden else _MARK


def _make(prefix: str, where: str | Path | None) -> OwnedFolder:
    while True:
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=where))
        try:
            descriptor = os.open(path / _OWNER, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError:
            shutil.rmtree(path, ignore_errors=True)
            raise
        if _lock(descriptor) and (path / _OWNER).exists():
            return OwnedFolder(path, descriptor)
        os.close(descriptor)  # another process tidied up between the two steps, and took it for a stale one


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
