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

from maskserve_server.one_conversion import written_anew
from maskserve_tools.embedded.served_entries import CONFIG, Entry, Fingerprint, fingerprint

_COPIED_BYTES = 1 << 20
_RESTARTED = ".restarted"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An entry as it was.

    Attributes:
        name: its name.
        path: the folder with its files.
        files: the fingerprint of the entry.
        held: the descriptors of its large files, which are open.
    """

    name: str
    path: Path
    files: Fingerprint
    held: list[int]


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
        """Take snapshots of `entries` and show them.

        Raises:
            NotOfOneConversion: see `take`.
        """
        self.show(self.take(entries))

    def take(self, entries: Iterable[Entry]) -> list[Snapshot]:
        """Take snapshots of `entries`; ensembles last, so that their steps are there when they are shown.

        Raises:
            NotOfOneConversion: one was replaced since it was surveyed, or while its snapshot was taken.
        """
        made = list[Snapshot]()
        try:
            for entry in sorted(entries, key=lambda entry: bool(entry.steps)):
                made.append(self._begun(entry))
                self._fill(made[-1], entry)
        except BaseException:
            for snapshot in made:
                _let_go(snapshot.held)
            raise
        return made

    def show(self, snapshots: Iterable[Snapshot]) -> None:
        """Show what was taken. What was shown under these names has been removed and discarded."""
        for snapshot in snapshots:
            self._taken[snapshot.name], self._held[snapshot.name] = snapshot.files, snapshot.held
            (self.path / snapshot.name).symlink_to(snapshot.path)

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
            _let_go(self._held.pop(name, ()))

    def close(self) -> None:
        """Let go of all files."""
        self.discard(list(self._held))

    def _begun(self, entry: Entry) -> Snapshot:
        self._count += 1
        files = fingerprint(entry.path) if entry.files is None else entry.files
        return Snapshot(entry.name, self.shelf / str(self._count) / entry.name, files, [])

    def _fill(self, snapshot: Snapshot, entry: Entry) -> None:
        target = snapshot.path
        for folder, _, files in os.walk(entry.path, followlinks=True):
            place = target / Path(folder).relative_to(entry.path)
            place.mkdir(parents=True)
            for name in files:
                self._take_file(Path(folder, name), place / name, snapshot.held)
        if fingerprint(entry.path) != snapshot.files:
            raise written_anew(entry.path)
        # With the instances and threads that it was given, which the repository may leave open.
        (target / CONFIG).write_text(text_format.MessageToString(entry.config, as_utf8=True), encoding="utf-8")
        # Else the stub writes them, and Triton takes their folder for a changed model.
        compileall.compile_dir(target, quiet=2)

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


def _let_go(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
