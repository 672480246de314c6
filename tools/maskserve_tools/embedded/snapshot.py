"""The folder that a running tritonserver reads: entries as they were when it was told of them.

Triton looks for changes there once a second. What `convert` writes into the repository meanwhile does not show until
somebody asks for it: small files are copies, and a large one is the open file itself, which stays what it is when
another takes its name.
"""

from __future__ import annotations

import compileall
import contextlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import text_format

from maskserve_tools.embedded.served_entries import CONFIG, Entry

_COPIED_BYTES = 1 << 20
_RESTARTED = ".restarted"

Fingerprint = frozenset[tuple[str, int, int, int]]


def fingerprint(folder: Path) -> Fingerprint:
    """Return place, inode, size and time of each file in a folder: they tell whether one was replaced."""
    found = []
    for path in _files(folder):
        with contextlib.suppress(OSError):
            stat = path.stat()
            found.append((str(path.relative_to(folder)), stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return frozenset(found)


@dataclass(slots=True)
class ServedFolder:
    """A folder for `--model-repository`.

    Serving entries this way needs no model control, which would let every client load code of its own.

    Attributes:
        path: it.
        shelf: where the snapshots lie; beside `path`, and on the same file system.
    """

    path: Path
    shelf: Path
    _taken: dict[str, Fingerprint] = field(default_factory=dict)
    _held: dict[str, list[int]] = field(default_factory=dict)
    _count: int = 0

    @classmethod
    def make(cls, folder: Path) -> ServedFolder:
        """Make an empty one inside `folder`."""
        served = cls(folder / "models", folder / "snapshots")
        served.path.mkdir(parents=True)
        served.shelf.mkdir()
        return served

    def add(self, entries: Iterable[Entry]) -> None:
        """Take snapshots of `entries` and show them; ensembles last, whose steps are there then."""
        made = [(entry, self._take(entry)) for entry in sorted(entries, key=lambda entry: bool(entry.steps))]
        for entry, snapshot in made:
            (self.path / entry.name).symlink_to(snapshot)

    def remove(self, names: Iterable[str]) -> None:
        """Show these entries no longer."""
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                (self.path / name).unlink()
            self._taken.pop(name, None)

    def differs(self, entry: Entry) -> bool:
        """Return whether an entry is another than the one that is shown, or is not shown."""
        return self._taken.get(entry.name) != fingerprint(entry.path)

    def touch(self, name: str) -> None:
        """Let Triton take an entry for a changed one and load it anew, from the same snapshot.

        Triton loads the new instances beside the old ones, and exchanges them when the new ones are there.
        """
        for version in (self.path / name).glob("[0-9]*/"):
            # a file of its own: a newer model.py would have its bytecode written anew, which is another change
            (version / _RESTARTED).unlink(missing_ok=True)
            (version / _RESTARTED).touch()

    def discard(self, names: Iterable[str]) -> None:
        """Let go of the files of entries that are shown no longer."""
        for name in names:
            for descriptor in self._held.pop(name, ()):
                os.close(descriptor)

    def close(self) -> None:
        """Let go of all files."""
        self.discard(list(self._held))

    def _take(self, entry: Entry) -> Path:
        self._count += 1
        target = self.shelf / str(self._count) / entry.name
        self._taken[entry.name] = fingerprint(entry.path)
        held = self._held.setdefault(entry.name, [])
        for folder, _, files in os.walk(entry.path, followlinks=True):
            place = target / Path(folder).relative_to(entry.path)
            place.mkdir(parents=True)
            for name in files:
                self._take_file(Path(folder, name), place / name, held)
        # With the instances and threads that it was given, which the repository may leave open.
        (target / CONFIG).write_text(text_format.MessageToString(entry.config, as_utf8=True), encoding="utf-8")
        # Else the stub writes them, and Triton takes their folder for a changed model.
        compileall.compile_dir(target, quiet=2)
        return target

    @staticmethod
    def _take_file(source: Path, target: Path, held: list[int]) -> None:
        try:
            if source.stat().st_size <= _COPIED_BYTES:
                shutil.copy2(source, target)
                return
            held.append(os.open(source, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:  # not readable, or a link to nowhere: its reader reports it
            target.symlink_to(source)
            return
        target.symlink_to(f"/proc/{os.getpid()}/fd/{held[-1]}")


def _files(folder: Path) -> Iterable[Path]:
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield from (Path(place, name) for name in files)
