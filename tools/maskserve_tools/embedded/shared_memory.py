"""Who owns which region in /dev/shm.

Every python model instance keeps a region there. A tritonserver that is killed, or that runs into its exit timeout,
can leave them behind. So each server of ours gives its regions a prefix of its own, and holds a lock on a file of
that name for as long as one of its processes lives: tritonserver and the stubs inherit the open file. Whoever gets
the lock knows that nobody is left, whatever the process ids or their namespaces say.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from maskserve.errors import ToolError

DIRECTORY = Path("/dev/shm")
_MARK = "maskserve-"
_LOCK = ".lock"
_OLD = 600.0  # seconds; a client's region has a name for milliseconds


@dataclass(frozen=True, slots=True)
class RegionNamespace:
    """The regions of one server.

    Attributes:
        directory: where the regions lie.
        token: what tells them from those of other servers.
        descriptor: the locked file, to be inherited by the server's processes.
    """

    directory: Path
    token: str
    descriptor: int

    @classmethod
    def claim(cls, directory: Path = DIRECTORY) -> RegionNamespace:
        """Begin a new namespace.

        Raises:
            ToolError: `directory` cannot be written.
        """
        while True:
            token = secrets.token_hex(4)
            path = directory / f"{_MARK}{token}{_LOCK}"
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileExistsError:
                continue
            except OSError as error:
                raise ToolError(f"Triton's python models need {directory}: {error.strerror}") from error
            if _lock(descriptor) and _is_same_file(descriptor, path):
                return cls(directory, token, descriptor)
            os.close(descriptor)  # another server tidied up between the two steps, and took it for a stale one

    @property
    def prefix(self) -> str:
        """What the names of the regions begin with."""
        return f"{_MARK}{self.token}-"

    def regions(self) -> list[Path]:
        """Return the regions that exist now."""
        return list(self.directory.glob(f"{self.prefix}*"))

    def clear(self) -> None:
        """Remove the regions of a server that has ended, for another that gets the same prefix; sockets stay."""
        _remove([path for path in self.regions() if not path.is_socket()])

    def release(self) -> None:
        """Remove the regions and the lock. No process of the server may be alive any more."""
        _remove([*self.regions(), self.directory / f"{_MARK}{self.token}{_LOCK}"])
        os.close(self.descriptor)


def remove_stale(directory: Path = DIRECTORY) -> None:
    """Remove what servers of ours left behind whose processes are all gone, and clients that were killed."""
    for path in directory.glob(f"{_MARK}*{_LOCK}"):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:  # gone meanwhile, or another user's
            continue
        if _lock(descriptor):
            token = path.name[len(_MARK) : -len(_LOCK)]
            RegionNamespace(directory, token, descriptor).release()
        else:
            os.close(descriptor)
    for path in directory.glob(f"{_MARK}image-*"):
        with contextlib.suppress(OSError, ValueError):
            pid = int(path.name.split("-")[2])
            if time.time() - path.stat().st_mtime > _OLD and not Path(f"/proc/{pid}").exists():
                path.unlink()


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()
