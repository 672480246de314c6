"""The folder in which fetched models are kept."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskserve.errors import ToolError
from maskserve_convert.paddle.folder import missing_files

ENVIRONMENT = "MASKSERVE_CACHE"


def cache_folder() -> Path:
    """Return MASKSERVE_CACHE, or `maskserve` in the user's folder for caches (XDG_CACHE_HOME, or ~/.cache).

    Raises:
        ToolError: the user has no home directory.
    """
    if chosen := os.environ.get(ENVIRONMENT):
        return Path(os.path.expanduser(chosen))  # container files and services have no shell that does it
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if xdg.is_absolute():  # the XDG specification has relative ones ignored
        return xdg / "maskserve"
    try:
        return Path.home() / ".cache" / "maskserve"
    except RuntimeError:
        raise ToolError(f"there is no home directory to keep models in: set {ENVIRONMENT} to a folder") from None


@dataclass(frozen=True, slots=True)
class CachedModel:
    """Where one version of a model is kept, there already or not.

    Attributes:
        folder: the Paddle inference folder.
    """

    folder: Path

    @classmethod
    def at(cls, cache: Path, version: str, name: str) -> CachedModel:
        """Return the place of a model within the folder `cache`."""
        return cls(cache / "models" / version / name)

    @property
    def archive(self) -> Path:
        """Where a person without a network may put the official archive."""
        return self.folder.with_name(f"{self.folder.name}_infer.tar")

    @property
    def partial(self) -> Path:
        """The archive while it is downloaded."""
        return self.folder.with_name(f"{self.folder.name}_infer.tar.part")

    @property
    def staging(self) -> Path:
        """The folder while it is unpacked; touched only by who holds the lock."""
        return self.folder.with_name(f".{self.folder.name}.unpacking")

    @property
    def record(self) -> Path:
        """What was downloaded: a JSON file with name, version, url, size, sha256, and the size of each file."""
        return self.folder.with_name(f"{self.folder.name}.json")

    def is_good(self) -> bool:
        """Return whether the model is there with all its files, in the sizes that were recorded."""
        if not self.folder.is_dir() or missing_files(self.folder):
            return False
        recorded = (self.read_record() or {}).get("files")
        return not isinstance(recorded, dict) or recorded.items() <= file_sizes(self.folder).items()

    def read_record(self) -> dict[str, Any] | None:
        """Return the record, or None where there is none, as beside a folder that a person put there."""
        try:
            record = json.loads(self.record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) else None

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Replace the record."""
        fresh = self.record.with_name(f".{self.record.name}.new")
        fresh.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        fresh.replace(self.record)

    @contextmanager
    def locked(self, on_wait: Callable[[], None]) -> Iterator[None]:
        """Lock this model for this thread, against all other threads and processes, while the body runs.

        Args:
            on_wait: called when another one has to finish first.

        Raises:
            ToolError: the cache cannot be written, or its file system has no locks.
        """
        with exclusive(self.folder, on_wait):
            yield


@contextmanager
def exclusive(place: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Lock `place` in a cache for this thread, against all other threads and processes, while the body runs.

    Args:
        place: a file or folder, there already or not.
        on_wait: called when another one has to finish first.

    Raises:
        ToolError: the cache cannot be written, or its file system has no locks.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _lock(place.with_name(f".{place.name}.lock"), on_wait)
    except OSError as error:
        raise ToolError(
            f"{place.parent} cannot be used as a cache: {error.strerror}; set {ENVIRONMENT} to another folder"
        ) from error
    try:
        yield
    finally:
        os.close(descriptor)  # which ends the lock; the file stays, as removing it would let two others in


def file_sizes(folder: Path) -> dict[str, int]:
    """Return the size in bytes of each file below `folder`, by its path within."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def _lock(path: Path, on_wait: Callable[[], None]) -> int:
    import fcntl  # here, because Windows has none but runs the other commands

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
