"""Compiled cores, kept from one start to the next: an engine that compiles does so once on a machine.

A file is whole or not there: it is written beside its place and renamed, so that several processes may share the
folder, and it carries a checksum. One that is damaged, or that the engine does not take, is removed and made anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

FOLDER = "MASKSERVE_COMPILED_CACHE"  # environment variable: another folder; empty for no cache
_HEADER = struct.Struct("<8sIQ")  # what it is, checksum, length
_MAGIC = b"maskcomp"
_MOST_BYTES = 4 << 30  # of all files together; the ones that were used last stay
_PRIVATE = 0o700
_ABANDONED = 3600.0  # seconds


class CompiledCache:
    """A folder with compiled cores.

    Args:
        folder: where it is; made when the first one is kept. None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    @property
    def off(self) -> bool:
        """Whether nothing is kept."""
        return self._folder is None

    @classmethod
    def usual(cls, environment: Mapping[str, str] = os.environ) -> CompiledCache:
        """Return the cache of this user: `maskserve/compiled` in the folder for caches, or what the variable names."""
        said = environment.get(FOLDER)
        if said is not None:
            return cls(Path(os.path.expanduser(said)) if said else None)
        if own := environment.get("MASKSERVE_CACHE"):
            return cls(Path(os.path.expanduser(own)) / "compiled")
        xdg = Path(environment.get("XDG_CACHE_HOME", ""))
        try:
            return cls((xdg if xdg.is_absolute() else Path.home() / ".cache") / "maskserve" / "compiled")
        except RuntimeError:  # this user has no home
            return cls(None)

    def key(self, source: Path | bytes, **what: Any) -> str:
        """Return the name of a compiled core: a digest of the model, and of all else that makes a difference.

        Args:
            source: the model's file, or its content.
            what: the engine's version, the processor, the settings: whatever JSON can write.
        """
        digest = hashlib.sha256()
        if isinstance(source, bytes):
            digest.update(source)
        elif self._folder is not None:
            with source.open("rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
        digest.update(json.dumps(what, sort_keys=True).encode())
        return digest.hexdigest()[:32]

    def load(self, key: str) -> bytes | None:
        """Return a compiled core; None where there is none, or a damaged one, which is removed."""
        if self._folder is None:
            return None
        try:
            with self._place(key).open("rb") as file:
                if os.fstat(file.fileno()).st_uid not in (os.geteuid(), 0):  # an engine trusts what it compiled itself
                    return None
                header, body = file.read(_HEADER.size), file.read()  # no copy of what may be 600 MB
        except OSError:
            return None
        if header != _header(body):
            self.remove(key)
            return None
        with contextlib.suppress(OSError):
            os.utime(self._place(key))
        return body

    def keep(self, key: str, compiled: bytes) -> None:
        """Keep a compiled core. Where that cannot be written, the next start compiles again."""
        if self._folder is None:
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=self._folder, prefix=".", suffix=".writing", delete=False) as file:
                try:
                    file.write(_header(compiled))
                    file.write(compiled)
                    file.close()
                    os.replace(file.name, self._place(key))
                except BaseException:
                    os.unlink(file.name)
                    raise
            self._make_room()

    def remove(self, key: str) -> None:
        """Remove one that is of no use."""
        if self._folder is not None:
            with contextlib.suppress(OSError):
                self._place(key).unlink()

    def _place(self, key: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{key}.compiled"

    def _make_room(self) -> None:
        """Remove those that were used longest ago, where there are too many."""
        assert self._folder is not None
        found = []
        for path in self._folder.glob(".*.writing"):  # of processes that were killed
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    path.unlink()
        for path in self._folder.glob("*.compiled"):
            with contextlib.suppress(OSError):
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
        room = _MOST_BYTES
        for _, size, path in sorted(found, reverse=True):
            room -= size
            if room < 0:
                with contextlib.suppress(OSError):
                    path.unlink()


def _header(body: bytes) -> bytes:
    return _HEADER.pack(_MAGIC, zlib.crc32(body), len(body))
